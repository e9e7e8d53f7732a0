import type { AgentConfig } from '../../config/agent.ts';
import { readConfiguredSecret } from '../../config/io/load.ts';
import { blame } from '../../config/source.ts';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { formatHostPort } from '../../model/address.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { bootMs, systemClock } from '../../runtime/io/clock.ts';
import { sleep } from '../../runtime/sleep.ts';
import { type ClusterCa, openClusterCa } from '../../trust/io/cluster-ca.ts';
import { joinCluster } from '../../trust/io/join.ts';

export interface IdentityContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Whom a new intermediate still waits for, see `openClusterCa`. */
  readonly unacknowledged: (sequence: number) => readonly string[];
  /** What stands in the way now, for `status`. */
  readonly onWait: (waitingFor: string) => void;
}

const retry = { initialMs: 500, maxMs: 30_000 };

/**
 * Opens the replica's identity, joining first if there is none. The token file is read anew for each attempt, so that
 * an operator can replace a token that expired. Undefined: `signal` aborted.
 * @throws IsthmusError when waiting cannot help: damaged or open files, an identity of another cluster
 */
export async function obtainIdentity(config: AgentConfig, context: IdentityContext): Promise<ClusterCa | undefined> {
  const { clock, log, signal, onWait } = context;
  const backoff = new Backoff(retry, () => clock.random());
  let told = '';
  while (!signal.aborted) {
    const ca = await openIfJoined(config, context);
    if (ca) return checked(ca, config);
    try {
      await join(config, context);
    } catch (thrown) {
      if (signal.aborted) return undefined;
      const { message } = IsthmusError.from(thrown);
      onWait(`an identity: ${message}`);
      if (message !== told) log.warn({ reason: message }, 'cannot join yet');
      told = message;
      await sleep(clock, backoff.next(), signal);
    }
  }
  return undefined;
}

async function openIfJoined(config: AgentConfig, context: IdentityContext): Promise<ClusterCa | undefined> {
  try {
    const { clock, log, unacknowledged } = context;
    return await openClusterCa({
      stateDir: config.stateDir,
      clock,
      // A clock of a test's own has a time of its own.
      ...(clock === systemClock && { elapsedMs: bootMs }),
      log,
      svidLifeMs: config.svidLifeMs,
      serverNames: config.workloads.serverNames,
      unacknowledged,
      ...(config.authority.length > 0 && { authorityAddresses: config.authority.map(formatHostPort) }),
    });
  } catch (thrown) {
    if (IsthmusError.from(thrown).code === 'not-found') return undefined;
    throw thrown;
  }
}

async function checked(ca: ClusterCa, config: AgentConfig): Promise<ClusterCa> {
  const path = ca.cluster !== config.cluster ? 'cluster' : ca.replica !== config.replica ? 'replica' : undefined;
  if (path === undefined) return ca;
  await ca.close();
  const message = `${config.stateDir} holds the identity of replica ${ca.replica} of cluster ${ca.cluster}: current value is '${config[path]}'`;
  throw blame(new IsthmusError('invalid', message), config.source, path);
}

async function join(config: AgentConfig, { clock, log, signal }: IdentityContext): Promise<void> {
  if (!config.join) {
    throw new IsthmusError('not-found', `${config.stateDir} holds no identity and join.tokenFile is not set`, {
      hint: `isthmus token issue ${config.cluster}, then isthmus join or join.tokenFile`,
    });
  }
  const token = await readConfiguredSecret(config.join.tokenFile, config.source, 'join.tokenFile');
  await joinCluster({ token, stateDir: config.stateDir, replica: config.replica, clock, log, signal });
}

import { Server } from '@grpc/grpc-js';
import { type AgentApi, agentRoutes } from '../admin/agent-api.ts';
import { exportRoutes } from '../admin/export-api.ts';
import { startReadOnly } from '../admin/io/read-only.ts';
import { policyRoutes } from '../admin/policy-api.ts';
import { startAdmin } from '../admin/io/server.ts';
import type { RoleIo } from '../cli/role-io.ts';
import type { AgentConfig } from '../config/agent.ts';
import { type HubConfig, resolveHub } from '../config/hub.ts';
import { blame } from '../config/source.ts';
import { alone, createStateLock } from '../federation/io/state-lock.ts';
import { IsthmusError, messageOf } from '../model/error.ts';
import type { Hub } from '../model/ports/hub.ts';
import type { LeaderElector } from '../model/ports/leader-elector.ts';
import { formatHostPort } from '../model/address.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { ensurePrivateDir } from '../runtime/io/files.ts';
import { type GrpcListener, listenGrpc } from '../runtime/io/grpc-server.ts';
import type { ClusterCa } from '../trust/io/cluster-ca.ts';
import { optionalPeer, type VerifiedPeer } from '../trust/io/call-identity.ts';
import { createAgentApi, factsOf } from './agent/agent-api.ts';
import { obtainIdentity } from './agent/identity.ts';
import { listedServices } from './agent/live-services.ts';
import { createExportApi } from './agent/export-preview.ts';
import { type RunningAgent, startRunning } from './agent/running.ts';
import type { RoleContext } from './authority.ts';
import { createPolicyApi } from './agent/policy/api.ts';
import { openHub } from './open-hub.ts';
import { roleLog } from './role-log.ts';
import { aborted, keepAlive, Started } from './shutdown.ts';

/** A started agent. It may still wait for its identity. */
export interface AgentRole {
  readonly api: AgentApi;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Resolves with all parts once there is an identity; rejects when there can be none. */
  readonly running: Promise<RunningAgent>;
  /** Resolves when the cluster has left the federation and whoever asked for it was answered. */
  readonly left: Promise<void>;
  close(): Promise<void>;
}

/** For an answer to reach whoever asked, before the socket goes. */
const answerMs = 200;

type Listener = GrpcListener<VerifiedPeer | undefined>;

/**
 * Starts an agent: its sockets at once, everything else as soon as it has an identity.
 * @throws IsthmusError naming the value of the file that is to blame; nothing is then left running
 */
export async function startAgent(config: AgentConfig, context: RoleContext): Promise<AgentRole> {
  const { clock, log } = context;
  const started = new Started(log);
  const stop = new AbortController();
  const startedAt = clock.monotonic();
  const left = Promise.withResolvers<void>();
  const onLeft = (): void => void clock.schedule(answerMs, left.resolve);
  let waitingFor: string | undefined = 'an identity';
  let agent: RunningAgent | undefined;
  let ca: ClusterCa | undefined;
  let listener: Listener | undefined;
  try {
    await ensurePrivateDir(config.stateDir).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'stateDir');
    });
    const services = await listedServices(config);
    let hub = context.hub ?? (await openHubOf(resolveHub(config.hub, undefined), { config, context, started }));
    const server = new Server({ 'grpc.max_receive_message_length': 8 << 20 });
    listener = await listenGrpc<VerifiedPeer | undefined>({
      listen: config.listen.grpc,
      server,
      material: () => ca?.listenerMaterial.current,
      check: (chain) => {
        if (!ca) throw new IsthmusError('unavailable', 'No identity yet');
        return optionalPeer(ca.peerVerifier)(chain);
      },
      log,
    }).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'listen.grpc');
    });
    const opened = listener;
    started.add('gRPC', () => opened.close());
    const addresses = config.advertise.map((address) =>
      formatHostPort(address.port === 0 ? { ...address, port: opened.port } : address),
    );
    const api = createAgentApi({
      config,
      hubName: () => hub?.name ?? 'hub that the authority names',
      clock,
      startedAt,
      addresses: () => addresses,
      running: () => agent,
      waitingFor: () => waitingFor,
      onLeft,
    });
    const policyApi = createPolicyApi({
      running: () =>
        agent && {
          desk: agent.desk,
          failovers: agent.failovers,
          input: agent.mesh.input,
          facts: factsOf(config, agent, clock.now()),
        },
      waitingFor: () => waitingFor ?? 'the first routes',
      operator: `admin socket of ${config.cluster}/${config.replica}`,
      clock,
    });
    const exportApi = createExportApi({ running: () => agent, clock });
    const routes = [...agentRoutes(api), ...policyRoutes(policyApi), ...exportRoutes(exportApi)];
    const http = await startReadOnly({ listen: config.listen.http, routes, log }).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'listen.http');
    });
    started.add('read-only API', () => http.close());
    const admin = await startAdmin({ socketPath: config.admin, routes, log }).catch((thrown: unknown) => {
      throw blame(thrown, config.source, 'admin');
    });
    started.add('admin socket', () => admin.close());

    const run = async (): Promise<RunningAgent> => {
      await holdState(config, { context, started, signal: stop.signal, onWait: (text) => (waitingFor = text) });
      ca = await obtainIdentity(config, {
        clock,
        log,
        signal: stop.signal,
        onWait: (text) => (waitingFor = text),
        unacknowledged: (sequence) => agent?.acknowledgements.missing(sequence) ?? ['the start of this agent'],
      });
      if (!ca) throw new IsthmusError('cancelled', 'Stopped before there was an identity');
      const identity = ca;
      started.add('identity', () => identity.close());
      started.add(
        'trust',
        identity.trust.subscribe(() => opened.recheck()),
      );
      hub ??= await openHubOf(resolveHub(config.hub, identity.hub), { config, context, started });
      if (!hub) throw blame(unknownHub(), config.source, 'hub.url');
      const importHost = '127.0.0.1';
      agent = await startRunning({
        config,
        ca,
        hub,
        services,
        server,
        listener: () => listener,
        ...electionOf(config, context),
        onLeft,
        onFailure: (thrown) => log.error({ reason: messageOf(thrown) }, 'cannot lead'),
        importHost,
        clock,
        log,
      });
      const parts = agent;
      started.add('agent', () => parts.close());
      waitingFor = undefined;
      log.info({ cluster: ca.cluster, grpc: opened.port, http: http.port, hub: hub.name }, 'agent is up');
      return agent;
    };
    const running = run();
    // Whoever awaits `running` sees the failure; nobody has to.
    running.catch(() => undefined);
    return {
      api,
      grpcPort: opened.port,
      httpPort: http.port,
      running,
      left: left.promise,
      async close(): Promise<void> {
        stop.abort(new IsthmusError('cancelled', 'The agent stops'));
        await running.catch(() => undefined);
        await started.end();
      },
    };
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

interface HubContext {
  readonly config: AgentConfig;
  readonly context: RoleContext;
  readonly started: Started;
}

/** Undefined: nobody has said yet where it is. */
async function openHubOf(
  hub: HubConfig | undefined,
  { config, context, started }: HubContext,
): Promise<Hub | undefined> {
  if (!hub) return undefined;
  const { clock, log } = context;
  const opened = await openHub(hub, { source: config.source, clock, log });
  started.add('hub', () => opened.close());
  return opened;
}

function unknownHub(): IsthmusError {
  return new IsthmusError('invalid', 'hub.url is required: the authority did not say where the hub is', {
    hint: `Set hub.url here, or hubForMembers at the authority and join again.`,
  });
}

interface HoldContext {
  readonly context: RoleContext;
  readonly started: Started;
  readonly signal: AbortSignal;
  readonly onWait: (waitingFor: string) => void;
}

/** One process per state directory: another one with ports of its own waits, serving nothing, for this one to end. */
async function holdState(config: AgentConfig, { context, started, signal, onWait }: HoldContext): Promise<void> {
  const { stateDir } = config;
  const lock = createStateLock({
    directory: stateDir,
    name: 'lock',
    clock: context.clock,
    onWait: () => {
      onWait(`the lock of ${stateDir}, which another process holds`);
      context.log.warn({ stateDir }, 'another process has the state directory; waiting for it to end');
    },
  });
  const held = await lock.acquire(signal);
  started.add('state lock', () => held.release());
}

interface Election {
  readonly elector: LeaderElector;
  /** Resolves when another replica turns out to lead. */
  readonly standingBy: Promise<void>;
}

/** Replicas with state directories of their own lead by a lock that they share; a replica alone just leads. */
function electionOf(config: AgentConfig, { clock, log }: RoleContext): Election {
  const waits = Promise.withResolvers<void>();
  const { leaderLock } = config;
  if (leaderLock === undefined) return { elector: alone, standingBy: waits.promise };
  const onWait = (): void => {
    log.info({ leaderLock }, 'another replica leads; standing by');
    waits.resolve();
  };
  const elector = createStateLock({ directory: leaderLock, name: 'leader', clock, onWait });
  return { elector, standingBy: waits.promise };
}

/** `isthmus agent`: runs until `io.signal` aborts. */
export async function runAgent(config: AgentConfig, io: RoleIo): Promise<number> {
  const log = roleLog('agent', config.log, io);
  const release = keepAlive();
  try {
    const role = await startAgent(config, { clock: systemClock, log });
    const failed = role.running.then(
      () => aborted(io.signal),
      (thrown: unknown) => {
        if (!io.signal.aborted) throw thrown;
      },
    );
    const endHangups = io.onHangup(() => {
      log.info({}, 'told to read the files again');
      void role.running.then(
        ({ services }) => services.reload(),
        () => undefined,
      );
    });
    try {
      await Promise.race([aborted(io.signal), role.left, failed]);
    } catch (thrown) {
      log.error({ reason: messageOf(thrown) }, 'cannot run');
      await role.close();
      throw thrown;
    }
    endHangups();
    log.info({}, 'stopping');
    await role.close();
    return 0;
  } finally {
    release();
  }
}

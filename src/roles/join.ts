import type { JoinOptions, RoleIo } from '../cli/role-io.ts';
import { IsthmusError } from '../model/error.ts';
import { parseReplicaName } from '../model/names.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { joinCluster } from '../trust/io/join.ts';
import { decodeJoinToken } from '../wire/join-token.ts';
import { roleLog } from './role-log.ts';

const waitingText = `The root is offline: the join waits until it has signed. It may be stopped and goes on with the same token.\n`;

/** `isthmus join`: redeems a token once and leaves an identity in the state directory. */
export async function runJoin(options: JoinOptions, io: RoleIo): Promise<number> {
  const token = decodeJoinToken(options.token);
  if (options.cluster !== undefined && token.cluster !== options.cluster) {
    throw new IsthmusError(
      'invalid',
      `The token is for cluster ${token.cluster}, the configuration for ${options.cluster}`,
    );
  }
  let told = false;
  const joined = await joinCluster({
    token: options.token,
    stateDir: options.stateDir,
    replica: parseReplicaName(options.replica),
    clock: systemClock,
    log: roleLog('join', 'warn', io),
    signal: io.signal,
    rejoin: options.rejoin,
    onPending: () => {
      if (!told) io.stderr.write(waitingText);
      told = true;
    },
  });
  io.stdout.write(`${joined.cluster} has joined ${joined.federationDomain} as ${joined.replica}\n`);
  io.stderr.write(`Next: isthmus agent -f agent.yaml (its state directory is ${options.stateDir})\n`);
  return 0;
}

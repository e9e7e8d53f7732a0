import type { LeaveRequest } from '../../admin/agent-api.ts';
import type { Publisher } from '../../federation/io/publisher.ts';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { LeaveReport } from '../../model/status.ts';
import { sleep } from '../../runtime/sleep.ts';
import { waitFor } from '../../runtime/watchable.ts';
import type { RunningAgent } from './running.ts';

const defaultGraceMs = 10_000;
/** For the hub to take what is written. */
const tellMs = 3000;

/**
 * Withdraws what this cluster exports, declared, lets its gateways go on for the grace, then says good-bye. What is told
 * to the hub is told to all; a hub that cannot be told keeps the cluster in, unless it is forced.
 * @throws IsthmusError `unavailable`: this replica does not lead, or the hub did not take it; then nothing has changed
 */
export async function leave(agent: RunningAgent, request: LeaveRequest, clock: Clock): Promise<LeaveReport> {
  const { publisher, announcer } = leaderParts(agent);
  const cluster = agent.ca.cluster;
  const exports = [...publisher.own.current.records.values()].filter(({ kind }) => kind === 'export').length;
  try {
    announcer.withdraw('draining');
    await told(publisher, clock);
    await sleep(clock, request.graceMs ?? defaultGraceMs);
    announcer.withdraw('gone');
    await told(publisher, clock);
    await within(publisher.release(), clock);
    return { cluster, exports, told: true };
  } catch (thrown) {
    const { message: problem } = IsthmusError.from(thrown);
    if (request.force) return { cluster, exports, told: false, problem };
    publisher.stay();
    announcer.withdraw(undefined);
    throw new IsthmusError('unavailable', `Cannot leave: the other members cannot be told: ${problem}`, {
      cause: thrown,
      hint: '--force leaves all the same; they keep what they know until the authority revokes this cluster',
    });
  }
}

/** Gives up the membership; why it could not, or undefined. A dead authority keeps nobody from leaving. */
export async function goodbye({ ca }: RunningAgent): Promise<string | undefined> {
  try {
    await ca.leave('isthmus leave');
    return undefined;
  } catch (thrown) {
    return IsthmusError.from(thrown).message;
  }
}

function leaderParts(agent: RunningAgent): {
  readonly publisher: Publisher;
  readonly announcer: NonNullable<ReturnType<RunningAgent['announcer']>>;
} {
  const [publisher, announcer] = [agent.publisher(), agent.announcer()];
  if (publisher && announcer) return { publisher, announcer };
  throw new IsthmusError('unavailable', 'This replica does not lead, so it cannot speak for the cluster', {
    hint: 'Ask the replica that leads: isthmus status tells',
  });
}

/** Resolves when the hub has what was last asked for. */
async function told(publisher: Publisher, clock: Clock): Promise<void> {
  const { status } = publisher;
  const done = waitFor(status, (now): now is typeof now => now.settled && now.state === 'publishing');
  try {
    await within(done, clock);
  } catch (thrown) {
    const { lastError, waitingFor } = status.current;
    throw new IsthmusError('unavailable', lastError ?? waitingFor ?? 'the hub did not answer', { cause: thrown });
  }
}

/** @throws IsthmusError `timeout` */
async function within<T>(work: Promise<T>, clock: Clock): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = clock.schedule(tellMs, () => late.reject(new IsthmusError('timeout', `No answer within ${tellMs} ms`)));
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    timer.cancel();
  }
}

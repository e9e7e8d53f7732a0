import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { pauseUntil } from '../renewal.ts';
import type { AuthorityLink } from './authority-link.ts';
import type { ClusterKeys } from './cluster-keys.ts';

export interface UpkeepOptions {
  readonly keys: ClusterKeys;
  readonly link: AuthorityLink;
  readonly replica: ReplicaName;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Upkeep {
  /** Why the last attempt failed; undefined: it did not. */
  problem(): string | undefined;
  close(): Promise<void>;
}

/** Activates and renews what is due, for ever. */
export function startUpkeep({ keys, link, replica, clock, log }: UpkeepOptions): Upkeep {
  const stop = new AbortController();
  let problem: string | undefined;
  const renew = async (): Promise<void> => {
    const { csr, accept } = await keys.nextRequest();
    const response = await link.renewIntermediate(replica, csr);
    if (response.pending) {
      throw new IsthmusError('unavailable', 'The next intermediate waits for the signature of the offline root');
    }
    await accept(response);
    log.info({ keyId: keys.pending?.keyId }, 'the next intermediate is here');
  };
  const run = async (): Promise<void> => {
    const backoff = new Backoff({ initialMs: 1000, maxMs: 300_000 }, () => clock.random());
    let retryAt = 0;
    while (!stop.signal.aborted) {
      try {
        await keys.maintain();
        if (keys.wantsIntermediate && clock.monotonic() >= retryAt) await renew();
        if (!keys.wantsIntermediate) {
          problem = undefined;
          backoff.reset();
        }
      } catch (thrown) {
        problem = messageOf(thrown);
        retryAt = clock.monotonic() + backoff.next();
        if (!stop.signal.aborted) log.warn({ why: problem }, 'cannot renew');
      }
      const retry = retryAt > clock.monotonic() ? [clock.now() + retryAt - clock.monotonic()] : [];
      await sleep(clock, pauseUntil(clock.now(), [...keys.due, ...retry]), stop.signal);
    }
  };
  const running = run();
  return {
    problem: () => problem,
    async close(): Promise<void> {
      stop.abort();
      await running;
    },
  };
}

import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { AckRecord } from '../../model/record.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';

export interface AckExchangeOptions {
  /** What this replica has to say; the same list as long as nothing changed. */
  readonly own: Watch<readonly AckRecord[]>;
  /** Says it to the authority; resolves with what the cluster's other agents said. */
  readonly acknowledge: (own: readonly AckRecord[]) => Promise<readonly AckRecord[]>;
  readonly clock: Clock;
  readonly log: Log;
  /** Without any change it is said again after so long, in ms. Default 10,000: a sibling may have something to say when this one has not. */
  readonly everyMs?: number;
}

export interface AckExchange {
  /** What other agents of this cluster last said of themselves and their gateways. */
  readonly siblings: Watch<readonly AckRecord[]>;
  close(): Promise<void>;
}

/** Reports follow each other no faster, in ms, give or take half: a roster is acknowledged by everybody at once. */
const spacingMs = 4000;

/** Tells the authority what this replica proved, and learns what its siblings did: only one of them writes to the hub. */
export function startAckExchange(options: AckExchangeOptions): AckExchange {
  const { own, acknowledge, clock, log, everyMs = 10_000 } = options;
  const siblings = new Watchable<readonly AckRecord[]>([]);
  const stop = new AbortController();
  let changed = new AbortController();
  const end = own.subscribe(() => changed.abort());
  const run = async (): Promise<void> => {
    let told = '';
    while (!stop.signal.aborted) {
      changed = new AbortController();
      try {
        const heard = await acknowledge(own.current);
        if (JSON.stringify(heard) !== JSON.stringify(siblings.current)) siblings.set(heard);
        told = '';
      } catch (thrown) {
        if (stop.signal.aborted) break;
        // The link to the authority says itself that it is down.
        const why = messageOf(thrown);
        if (why !== told) log.debug({ why }, 'cannot acknowledge to the authority');
        told = why;
      }
      const waitMs = spacingMs * (0.5 + clock.random());
      await sleep(clock, waitMs, stop.signal);
      await sleep(clock, Math.max(0, everyMs - waitMs), AbortSignal.any([stop.signal, changed.signal]));
    }
  };
  const running = run();
  return {
    siblings,
    async close(): Promise<void> {
      end();
      stop.abort(new IsthmusError('cancelled', 'The exchange of acknowledgements ends'));
      await running;
    },
  };
}

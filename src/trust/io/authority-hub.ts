import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { chainIdOf } from '../../wire/seal.ts';
import type { SealedRoster } from './authority-core.ts';

/** The authority's partition of a hub (wire.md): its head is the sealed roster itself; it has no records and no log. */
const authorityPartition = 'authority';

/** How often the hub is looked at although nothing changed: it may have been flushed, restored or tampered with. */
const repairMs = 15_000;

export interface HubPublisherOptions {
  readonly hub: Hub;
  readonly sealedRoster: Watch<SealedRoster>;
  /** Sequence of what `sealedRoster` holds, for the hint. */
  readonly sequence: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface HubPublisher {
  /** Why the hub does not hold the present roster; undefined: it does. */
  problem(): string | undefined;
  close(): Promise<void>;
}

/** Keeps the roster in a hub, whatever happens to the hub. */
export function publishToHub(options: HubPublisherOptions): HubPublisher {
  const { hub, sealedRoster, clock, log } = options;
  const stop = new AbortController();
  let changed = new AbortController();
  const unsubscribe = sealedRoster.subscribe(() => changed.abort());
  let problem: string | undefined = `hub ${hub.name} was not reached yet`;

  const run = async (): Promise<void> => {
    const backoff = new Backoff({ initialMs: 200, maxMs: 10_000 }, () => clock.random());
    while (!stop.signal.aborted) {
      changed = new AbortController();
      let pauseMs = repairMs;
      try {
        await writeOnce(options);
        if (problem !== undefined) log.info({ hub: hub.name }, 'roster is in the hub');
        problem = undefined;
        backoff.reset();
      } catch (thrown) {
        if (backoff.attempt === 0) log.warn({ hub: hub.name, why: messageOf(thrown) }, 'cannot write the roster');
        problem = messageOf(thrown);
        pauseMs = backoff.next();
      }
      await sleep(clock, pauseMs, AbortSignal.any([stop.signal, changed.signal]));
    }
  };
  const running = run();
  return {
    problem: () => problem,
    async close(): Promise<void> {
      unsubscribe();
      stop.abort();
      await running;
    },
  };
}

async function writeOnce({ hub, sealedRoster, sequence }: HubPublisherOptions): Promise<void> {
  const { sealed, chain } = sealedRoster.current;
  const [head] = await hub.readHeads([authorityPartition]);
  if (head && Buffer.from(head).equals(sealed)) return;
  // The chain first: a head whose chain nobody finds would be useless.
  await hub.writeChain(authorityPartition, chainIdOf(chain), chain);
  await hub.commit(authorityPartition, {
    // Nobody else may write here: whatever stands there is replaced.
    expectedHead: head,
    head: sealed,
    records: new Map(),
    snapshot: true,
    delta: undefined,
    hint: `${authorityPartition} 0 ${sequence()}`,
  });
  const [after] = await hub.readHeads([authorityPartition]);
  if (after && Buffer.from(after).equals(sealed)) return;
  throw new IsthmusError('conflict', `Hub ${hub.name}: somebody else writes the authority's partition`);
}

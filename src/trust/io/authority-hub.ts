import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub, Snapshot } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { bundlesRecordKey } from '../../wire/bundle.ts';
import { chainIdOf } from '../../wire/seal.ts';
import type { SealedBundles } from '../bundle/bundle-sealer.ts';
import type { SealedRoster } from '../authority/roster-sealer.ts';

/**
 * The authority's partition of a hub (wire.md): its head is the sealed roster itself, its one record the sealed bundle
 * map; it has no log.
 */
const authorityPartition = 'authority';

/** How often the hub is looked at although nothing changed: it may have been flushed, restored or tampered with. */
const repairMs = 15_000;

export interface HubPublisherOptions {
  readonly hub: Hub;
  readonly sealedRoster: Watch<SealedRoster | undefined>;
  readonly sealedBundles: Watch<SealedBundles | undefined>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How the authority stands with its hub. */
export interface HubStanding {
  /** Why the hub does not hold the present roster; undefined: it does. */
  readonly problem: string | undefined;
  /** Monotonic ms since when it does, or does not. */
  readonly since: number;
}

export interface HubPublisher {
  standing(): HubStanding;
  close(): Promise<void>;
}

/** Keeps the roster in a hub, whatever happens to the hub. */
export function publishToHub(options: HubPublisherOptions): HubPublisher {
  const { hub, sealedRoster, sealedBundles, clock, log } = options;
  const stop = new AbortController();
  let changed = new AbortController();
  const ends = [sealedRoster, sealedBundles].map((source) => source.subscribe(() => changed.abort()));
  let standing: HubStanding = { problem: `hub ${hub.name} was not reached yet`, since: clock.monotonic() };
  const become = (problem: string | undefined): void => {
    const same = (problem === undefined) === (standing.problem === undefined);
    standing = { problem, since: same ? standing.since : clock.monotonic() };
  };

  const run = async (): Promise<void> => {
    const backoff = new Backoff({ initialMs: 200, maxMs: 10_000 }, () => clock.random());
    while (!stop.signal.aborted) {
      changed = new AbortController();
      let pauseMs = repairMs;
      try {
        await writeOnce(options);
        if (standing.problem !== undefined) log.info({ hub: hub.name }, 'roster is in the hub');
        become(undefined);
        backoff.reset();
      } catch (thrown) {
        if (backoff.attempt === 0) log.warn({ hub: hub.name, why: messageOf(thrown) }, 'cannot write the roster');
        become(messageOf(thrown));
        pauseMs = backoff.next();
      }
      await sleep(clock, pauseMs, AbortSignal.any([stop.signal, changed.signal]));
    }
  };
  const running = run();
  return {
    standing: () => standing,
    async close(): Promise<void> {
      for (const end of ends) end();
      stop.abort();
      await running;
    },
  };
}

async function writeOnce({ hub, sealedRoster, sealedBundles }: HubPublisherOptions): Promise<void> {
  if (!sealedRoster.current) throw new IsthmusError('unavailable', 'the authority has nothing to seal with yet');
  const { sealed, chain, sequence } = sealedRoster.current;
  const bundles = sealedBundles.current;
  const chains = [...new Set([chain, bundles?.chain ?? chain])].map((each) => ({ id: chainIdOf(each), bytes: each }));
  const before = await hub.readSnapshot(authorityPartition);
  const there = await Promise.all(chains.map(({ id }) => hub.readChain(authorityPartition, id)));
  if (isWhole(before, sealed, bundles?.sealed) && there.every((found) => found !== undefined)) return;
  // The chains first: what nobody can verify would be useless.
  for (const { id, bytes } of chains) await hub.writeChain(authorityPartition, id, bytes);
  await hub.commit(authorityPartition, {
    // Nobody else may write here: whatever stands there is replaced.
    expectedHead: before.head,
    head: sealed,
    records: new Map(bundles && [[bundlesRecordKey, bundles.sealed]]),
    snapshot: true,
    delta: undefined,
    hint: `${authorityPartition} 0 ${sequence}`,
  });
  if (isWhole(await hub.readSnapshot(authorityPartition), sealed, bundles?.sealed)) return;
  throw new IsthmusError('conflict', `Hub ${hub.name}: somebody else writes the authority's partition`);
}

function isWhole({ head, records }: Snapshot, roster: Uint8Array, bundles: Uint8Array | undefined): boolean {
  const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
    a === undefined || b === undefined ? a === b : Buffer.from(a).equals(b);
  return same(head, roster) && same(records.get(bundlesRecordKey), bundles);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { burstOf, type Deletion, defaultGuard } from '../../src/federation/guard/burst.ts';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { Reader } from '../../src/federation/io/reader.ts';
import { planWrite, recordsOf } from '../../src/federation/log/writer-plan.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import type { ClusterRecord, ExportRecord, RecordKey } from '../../src/model/record.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { east, eventually, exportOf, keyed, west } from './support/federation.ts';
import { forge } from './support/forge.ts';
import { Site } from './support/site.ts';

const minute = defaultGuard.windowMs;
const now = 1_000_000_000;

function deletionsAt(times: readonly number[]): readonly Deletion[] {
  return times.map((at, index) => ({ key: `export/shop/d${index}`, at }));
}

test('burstOf: more than 30 % and at least 5 within a minute, by when they were made', () => {
  const cases: [times: readonly number[], remaining: number, earlier: readonly number[], held: number, why: string][] =
    [
      [[0, 0, 0, 0], 0, [], 0, 'four are never a burst'],
      [[0, 0, 0, 0, 0], 0, [], 5, 'five of five'],
      [[0, 0, 0, 0, 0], 12, [], 0, 'five of seventeen: 29 %'],
      [[0, 0, 0, 0, 0], 11, [], 5, 'five of sixteen: 31 %'],
      [[0], 4, [-minute + 1, -2, -1, 0], 1, 'the fifth within a minute, whatever became of the others'],
      [[0], 4, [-minute, -2, -1, 0], 0, 'four within a minute'],
      [[0, minute, 2 * minute, 3 * minute, 4 * minute, 5 * minute], 0, [], 0, 'a reader that slept for an hour'],
      [[0, 1000 * minute, 1000 * minute, 1000 * minute, 1000 * minute, 1000 * minute], 0, [], 5, 'the old one goes'],
    ];
  for (const [times, remaining, earlier, held, why] of cases) {
    assert.equal(burstOf(deletionsAt(times), { remaining, earlier }, defaultGuard).size, held, why);
  }
});

test('burstOf: what it lets through is never a burst', () => {
  const time = fc.nat({ max: 5 * minute });
  fc.assert(
    fc.property(fc.array(time, { maxLength: 30 }), fc.nat({ max: 40 }), (times, remaining) => {
      const deletions = deletionsAt(times);
      const held = burstOf(deletions, { remaining, earlier: [] }, defaultGuard);
      const passed = deletions.filter(({ key }) => !held.has(key)).map(({ at }) => at);
      for (const start of passed) {
        const size = passed.filter((at) => at >= start && at - start < minute).length;
        const later = deletions.filter(({ at }) => at >= start).length;
        assert.ok(size < 5 || size <= 0.3 * (remaining + later));
      }
    }),
  );
});

const names = Array.from({ length: 10 }, (_, index) => `shop/s${index}`);
const all = keyed(...names.map((name) => exportOf(name)));
const onlyFirst = keyed(exportOf('shop/s0'));

test('planWrite: an empty source deletes nothing of ten; acceptance or their return ends it', () => {
  const first = planWrite(new Map(), { desired: all, synced: true, now }).holdings;
  const empty = planWrite(first, { desired: new Map(), synced: true, now });
  assert.equal(empty.holdings, first);
  assert.equal(empty.heldBack.size, 10);
  const again = planWrite(first, {
    desired: new Map(),
    synced: true,
    now: now + 10 * minute,
    heldBack: empty.heldBack,
  });
  assert.equal(again.heldBack, empty.heldBack, 'it does not wear off');
  const back = planWrite(first, { desired: all, synced: true, now, heldBack: empty.heldBack });
  assert.equal(back.heldBack.size, 0);
  const accepted = new Set(empty.heldBack.keys());
  const gone = planWrite(first, { desired: new Map(), synced: true, now, heldBack: empty.heldBack, accepted });
  assert.equal(gone.heldBack.size, 0);
  for (const record of recordsOf(gone.holdings).values()) assert.ok(record.kind === 'tombstone' && record.bulk);
});

test('planWrite: what is accepted covers only what was held back then', () => {
  const first = planWrite(new Map(), { desired: all, synced: true, now }).holdings;
  const { heldBack } = planWrite(first, { desired: onlyFirst, synced: true, now });
  assert.equal(heldBack.size, 9);
  const accepted = new Set(heldBack.keys());
  const later = planWrite(first, { desired: new Map(), synced: true, now, heldBack, accepted });
  assert.deepEqual([...later.heldBack.keys()], [], 'one more alone is no burst of ten');
  const record = recordsOf(later.holdings).get('export/shop/s0');
  assert.ok(record?.kind === 'tombstone' && !record.bulk, 'it was not part of what was declared');
});

test('planWrite: declared as bulk everything goes at once, and says so', () => {
  const first = planWrite(new Map(), { desired: all, synced: true, now }).holdings;
  const plan = planWrite(first, { desired: new Map(), synced: true, bulk: true, now });
  assert.equal(plan.heldBack.size, 0);
  assert.ok([...recordsOf(plan.holdings).values()].every((record) => record.kind === 'tombstone' && record.bulk));
});

test('planWrite: slowly, one a quarter of a minute, all may go', () => {
  let holdings = planWrite(new Map(), { desired: all, synced: true, now }).holdings;
  for (const [index] of names.entries()) {
    const desired = keyed(...names.slice(index + 1).map((name) => exportOf(name)));
    const plan = planWrite(holdings, { desired, synced: true, now: now + index * (minute / 4) });
    assert.equal(plan.heldBack.size, 0, `${index}`);
    holdings = plan.holdings;
  }
});

type Partitions = ReadonlyMap<string, PartitionView>;

function exportsOf(partitions: Partitions): number {
  const records = [...(partitions.get(east)?.records.values() ?? [])];
  return records.filter((record) => record.kind === 'export').length;
}

test('a source that is empty at start, after a restart: nothing goes, status says so, accepting lets it go', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const before = await site.publisher(east);
  before.publish(all, { synced: true });
  await eventually(reader.partitions, (p) => exportsOf(p) === 10);
  await before.close();
  const second = await site.publisher(east);
  second.publish(new Map(), { synced: false });
  second.publish(new Map(), { synced: true });
  const { heldBack } = await eventually(second.status, (status) => status.settled);
  assert.equal(heldBack.size, 10);
  await second.close();
  const events: string[] = [];
  const third = await site.publisher(east, { onEvent: (kind, detail) => void events.push(`${kind}: ${detail}`) });
  third.publish(new Map(), { synced: true });
  const held = await eventually(third.status, (status) => status.settled);
  assert.deepEqual(held.heldBack, heldBack, 'with the same ages as before the restart');
  assert.equal(exportsOf(reader.partitions.current), 10);
  assert.match(events.join(), /held-back: 10 exports/);
  assert.equal(third.acceptHeld(), 10);
  await eventually(reader.partitions, (p) => exportsOf(p) === 0);
  assert.equal(third.acceptHeld(), 0);
});

test('declared as bulk, readers let it pass as well', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(all, { synced: true });
  await eventually(reader.partitions, (p) => exportsOf(p) === 10);
  publisher.publish(onlyFirst, { synced: true, bulk: true });
  await eventually(reader.partitions, (p) => exportsOf(p) === 1);
});

/** What a writer without a guard publishes: everything buried at `at`. */
function buried(at: (index: number) => number): ReadonlyMap<RecordKey, Uint8Array> {
  return new Map(
    [...all.values()].map((record, index) => {
      const { service } = record as ExportRecord;
      const tombstone: ClusterRecord = { kind: 'tombstone', service, deletedAt: at(index) };
      return [`export/${service}`, encodeRecord(tombstone)];
    }),
  );
}

interface Owner extends AsyncDisposable {
  readonly site: Site;
  readonly reader: Reader;
  /** All ten of its exports. */
  readonly values: ReadonlyMap<RecordKey, Uint8Array>;
  /** Publishes whatever it likes. */
  say(revision: number, values: ReadonlyMap<RecordKey, Uint8Array>): Promise<void>;
}

/** An owner without a guard, whose ten exports a reader has seen. */
async function unguarded(): Promise<Owner> {
  const site = await Site.on(createEmbeddedHub());
  const sealer = site.seals.sealer(east);
  const values = new Map([...all].map(([key, record]) => [key, encodeRecord(record)] as const));
  const say: Owner['say'] = (revision, said) => forge(site.hub, sealer, { epoch: 1, revision, values: said });
  const reader = await site.reader(west);
  await say(1, values);
  await eventually(reader.partitions, (p) => exportsOf(p) === 10);
  return { site, reader, values, say, [Symbol.asyncDispose]: () => site[Symbol.asyncDispose]() };
}

test('a reader holds back what a writer should have: over a restart, until it is accepted', async () => {
  await using owner = await unguarded();
  const { site, reader } = owner;
  await owner.say(
    2,
    buried(() => now),
  );
  const held = await eventually(reader.partitions, (p) => p.get(east)?.revision === 2);
  assert.equal(exportsOf(held), 10);
  assert.match(held.get(east)?.problem ?? '', /10 of its exports were deleted at once.*isthmus hub accept east/);
  await reader.close();
  const events: string[] = [];
  const second = await site.reader(west, { onEvent: (cluster, kind) => void events.push(`${cluster} ${kind}`) });
  assert.equal(exportsOf(second.partitions.current), 10);
  assert.equal(second.heldBack().get(east)?.length, 10);
  // Their owner may go on, and even forget its tombstones: what is held stays held.
  await owner.say(3, new Map());
  await eventually(second.partitions, (p) => p.get(east)?.revision === 3);
  assert.equal(exportsOf(second.partitions.current), 10);
  assert.equal(second.acceptHeld(west), 0);
  assert.equal(second.acceptHeld(east), 10);
  assert.equal(exportsOf(second.partitions.current), 0);
  assert.equal(second.partitions.current.get(east)?.problem, undefined);
  assert.deepEqual(events, ['east accepted']);
});

test('a reader that slept through a day of single deletions takes them for what they are', async () => {
  await using owner = await unguarded();
  const { reader } = owner;
  await owner.say(
    2,
    buried((index) => now + index * minute),
  );
  await eventually(reader.partitions, (p) => exportsOf(p) === 0);
});

test('an export that comes back ends being held back', async () => {
  await using owner = await unguarded();
  const { reader, values } = owner;
  await owner.say(
    2,
    buried(() => now),
  );
  await eventually(reader.partitions, (p) => p.get(east)?.problem !== undefined);
  await owner.say(3, values);
  await eventually(reader.partitions, (p) => p.get(east)?.problem === undefined);
  assert.equal(reader.heldBack().size, 0);
  await delay(10);
  assert.equal(exportsOf(reader.partitions.current), 10);
});

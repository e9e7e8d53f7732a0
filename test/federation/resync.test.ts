import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { IsthmusError } from '../../src/model/error.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { ClusterRecord, RecordKey } from '../../src/model/record.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { altered } from './support/altered.ts';
import { counting } from './support/counting-hub.ts';
import { east, eventually, exportOf, keyed, south, west } from './support/federation.ts';
import { forge } from './support/forge.ts';
import { Site } from './support/site.ts';

type Partitions = ReadonlyMap<string, PartitionView>;
type Records = ReadonlyMap<RecordKey, ClusterRecord>;

function services(count: number, changed: ReadonlySet<number> = new Set(), ready: number = 2): Records {
  const all = Array.from({ length: count }, (_, index) =>
    exportOf(`shop/s${index}`, { endpoints: { total: 9, ready: changed.has(index) ? ready : 1 } }),
  );
  return keyed(...all);
}

function valuesOf(records: Records): Map<RecordKey, Uint8Array> {
  return new Map([...records].map(([key, record]) => [key, encodeRecord(record)]));
}

function readyAt(partitions: Partitions, index: number): number | undefined {
  const record = partitions.get(east)?.records.get(`export/shop/s${index}`);
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

test('one change writes and reads as many bytes among ten thousand records as among ten', async () => {
  const cost = new Map<number, { readonly sent: number; readonly received: number }>();
  for (const count of [10, 10_000]) {
    await using site = await Site.on(createEmbeddedHub());
    const writing = counting(site.hub);
    const reading = counting(site.hub);
    const reader = await site.reader(west, { hub: reading.hub, pollMs: 60_000 });
    const publisher = await site.publisher(east, { hub: writing.hub, leaseMs: 60_000 });
    publisher.publish(services(count), { synced: true });
    await eventually(reader.partitions, (p) => readyAt(p, count - 1) === 1, 20_000);
    await eventually(publisher.status, (status) => status.settled);
    await delay(100);
    writing.reset();
    reading.reset();
    publisher.publish(services(count, new Set([3])), { synced: true });
    await eventually(reader.partitions, (p) => readyAt(p, 3) === 2);
    await eventually(publisher.status, (status) => status.settled);
    assert.deepEqual([...writing.traffic.calls], [['commit', 1]]);
    assert.deepEqual([...reading.traffic.calls], [['readDeltas', 1]]);
    cost.set(count, { sent: writing.traffic.sent, received: reading.traffic.received });
    writing.reset();
    publisher.publish(services(count, new Set([3])), { synced: true });
    await delay(50);
    assert.equal(writing.traffic.sent, 0, 'a record that did not change is not written again');
  }
  const [few, many] = [cost.get(10), cost.get(10_000)];
  assert.ok(few && many && few.sent < 3000 && few.received < 2000, JSON.stringify(few));
  // Revisions and record counts have more digits.
  assert.ok(many.sent < few.sent + 50 && many.received < few.received + 50, JSON.stringify({ few, many }));
});

test('who fell behind the log compares buckets and fetches only what differs', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.seals.sealer(east);
  const reading = counting(site.hub);
  const { hub, traffic } = reading;
  const reader = await site.reader(west, { hub });
  const values = valuesOf(services(2000));
  await forge(site.hub, sealer, { epoch: 1, revision: 1, values });
  await eventually(reader.partitions, (p) => readyAt(p, 1999) === 1);
  const whole = traffic.received;
  reading.reset();
  const next = valuesOf(services(2000, new Set([7, 1000])));
  next.delete('export/shop/s5');
  next.set('export/shop/new', encodeRecord(exportOf('shop/new')));
  // A new epoch, as after a restart: nothing in the log leads there.
  await forge(site.hub, sealer, { epoch: 2, revision: 1, values: next });
  const seen = await eventually(reader.partitions, (p) => readyAt(p, 7) === 2);
  assert.equal(readyAt(seen, 1000), 2);
  assert.equal(readyAt(seen, 5), 1, 'absence is not deletion');
  assert.equal(seen.get(east)?.records.get('export/shop/new')?.kind, 'export');
  assert.equal(traffic.calls.get('readSnapshot'), undefined);
  assert.equal(traffic.calls.get('readRecords'), 1);
  assert.ok(traffic.received < whole / 4, `${traffic.received} of ${whole}`);
  assert.deepEqual(reader.refusals(), []);
});

test('an index that lies leads to a snapshot, and is believed in nothing', async (t) => {
  const lies: Readonly<Record<string, (hub: Hub) => Partial<Hub>>> = {
    'no buckets': (hub) => ({ readIndex: async (p) => ({ ...(await hub.readIndex(p)), buckets: new Map() }) }),
    'other buckets': (hub) => ({
      readIndex: async (p) => ({ ...(await hub.readIndex(p)), buckets: new Map([[3, Buffer.alloc(32)]]) }),
    }),
    'keys are missing': (hub) => ({
      readIndex: async (p) => ({ ...(await hub.readIndex(p)), keys: (await hub.readIndex(p)).keys.slice(1) }),
    }),
    'keys are made up': (hub) => ({
      readIndex: async (p) => ({ ...(await hub.readIndex(p)), keys: Array.from({ length: 500 }, (_, k) => `x/${k}`) }),
    }),
    'records are missing': () => ({ readRecords: async () => new Map() }),
    'records are others': (hub) => ({
      readRecords: async (p, keys) =>
        new Map([...(await hub.readRecords(p, keys))].map(([key]) => [key, Buffer.from('{}')])),
    }),
  };
  for (const [what, lie] of Object.entries(lies)) {
    await t.test(what, async () => {
      await using site = await Site.on(createEmbeddedHub());
      const sealer = site.seals.sealer(east);
      const { hub, traffic } = counting(altered(site.hub, lie(site.hub)));
      const reader = await site.reader(west, { hub });
      await forge(site.hub, sealer, { epoch: 1, revision: 1, values: valuesOf(services(200)) });
      await eventually(reader.partitions, (p) => readyAt(p, 199) === 1);
      const values = valuesOf(services(200, new Set([7])));
      await forge(site.hub, sealer, { epoch: 2, revision: 1, values });
      await eventually(reader.partitions, (p) => readyAt(p, 7) === 2);
      assert.equal(traffic.calls.get('readSnapshot'), 2);
      assert.equal(reader.partitions.current.get(east)?.records.size, 200);
      assert.deepEqual(reader.refusals(), []);
    });
  }
});

test('a partition that the hub will not transfer is its own trouble: said, retried ever more slowly, nobody else is', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const refuse = (): never => {
    throw new IsthmusError('corrupt', 'Cannot read partition east on hub memory: TOOLARGE');
  };
  let tries = 0;
  const hub = altered(site.hub, {
    readSnapshot: async (partition) => {
      if (partition !== east) return site.hub.readSnapshot(partition);
      tries += 1;
      return refuse();
    },
  });
  const reader = await site.reader(west, { hub, pollMs: 20 });
  const [publisher, other] = [await site.publisher(east), await site.publisher(south)];
  publisher.publish(services(3), { synced: true });
  other.publish(services(3), { synced: true });
  await eventually(reader.partitions, (p) => p.get(south)?.records.size === 3);
  await eventually(reader.partitions, (p) => p.get(east)?.problem !== undefined);
  await delay(700);
  assert.equal(reader.hubStatus.current.connected, true);
  assert.match(reader.partitions.current.get(east)?.problem ?? '', /^too-large: .*partition east on hub memory/);
  assert.ok(tries >= 2 && tries <= 5, `${tries} tries in 700 ms at a poll every 20 ms`);
  assert.deepEqual(
    reader.refusals().map(({ cluster, reason }) => [cluster, reason]),
    [[east, 'too-large']],
  );
});

test('most leases stop while the hub answers: that is the hub, and nobody is dead', async () => {
  await using site = await Site.on(createEmbeddedHub());
  let frozen: readonly (Uint8Array | undefined)[] | undefined;
  const hub = altered(site.hub, {
    readLeases: async (partitions) => {
      frozen ??= stop ? await site.hub.readLeases(partitions) : undefined;
      return frozen ?? site.hub.readLeases(partitions);
    },
  });
  let stop = false;
  const events: string[] = [];
  const reader = await site.reader(west, {
    hub,
    pollMs: 20,
    liveness: { suspectMs: 120, deadMs: 240, recoverMs: 0 },
    onEvent: (_, kind) => void events.push(kind),
  });
  for (const cluster of [east, south]) {
    const publisher = await site.publisher(cluster, { leaseMs: 20 });
    publisher.publish(services(1), { synced: true });
  }
  const both = (p: Partitions, freshness: string): boolean =>
    [east, south].every((cluster) => p.get(cluster)?.freshness === freshness);
  await eventually(reader.partitions, (p) => both(p, 'live'));
  stop = true;
  await eventually(reader.partitions, (p) => both(p, 'suspect'));
  await delay(500);
  assert.ok(both(reader.partitions.current, 'suspect'));
  assert.ok(events.includes('silence'), events.join());
});

test('good-bye: the others know at once, and a return is a new beginning', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const events: string[] = [];
  const reader = await site.reader(west, { onEvent: (cluster, kind) => void events.push(`${cluster} ${kind}`) });
  const publisher = await site.publisher(east);
  publisher.publish(services(6), { synced: true });
  await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'live' && readyAt(p, 5) === 1);
  publisher.publish(new Map(), { synced: true, bulk: true });
  await eventually(publisher.status, (status) => status.settled);
  await publisher.release();
  const gone = await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'dead');
  assert.equal(gone.get(east)?.left, true);
  assert.ok([...(gone.get(east)?.records.values() ?? [])].every(({ kind }) => kind === 'tombstone'));
  await delay(150);
  assert.equal(reader.partitions.current.get(east)?.freshness, 'dead', 'the lease is not renewed any more');
  assert.deepEqual(events, ['east left']);
  await publisher.close();
  const again = await site.publisher(east);
  again.publish(services(6), { synced: true });
  await eventually(reader.partitions, (p) => p.get(east)?.left === undefined && readyAt(p, 5) === 1);
});

test('a good-bye that the hub did not take in time can be taken back', { timeout: 60_000 }, async () => {
  await using site = await Site.on(createEmbeddedHub());
  let refuses = false;
  let refused = 0;
  const hub = altered(site.hub, {
    async writeLease(this: Hub, ...lease): Promise<void> {
      if (!refuses) return site.hub.writeLease(...lease);
      refused += 1;
      throw new IsthmusError('timeout', 'no answer');
    },
  });
  const reader = await site.reader(west);
  const publisher = await site.publisher(east, { hub });
  publisher.publish(services(6), { synced: true });
  await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'live' && readyAt(p, 5) === 1, 20_000);
  const seen: string[] = [];
  const end = reader.partitions.subscribe((p) => void seen.push(p.get(east)?.freshness ?? 'gone'));
  refuses = true;
  void publisher.release();
  while (refused < 3) await delay(5);
  publisher.stay();
  refuses = false;
  const before = reader.partitions.current.get(east)?.heardAt ?? 0;
  await eventually(reader.partitions, (p) => (p.get(east)?.heardAt ?? 0) > before + 200, 20_000);
  end();
  assert.ok(!seen.includes('dead'), seen.join());
  await publisher.release();
  await eventually(reader.partitions, (p) => p.get(east)?.left === true, 20_000);
});

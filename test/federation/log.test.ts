import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { absentRetentionMs, expireAbsent, valuesOf } from '../../src/federation/log/belief.ts';
import {
  type Applied,
  applyDelta,
  applySnapshot,
  type PartitionState,
} from '../../src/federation/log/partition-state.ts';
import { decodePartition, encodePartition } from '../../src/federation/io/partition-store.ts';
import {
  holdingsOf,
  nextExpiry,
  operations,
  planWrite,
  recordsOf,
  tombstoneRetentionMs,
} from '../../src/federation/log/writer-plan.ts';
import type { ClusterRecord, RecordKey } from '../../src/model/record.ts';
import { digestOf } from '../../src/wire/digest.ts';
import type { PartitionDelta, PartitionHead } from '../../src/wire/partition.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { east, exportOf, gatewayOf, keyed } from './support/federation.ts';

const now = 1_000_000;
const web = 'export/shop/web';
const bytes = encodeRecord(exportOf('shop/web'));

type Values = ReadonlyMap<RecordKey, Uint8Array>;

function headOf(values: Values, change: Partial<PartitionHead> = {}): PartitionHead {
  return {
    cluster: east,
    epoch: 1,
    revision: 1,
    count: values.size,
    digest: digestOf(values),
    schema: 1,
    writtenAt: 0,
    ...change,
  };
}

function stateOf(values: Values, change: Partial<PartitionHead> = {}): PartitionState {
  return expectState(applySnapshot(undefined, east, { head: headOf(values, change), values, now }));
}

function expectState(applied: Applied): PartitionState {
  assert.ok(applied.ok, JSON.stringify(applied));
  return applied.state;
}

function deltaOf(values: Values, ops: PartitionDelta['ops'], change: Partial<PartitionDelta> = {}): PartitionDelta {
  const after = new Map(values);
  for (const [key, value] of ops) {
    if (value) after.set(key, value);
    else after.delete(key);
  }
  return { cluster: east, epoch: 1, previous: 1, revision: 2, ops, digest: digestOf(after), ...change };
}

const one: Values = new Map([[web, bytes]]);
const ready2 = encodeRecord(exportOf('shop/web', { endpoints: { total: 2, ready: 2 } }));

test('applySnapshot: refuses what is foreign, older, differently signed or not what was signed', () => {
  const held = stateOf(one, { epoch: 3, revision: 5 });
  const other: Values = new Map([[web, ready2]]);
  const reasonOf = (values: Values, change: Partial<PartitionHead>, stored: Values = values): string | undefined => {
    const applied = applySnapshot(held, east, { head: headOf(values, change), values: stored, now });
    return applied.ok ? undefined : applied.reason;
  };
  assert.equal(reasonOf(other, { epoch: 3, revision: 6, cluster: 'west' }), 'foreign');
  assert.equal(reasonOf(other, { epoch: 3, revision: 4 }), 'rollback');
  assert.equal(reasonOf(other, { epoch: 2, revision: 99 }), 'rollback');
  assert.equal(reasonOf(other, { epoch: 3, revision: 5 }), 'equivocation');
  assert.equal(reasonOf(other, { epoch: 3, revision: 6 }, one), 'digest-mismatch');
  assert.equal(reasonOf(other, { epoch: 3, revision: 6, count: 2 }), 'digest-mismatch');
  assert.equal(reasonOf(one, { epoch: 3, revision: 5 }), undefined);
  assert.equal(reasonOf(other, { epoch: 4, revision: 1 }), undefined);
});

test('applyDelta: refuses gaps, old epochs, foreign ones and what does not lead to the digest', () => {
  const held = stateOf(one);
  const good = deltaOf(one, new Map([[web, ready2]]));
  const reasonOf = (change: Partial<PartitionDelta>): string | undefined => {
    const applied = applyDelta(held, { ...good, ...change }, now);
    return applied.ok ? undefined : applied.reason;
  };
  assert.equal(reasonOf({ cluster: 'west' }), 'foreign');
  assert.equal(reasonOf({ previous: 2, revision: 3 }), 'gap');
  assert.equal(reasonOf({ epoch: 2 }), 'gap');
  assert.equal(reasonOf({ epoch: 0 }), 'rollback');
  assert.equal(reasonOf({ revision: 1, previous: 0 }), 'equivocation');
  assert.equal(reasonOf({ digest: digestOf(one) }), 'digest-mismatch');
  assert.equal(reasonOf({}), undefined);
});

test('applyDelta: leaves the state before as it was, shares what did not change, and ignores repetition', () => {
  const values: Values = new Map([...one, ['export/shop/db', encodeRecord(exportOf('shop/db'))]]);
  const before = stateOf(values);
  const delta = deltaOf(values, new Map([[web, ready2]]));
  const after = expectState(applyDelta(before, delta, now));
  assert.equal(before.digest.whole, digestOf(values));
  assert.deepEqual(new Map(valuesOf(before)).get(web), bytes);
  assert.equal(after.records.get('export/shop/db'), before.records.get('export/shop/db'));
  assert.equal(after.digest.whole, delta.digest);
  assert.equal(expectState(applyDelta(after, delta, now)), after);
});

test('a record that does not decode keeps its last good version, until it is good again or buried', () => {
  const before = stateOf(one);
  const broken = expectState(applyDelta(before, deltaOf(one, new Map([[web, Buffer.from('?')]])), now));
  assert.equal(broken.records.get(web), before.records.get(web));
  assert.equal(broken.refused.size, 1);
  const tombstone: ClusterRecord = { kind: 'tombstone', service: exportOf('shop/web').service, deletedAt: 1 };
  const step = { previous: 2, revision: 3 };
  const buried = expectState(
    applyDelta(broken, deltaOf(new Map(valuesOf(broken)), new Map([[web, encodeRecord(tombstone)]]), step), now),
  );
  assert.equal(buried.records.get(web)?.kind, 'tombstone');
  assert.deepEqual([buried.refused.size, buried.kept.size], [0, 0]);
});

test('what is not kept as bytes is written again byte for byte, whatever the bytes were and wherever they came from', () => {
  const service = exportOf('shop/web').service;
  const text = Buffer.from(bytes).toString('utf8');
  const value = fc.constantFrom(
    bytes,
    ready2,
    encodeRecord({ kind: 'tombstone', service, deletedAt: 1 }),
    encodeRecord({ kind: 'tombstone', service, deletedAt: 1, bulk: true }),
    // The same to a reader, but not as this version writes it.
    Buffer.from(text.replace('{', '{ ')),
    Buffer.from(text.replace(/^\{(.*)\}$/, '{$1,"zone":"new member"}')),
    Buffer.from('{"v":1,"kind":"future"}'),
    Buffer.from([0xff, 0]),
    undefined,
  );
  const keys = fc.constantFrom(web, 'export/shop/db', 'future/x');
  fc.assert(
    fc.property(fc.array(fc.tuple(keys, value, fc.boolean()), { maxLength: 12 }), (steps) => {
      const hub = new Map<RecordKey, Uint8Array>();
      let held = stateOf(hub);
      for (const [key, next, whole] of steps) {
        const ops = new Map([[key, next]]);
        const delta = deltaOf(hub, ops, { previous: held.revision, revision: held.revision + 1 });
        if (next) hub.set(key, next);
        else hub.delete(key);
        const snapshot = { head: headOf(hub, { revision: held.revision + 1 }), values: hub, now };
        held = expectState(whole ? applySnapshot(held, east, snapshot) : applyDelta(held, delta, now));
        assert.equal(digestOf(valuesOf(held)), held.digest.whole);
        const stored = decodePartition(
          east,
          Buffer.from(encodePartition({ state: held, lastId: '1', lease: undefined })),
        );
        assert.deepEqual(plain(stored.state), plain(held));
      }
    }),
  );
});

function plain({ digest, records, verbatim, kept, refused, revision }: PartitionState): object {
  const others = [records, kept, refused].map((map) => new Map<string, unknown>(map));
  return [revision, digest.whole, ...others, ...Array.from(verbatim, ([key, value]) => `${key} ${value.join()}`)];
}

test('absence is not deletion: an export stays for as long as tombstones do, other kinds go', () => {
  const values: Values = new Map([...one, ['gateway/gw-0', encodeRecord(gatewayOf('gw-0'))]]);
  const before = stateOf(values);
  const gone = expectState(
    applySnapshot(before, east, { head: headOf(new Map(), { revision: 2 }), values: new Map(), now }),
  );
  assert.deepEqual([...gone.records.keys()], [web]);
  assert.equal(expireAbsent(gone, now + absentRetentionMs - 1), gone);
  assert.equal(expireAbsent(gone, now + absentRetentionMs).records.size, 0);
  const back = expectState(applySnapshot(gone, east, { head: headOf(one, { revision: 3 }), values: one, now }));
  assert.equal(expireAbsent(back, now + absentRetentionMs).records.size, 1);
});

test('planWrite: nothing changes for the same records; age is kept; what cannot be written harms nothing else', () => {
  const first = planWrite(new Map(), {
    desired: keyed(exportOf('shop/web', { createdAt: 5 })),
    synced: true,
    now,
  }).holdings;
  const same = planWrite(first, { desired: keyed(exportOf('shop/web', { createdAt: 9 })), synced: true, now });
  assert.equal(same.holdings, first);
  const huge = exportOf('shop/huge', { labels: { x: 'x'.repeat(100_000) } });
  const mixed = planWrite(first, {
    desired: keyed(huge, exportOf('shop/db'), exportOf('shop/web')),
    synced: true,
    now,
  });
  assert.deepEqual([...mixed.holdings.keys()].toSorted(), ['export/shop/db', web]);
  assert.deepEqual([...mixed.refused.keys()], ['export/shop/huge']);
});

test('planWrite: tombstones go after a day, not before, and a service exported again is young', () => {
  const first = planWrite(new Map(), {
    desired: keyed(exportOf('shop/web', { createdAt: 5 })),
    synced: true,
    now,
  }).holdings;
  const empty = { desired: new Map(), synced: true };
  const buried = planWrite(first, { ...empty, now }).holdings;
  assert.equal(recordsOf(buried).get(web)?.kind, 'tombstone');
  assert.equal(nextExpiry(buried), now + tombstoneRetentionMs);
  assert.equal(planWrite(buried, { ...empty, now: now + tombstoneRetentionMs - 1 }).holdings, buried);
  assert.equal(planWrite(buried, { ...empty, now: now + tombstoneRetentionMs }).holdings.size, 0);
  const again = planWrite(buried, {
    desired: keyed(exportOf('shop/web', { createdAt: 50 })),
    synced: true,
    now,
  }).holdings;
  const record = recordsOf(again).get(web);
  assert.equal(record?.kind === 'export' && record.createdAt, 50);
});

test('planWrite: records of a kind unknown here are left alone', () => {
  const held = holdingsOf([['future/x', Buffer.from('{"v":1,"kind":"future"}')]]);
  assert.equal(planWrite(held, { desired: new Map(), synced: true, now }).holdings, held);
});

test('planWrite: an unsynced source deletes nothing, whatever it says', () => {
  const some = fc.uniqueArray(fc.constantFrom('shop/a', 'shop/b', 'shop/c', 'shop/d'));
  fc.assert(
    fc.property(some, some, (before, desired) => {
      const held = planWrite(new Map(), {
        desired: keyed(...before.map((name) => exportOf(name)), gatewayOf('gw-0')),
        synced: true,
        now,
      }).holdings;
      const next = planWrite(held, {
        desired: keyed(...desired.map((name) => exportOf(name))),
        synced: false,
        now,
      }).holdings;
      for (const [key, holding] of held) assert.equal(next.get(key), holding);
    }),
  );
});

test('writer and reader: whatever is planned, its operations lead the reader to the same records', () => {
  const wish = fc.record({
    names: fc.uniqueArray(fc.constantFrom('shop/a', 'shop/b', 'shop/c', 'shop/d')),
    ready: fc.nat({ max: 3 }),
    synced: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 10 }), (wishes) => {
      let holdings: ReturnType<typeof holdingsOf> = new Map();
      let reader = stateOf(new Map());
      for (const { names, ready, synced } of wishes) {
        const endpoints = { total: 3, ready };
        holdings = planWrite(holdings, {
          desired: keyed(...names.map((name) => exportOf(name, { endpoints }))),
          synced,
          now,
        }).holdings;
        const values = new Map(valuesOf(reader));
        const ops = operations(values, holdings);
        const version = { previous: reader.revision, revision: reader.revision + 1 };
        reader = expectState(applyDelta(reader, deltaOf(values, ops, version), now));
        assert.deepEqual(new Map(reader.records), new Map(recordsOf(holdings)));
      }
    }),
  );
});

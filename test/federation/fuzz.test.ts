import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PartitionFollower } from '../../src/federation/io/partition-follower.ts';
import { encodePartition, PartitionStore } from '../../src/federation/io/partition-store.ts';
import type { StateFiles } from '../../src/federation/io/state-files.ts';
import { encodeOwnState, readEpoch, readOwnState } from '../../src/federation/io/writer-files.ts';
import { parseRedisUrl } from '../../src/federation/io/redis-hub/address.ts';
import { applySnapshot } from '../../src/federation/log/partition-state.ts';
import { holdingsOf } from '../../src/federation/log/writer-plan.ts';
import { IsthmusError } from '../../src/model/error.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { SealKind } from '../../src/model/ports/seal.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { canonicalJson } from '../../src/wire/canonical-json.ts';
import { digestOf } from '../../src/wire/digest.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { simSealer, simVerifier } from '../simulation/support/sim-seals.ts';
import { east, exportOf, quietLog, west } from './support/federation.ts';
import { domainOf } from './support/seals.ts';

const sealer = simSealer(east);
const web = 'export/shop/web';
const good = new Map([[web, encodeRecord(exportOf('shop/web'))]]);

const tombstone = Buffer.from('{"v":1,"kind":"tombstone","service":"shop/web","deletedAt":1}');
const buried = new Map([[web, tombstone]]);

const key = fc.oneof(fc.constantFrom(web, 'gateway/a', 'x'), fc.string({ maxLength: 300 }));
const value = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.constantFrom(good.get(web) as Uint8Array, tombstone),
  fc.json().map((text) => Buffer.from(text)),
);
const number = fc.oneof(fc.nat(3), fc.constantFrom(-1, 0.5, Number.MAX_SAFE_INTEGER, 1e300));
/** What its owner may seal, in all seriousness or none. */
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc
    .record(
      {
        v: fc.constantFrom(1, 1, 1, 2, 'x'),
        cluster: fc.constantFrom('east', 'east', 'east', 'west', ''),
        epoch: number,
        revision: number,
        previous: number,
        count: fc.nat(2),
        sequence: number,
        at: fc.nat(),
        writtenAt: fc.nat(),
        schema: fc.nat(2),
        digest: fc.constantFrom(digestOf(good), digestOf([]), digestOf(buried), 'x'),
        ops: fc.array(fc.tuple(key, fc.oneof(fc.constant(null), fc.string({ maxLength: 60 }))), { maxLength: 3 }),
        released: fc.boolean(),
      },
      { requiredKeys: [] },
    )
    .map((object) => Buffer.from(canonicalJson(object))),
);

function sealed(kind: SealKind): fc.Arbitrary<Uint8Array> {
  const honest = payload.map((bytes) => sealer.seal(kind, bytes));
  const other = payload.map((bytes) => simSealer('west').seal(kind, bytes));
  const broken = fc.tuple(honest, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
    const copy = Buffer.from(bytes);
    copy[at % copy.length] = byte;
    return copy;
  });
  return fc.oneof(honest, honest, other, broken, fc.uint8Array({ maxLength: 100 }));
}

const some = fc.array(fc.tuple(key, value), { maxLength: 4 }).map((entries) => new Map(entries));
const whole = fc.constantFrom<ReadonlyMap<string, Uint8Array>>(good, buried, new Map());
const records = fc.oneof(some, whole);
const answers = fc.record({
  head: fc.option(sealed('head'), { nil: undefined }),
  lease: fc.option(sealed('lease'), { nil: undefined }),
  records,
  buckets: fc
    .array(fc.tuple(fc.integer({ min: -1, max: 300 }), fc.uint8Array({ maxLength: 40 })))
    .map((e) => new Map(e)),
  keys: fc.array(key, { maxLength: 4 }),
  entries: fc.array(sealed('delta'), { maxLength: 3 }),
  gap: fc.boolean(),
  chain: fc.oneof(fc.constant(sealer.chain), fc.uint8Array({ maxLength: 30 })),
});

test('whatever a hub answers and an owner seals, following never throws and loses nothing that was good', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(answers, { maxLength: 5 }), async (rounds) => {
      let answer: (typeof rounds)[number] | undefined;
      const hub = {
        name: 'hostile',
        readSnapshot: async () => ({ head: answer?.head, records: answer?.records ?? new Map(), lastId: '1' }),
        readIndex: async () => ({
          head: answer?.head,
          buckets: answer?.buckets ?? new Map(),
          keys: answer?.keys ?? [],
          lastId: undefined,
        }),
        readRecords: async () => answer?.records ?? new Map(),
        readDeltas: async () => {
          const entries = (answer?.entries ?? []).map((delta, index) => ({ id: `${index}`, delta }));
          if (answer) answer = { ...answer, entries: [] };
          return { entries, gap: answer?.gap ?? true };
        },
        readChain: async () => answer?.chain,
      } as Partial<Hub> as Hub;
      const first = {
        cluster: 'east',
        epoch: 1,
        revision: 1,
        count: 1,
        digest: digestOf(good),
        schema: 1,
        writtenAt: 0,
      };
      const applied = applySnapshot(undefined, east, { head: first, values: good, now: Date.now() });
      assert.ok(applied.ok);
      const verifier = simVerifier();
      verifier.learn(sealer.chainId, sealer.chain);
      const follower = new PartitionFollower({
        hub,
        verifier,
        cluster: east,
        trustDomain: domainOf(east),
        stored: { state: applied.state, lastId: undefined, lease: undefined },
        liveness: { suspectMs: 1000, deadMs: 2000, recoverMs: 0 },
        clock: systemClock,
        onRefusal: () => undefined,
      });
      for (const round of rounds) {
        answer = round;
        await follower.considerLease(round.lease);
        const promised = await follower.considerHead(round.head, follower.version);
        await follower.sync(promised);
        const { records: believed } = follower.view({ hubUpSince: 0, silence: undefined });
        for (const [at, record] of believed) assert.ok(at.length <= 256 && record.kind.length > 0);
        // Gone or there, it is by its owner's own word: a tombstone, never nothing at all.
        assert.ok(believed.has(web));
      }
    }),
    { numRuns: 300 },
  );
});

function filesWith(content: Uint8Array): StateFiles {
  return {
    ensureDir: async () => undefined,
    read: async () => content,
    write: async () => undefined,
    remove: async () => undefined,
  };
}

test('files of the state directory: a partition under the name of another cluster is not taken', async () => {
  const applied = applySnapshot(undefined, east, {
    head: { cluster: 'east', epoch: 1, revision: 1, count: 1, digest: digestOf(good), schema: 1, writtenAt: 0 },
    values: good,
    now: 0,
  });
  assert.ok(applied.ok);
  const files = filesWith(Buffer.from(encodePartition({ state: applied.state, lastId: '1-1', lease: undefined })));
  const lines: { readonly fields: object; readonly message: string }[] = [];
  const store = new PartitionStore('/s', files, quietLog(lines));
  assert.equal((await store.load(east))?.state.revision, 1);
  assert.equal(await store.load(west), undefined);
  assert.deepEqual(lines[0]?.fields, { path: '/s/west.json', cluster: west, reason: "it is of cluster 'east'" });
});

test('files of the state directory: any bytes are read as something sensible or as nothing', async () => {
  const applied = applySnapshot(undefined, east, {
    head: { cluster: 'east', epoch: 1, revision: 1, count: 1, digest: digestOf(good), schema: 1, writtenAt: 0 },
    values: good,
    now: 0,
  });
  assert.ok(applied.ok);
  const stored = Buffer.from(
    encodePartition({ state: applied.state, lastId: '1-1', lease: { epoch: 1, sequence: 2 } }),
  );
  const own = Buffer.from(
    encodeOwnState({ epoch: 1, revision: 1, holdings: holdingsOf(good), heldBack: new Map([[web, 5]]) }),
  );
  const log = quietLog();
  const damaged = fc.constantFrom(stored, own).chain((bytes) =>
    fc.tuple(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length)).map(([at, byte, length]) => {
      const copy = Buffer.from(bytes);
      copy[at] = byte;
      return copy.subarray(0, Math.max(length, bytes.length - 3));
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged), async (bytes) => {
      const files = filesWith(bytes);
      const where = { stateDir: '/s', files, log };
      const found = await new PartitionStore('/s', files, log).load(east);
      if (found) assert.equal(found.state.cluster, 'east');
      await readOwnState(where);
      assert.ok(Number.isSafeInteger(await readEpoch(where)));
    }),
    { numRuns: 500 },
  );
});

test('parseRedisUrl: any text gives an address or an error that does not show it', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.string().map((rest) => `redis://u:hunter2@${rest}`),
      ),
      (text) => {
        try {
          const { port, name } = parseRedisUrl(text);
          assert.ok(port >= 0 && port <= 65_535 && !name.includes('hunter2'));
        } catch (thrown) {
          assert.ok(thrown instanceof IsthmusError && thrown.code === 'invalid', String(thrown));
          assert.ok(!thrown.message.includes('hunter2'));
        }
      },
    ),
  );
});

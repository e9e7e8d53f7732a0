import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import type { ClusterName } from '../../src/model/names.ts';
import type { Commit, CommitResult, Hub } from '../../src/model/ports/hub.ts';
import type { Sealer } from '../../src/model/ports/seal.ts';
import type { ExportRecord } from '../../src/model/record.ts';
import { digestOf } from '../../src/wire/digest.ts';
import { decodeHead, encodeDelta, encodeHead, encodeLease } from '../../src/wire/partition.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { decodeSeal } from '../../src/wire/seal.ts';
import { altered } from './support/altered.ts';
import { east, eventually, exportOf, keyed, south, west } from './support/federation.ts';
import { forge } from './support/forge.ts';
import { Site } from './support/site.ts';

/** Whoever owns the hub can delay the federation, and not lie to it (architecture.md, decision 2). */

type Partitions = ReadonlyMap<ClusterName, PartitionView>;

const web = 'export/shop/web';
const db = 'export/shop/db';
const limits = { timeout: 60_000 };

function readyAt(partitions: Partitions, key = web): number | undefined {
  const record = partitions.get(east)?.records.get(key);
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

function withReady(ready: number): ExportRecord {
  return exportOf('shop/web', { endpoints: { total: 1000, ready } });
}

async function until(what: string, happens: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!happens()) {
    if (performance.now() > deadline) assert.fail(`${what}: not within 20 s`);
    await delay(5);
  }
}

const good = new Map([[web, encodeRecord(exportOf('shop/web'))]]);
const bad = new Map([[web, encodeRecord(withReady(666))]]);
const two = new Map([...good, [db, encodeRecord(exportOf('shop/db'))]]);
const next = { epoch: 5, revision: 6, values: bad };

interface Stage {
  readonly site: Site;
  readonly hub: Hub;
  /** Of `east`, who published `good` as 5.5. */
  readonly sealer: Sealer;
}

interface Lie {
  readonly what: string;
  /** What is said of it: the kind of event, the key that it is about, and the rule. */
  readonly said: readonly [reason: string, key: string, rule: RegExp];
  readonly tell: (stage: Stage) => Promise<void>;
}

/** Stores bytes as the head, under which nothing else changes. */
async function putHead({ hub }: Pick<Stage, 'hub'>, head: Uint8Array): Promise<void> {
  const [expectedHead] = await hub.readHeads([east]);
  const rest = { snapshot: true, delta: undefined, hint: 'east 9 9' };
  await hub.commit(east, { expectedHead, head, records: good, ...rest });
}

/** Appends to the log, under the head that is there. */
async function putDelta({ hub }: Pick<Stage, 'hub'>, delta: Uint8Array): Promise<void> {
  const [head = new Uint8Array()] = await hub.readHeads([east]);
  const commit: Commit = { expectedHead: head, head, records: new Map(), snapshot: false, delta, hint: 'east 5 6' };
  await hub.commit(east, commit);
}

function deltaOf(change: Partial<Parameters<typeof encodeDelta>[0]> = {}): Uint8Array {
  const step = { cluster: east, epoch: 5, previous: 5, revision: 6, ops: bad, digest: digestOf(bad) };
  return encodeDelta({ ...step, ...change });
}

function headOf(change: Partial<Parameters<typeof encodeHead>[0]> = {}): Uint8Array {
  const head = { cluster: east, epoch: 5, revision: 6, count: 1, digest: digestOf(good), schema: 1, writtenAt: 0 };
  return encodeHead({ ...head, ...change });
}

const lies: readonly Lie[] = [
  {
    what: 'a signer nobody vouches for',
    said: ['distrusted', 'head', /chain is not trusted/],
    tell: ({ site, hub }) => forge(hub, site.seals.forged(east), next),
  },
  {
    what: "another member's signer",
    said: ['foreign-signer', 'head', /signed by west\.mesh\.example/],
    tell: ({ site, hub }) => forge(hub, site.seals.sealer(west), next),
  },
  {
    what: "another member's whole partition",
    said: ['foreign-signer', 'head', /signed by south\.mesh\.example/],
    tell: async ({ site, hub }) => {
      await forge(hub, site.seals.sealer(south), { ...next, partition: south, cluster: south });
      const { head, records } = await hub.readSnapshot(south);
      const [expectedHead] = await hub.readHeads([east]);
      const { chainId } = decodeSeal(head ?? new Uint8Array());
      await hub.writeChain(east, chainId, (await hub.readChain(south, chainId)) ?? new Uint8Array());
      const rest = { snapshot: true, delta: undefined, hint: 'east 5 6' };
      await hub.commit(east, { expectedHead, head: head ?? new Uint8Array(), records, ...rest });
    },
  },
  {
    what: 'a chain that is not there',
    said: ['unknown-chain', 'head', /not known/],
    tell: async ({ site, hub }) => putHead({ hub }, site.seals.sealer(east).seal('head', headOf())),
  },
  {
    what: 'another chain under its name',
    said: ['unknown-chain', 'head', /not known/],
    tell: async ({ site, hub, sealer }) => {
      const other = site.seals.sealer(east);
      await hub.writeChain(east, other.chainId, sealer.chain);
      await putHead({ hub }, other.seal('head', headOf()));
    },
  },
  {
    what: 'an older state',
    said: ['rollback', 'head', /5\.4/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { epoch: 5, revision: 4, values: bad }),
  },
  {
    what: 'an older epoch with a higher revision',
    said: ['rollback', 'head', /4\.99/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { epoch: 4, revision: 99, values: bad }),
  },
  {
    what: 'the same revision with other content',
    said: ['equivocation', 'head', /5\.5 was signed/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { epoch: 5, revision: 5, values: bad }),
  },
  {
    what: 'a head that speaks for another partition',
    said: ['foreign', 'head', /speaks for 'south'/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { ...next, cluster: south }),
  },
  {
    what: 'newer, by a certificate that has run out',
    said: ['expired-signer', 'head', /has run out/],
    tell: async ({ site, hub, sealer }) => {
      site.seals.expire(sealer);
      await forge(hub, sealer, next);
    },
  },
  {
    what: 'records that were not signed',
    said: ['digest-mismatch', 'head', /the 1 records of 5\.6 are not the 1 signed/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { ...next, values: good, stored: bad }),
  },
  {
    what: 'one record more than was signed',
    said: ['digest-mismatch', 'head', /the 2 records of 5\.6 are not the 1 signed/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { ...next, values: good, stored: two }),
  },
  {
    what: 'one record less than was signed',
    said: ['digest-mismatch', 'head', /the 1 records of 5\.6 are not the 2 signed/],
    tell: ({ hub, sealer }) => forge(hub, sealer, { ...next, values: two, stored: good }),
  },
  {
    what: 'a head that is no envelope',
    said: ['malformed', 'head', /Sealed bytes do not decode: 7 bytes are too few/],
    tell: (stage) => putHead(stage, Buffer.from('garbage')),
  },
  {
    what: 'a head with one bit turned',
    said: ['bad-signature', 'head', /does not verify/],
    tell: async (stage) => {
      const bytes = Buffer.from(stage.sealer.seal('head', headOf()));
      bytes.writeUInt8((bytes.at(-2) ?? 0) ^ 1, bytes.length - 2);
      await putHead(stage, bytes);
    },
  },
  {
    what: 'a lease where the head belongs',
    said: ['malformed', 'head', /it is a lease/],
    tell: (stage) =>
      putHead(stage, stage.sealer.seal('lease', encodeLease({ cluster: east, epoch: 5, sequence: 1, at: 0 }))),
  },
  {
    what: 'a sealed head that does not decode',
    said: ['malformed', 'head', /A partition's head does not decode: at digest: /],
    tell: (stage) => putHead(stage, stage.sealer.seal('head', headOf({ digest: 'x' }))),
  },
  {
    what: 'a sealed head that is too large',
    said: ['malformed', 'head', /A partition's head of 5000 bytes is over the limit of 4096/],
    tell: (stage) => putHead(stage, stage.sealer.seal('head', Buffer.alloc(5000, 0x20))),
  },
  {
    what: 'a delta that does not lead to what was signed',
    said: ['digest-mismatch', 'log', /5\.6 applied to 5\.5/],
    tell: (stage) => putDelta(stage, stage.sealer.seal('delta', deltaOf({ digest: digestOf(good) }))),
  },
  {
    what: 'a delta of another cluster',
    said: ['foreign', 'log', /speaks for 'south'/],
    tell: (stage) => putDelta(stage, stage.sealer.seal('delta', deltaOf({ cluster: south }))),
  },
  {
    what: 'a delta of an epoch long gone',
    said: ['rollback', 'log', /4\.6 is of an epoch before 5/],
    tell: (stage) => putDelta(stage, stage.sealer.seal('delta', deltaOf({ epoch: 4 }))),
  },
  {
    what: 'a delta that says the same revision again, otherwise',
    said: ['equivocation', 'log', /5\.5 was signed twice/],
    tell: (stage) => putDelta(stage, stage.sealer.seal('delta', deltaOf({ previous: 4, revision: 5 }))),
  },
  {
    what: "another member's delta",
    said: ['foreign-signer', 'log', /signed by west/],
    tell: async (stage) => {
      const other = stage.site.seals.sealer(west);
      await stage.hub.writeChain(east, other.chainId, other.chain);
      await putDelta(stage, other.seal('delta', deltaOf()));
    },
  },
  {
    what: 'a delta that is no envelope',
    said: ['malformed', 'log', /Sealed bytes do not decode/],
    tell: (stage) => putDelta(stage, Buffer.from('garbage')),
  },
  {
    what: 'a sealed delta that does not decode',
    said: ['malformed', 'log', /A partition's delta does not decode: at ops: /],
    tell: (stage) =>
      putDelta(
        stage,
        stage.sealer.seal('delta', Buffer.from(Buffer.from(deltaOf()).toString().replace('"ops":[', '"ops":7,"x":['))),
      ),
  },
  {
    what: 'a lease that is no envelope',
    said: ['malformed', 'lease', /Sealed bytes do not decode/],
    tell: ({ hub }) => hub.writeLease(east, Buffer.from('garbage'), 60_000),
  },
  {
    what: 'a sealed lease that does not decode',
    said: ['malformed', 'lease', /A partition's lease does not decode: at sequence: /],
    tell: ({ hub, sealer }) =>
      hub.writeLease(east, sealer.seal('lease', encodeLease({ cluster: east, epoch: 5, sequence: -1, at: 0 })), 60_000),
  },
  {
    what: "another cluster's lease",
    said: ['foreign', 'lease', /speaks for 'south'/],
    tell: ({ hub, sealer }) =>
      hub.writeLease(east, sealer.seal('lease', encodeLease({ cluster: south, epoch: 5, sequence: 9, at: 0 })), 60_000),
  },
];

test(
  'a hub that lies: refused, counted and told with hub, cluster, key and rule, and nothing changes',
  limits,
  async (t) => {
    for (const { what, said, tell } of lies) {
      await t.test(what, async () => {
        await using site = await Site.on(createEmbeddedHub());
        const { hub } = site;
        const events: string[] = [];
        const reader = await site.reader(west, {
          onEvent: (cluster, kind, detail) => void events.push(`${kind} at ${cluster}: ${detail}`),
        });
        const sealer = site.seals.sealer(east);
        await forge(hub, sealer, { epoch: 5, revision: 5, values: good });
        await eventually(reader.partitions, (p) => readyAt(p) === 1);
        await tell({ site, hub, sealer });
        const [reason, key, rule] = said;
        const about = `${reason} at east: ${key} of east on hub memory: `;
        const told = (): boolean => events.some((event) => event.startsWith(about) && rule.test(event));
        await until(`${about}${String(rule)}, but\n${events.join('\n')}`, told);
        const view = reader.partitions.current.get(east);
        assert.deepEqual([readyAt(reader.partitions.current), view?.epoch, view?.revision], [1, 5, 5]);
        assert.ok(reader.refusals().some((each) => each.reason === reason && each.cluster === east && each.count > 0));
        const logged = site.warnings.map(({ fields }) => fields as Readonly<Record<string, unknown>>);
        assert.ok(
          logged.some((line) => line['hub'] === 'memory' && line['cluster'] === east && line['key'] === key),
          'the log names hub, cluster and key',
        );
      });
    }
  },
);

test(
  'records that do not decode: each is told with hub, cluster, key and rule; those beside them count',
  limits,
  async () => {
    await using site = await Site.on(createEmbeddedHub());
    const events: string[] = [];
    const reader = await site.reader(west, {
      onEvent: (cluster, kind, detail) => void events.push(`${kind} at ${cluster}: ${detail}`),
    });
    const sealer = site.seals.sealer(east);
    const healthy = encodeRecord(exportOf('shop/web'));
    await forge(site.hub, sealer, { epoch: 1, revision: 1, values: new Map([[web, healthy]]) });
    await eventually(reader.partitions, (p) => readyAt(p) === 1);
    const longKey = `export/shop/${'x'.repeat(300)}`;
    const poison: readonly (readonly [key: string, bytes: Uint8Array, rule: RegExp])[] = [
      [web, Buffer.from([0xff, 0xfe, 0x00]), /not valid.*utf-8/i],
      ['export/shop/big', Buffer.alloc(10 << 20, 0x20), /10485760 bytes are over the limit of 65536/],
      ['export/shop/odd', Buffer.from('{"v":1,"kind":"export"}'), /at service: /],
      ['export/shop/misfiled', healthy, /it belongs under 'export\/shop\/web'/],
      ['export/shop/text', Buffer.from('{'), /JSON/],
      [longKey, healthy, /a key of 312 characters is over 256/],
    ];
    const values = new Map<string, Uint8Array>([
      ...poison.map(([key, bytes]) => [key, bytes] as const),
      [db, encodeRecord(exportOf('shop/db'))],
      ['future/x', Buffer.from('{"v":1,"kind":"future"}')],
    ]);
    await forge(site.hub, sealer, { epoch: 1, revision: 2, values });
    const seen = await eventually(reader.partitions, (p) => readyAt(p, db) === 1);
    assert.deepEqual([...(seen.get(east)?.records.keys() ?? [])].toSorted(), [db, web]);
    assert.match(seen.get(east)?.problem ?? '', /^6 of 8 records do not decode; export\/\S+ of east on hub memory: /);
    for (const [key, , rule] of poison) {
      const about = `malformed at east: ${key.slice(0, 150)} of east on hub memory: `;
      assert.ok(
        events.some((event) => event.startsWith(about) && rule.test(event)),
        `${about}\n${events.join('\n')}`,
      );
    }
    assert.equal(events.filter((event) => event.startsWith('malformed')).length, poison.length, 'once each');
    assert.equal(reader.refusals().find(({ reason }) => reason === 'malformed')?.count, poison.length);
    await reader.close();
    const restarted = await site.reader(west);
    assert.equal(readyAt(restarted.partitions.current), 1, 'the last good version survives a restart');
  },
);
test('a foreign head in the own partition is overwritten', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  const { epoch } = publisher.status.current;
  await forge(site.hub, site.seals.forged(east), { epoch: epoch + 5, revision: 1, values: new Map() });
  await eventually(publisher.status, (status) => status.repairs > 0 && status.state === 'publishing');
  publisher.publish(keyed(withReady(2)), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  const [sealed = new Uint8Array()] = await site.hub.readHeads([east]);
  assert.equal(decodeHead(decodeSeal(sealed).payload).epoch, epoch);
});

test('a hub in which somebody keeps writing over the partition is not fought at full speed', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  let commits = 0;
  const hub = altered(site.hub, {
    async commit(this: Hub): Promise<CommitResult> {
      commits += 1;
      return { ok: false, head: Buffer.from(`foreign ${commits}`) };
    },
  });
  const publisher = await site.publisher(east, { hub, backoff: { initialMs: 20, maxMs: 200 } });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await until('it is fought', () => commits > 3);
  const before = commits;
  await delay(400);
  assert.ok(commits - before < 12, `${commits - before} commits`);
});

test('a hub that says yes and keeps nothing: noticed, and written again when it does', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  let lies = 0;
  const hub = altered(site.hub, {
    async commit(this: Hub, partition, commit): Promise<CommitResult> {
      if (lies >= 2) return site.hub.commit(partition, commit);
      lies += 1;
      return { ok: true };
    },
  });
  const reader = await site.reader(west);
  const publisher = await site.publisher(east, { hub });
  publisher.publish(keyed(withReady(7)), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 7, 20_000);
  assert.ok(publisher.status.current.repairs > 0);
});

test('a chain that the hub lost, while it kept the head, is written again', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  let lost = 0;
  const hub = altered(site.hub, {
    async writeChain(this: Hub, partition, chainId, chain): Promise<void> {
      lost += 1;
      // As when a flush comes between the chain and the head.
      if (lost > 1) await site.hub.writeChain(partition, chainId, chain);
    },
  });
  const publisher = await site.publisher(east, { hub });
  publisher.publish(keyed(withReady(7)), { synced: true });
  await eventually(publisher.status, ({ settled }) => settled, 20_000);
  const newcomer = await site.reader(west);
  await eventually(newcomer.partitions, (p) => readyAt(p) === 7 && p.get(east)?.problem === undefined, 20_000);
});

test('a lease told again is no sign of life, whoever tells it', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.seals.sealer(east);
  await forge(site.hub, sealer, { epoch: 5, revision: 5, values: good });
  const leases = [9, 8, 7].map((sequence) =>
    sealer.seal('lease', encodeLease({ cluster: east, epoch: 5, sequence, at: Date.now() })),
  );
  let looks = 0;
  const replayed = altered(site.hub, {
    // Another one each time, so that each is looked at; none is newer than the first.
    readLeases: async (partitions) => {
      looks += 1;
      return partitions.map((name) => (name === east ? leases[(looks - 1) % leases.length] : undefined));
    },
  });
  const liveness = { suspectMs: 300, deadMs: 600, recoverMs: 0 };
  const reader = await site.reader(west, { hub: replayed, pollMs: 20, liveness });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  const dead = await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'dead', 20_000);
  assert.equal(readyAt(dead), 1, 'its data stays');
});

test('a flood of false hints is not followed one by one', limits, async () => {
  await using site = await Site.on(createEmbeddedHub());
  let reads = 0;
  let shout: (hint: string) => void = () => undefined;
  const hub = altered(site.hub, {
    readSnapshot(this: Hub, partition) {
      reads += 1;
      return site.hub.readSnapshot(partition);
    },
    subscribe: (listener) => {
      shout = listener;
      return () => undefined;
    },
  });
  await site.reader(west, { hub, pollMs: 10_000 });
  await delay(20);
  reads = 0;
  const began = performance.now();
  for (let turn = 0; turn < 100; turn += 1) {
    shout(`east 99 ${turn}`);
    await delay(2);
  }
  // Each pause is twice the one before, and a hint may come while one is followed.
  const most = 4 + 2 * Math.log2((performance.now() - began) / 50);
  assert.ok(reads >= 1 && reads <= most, `${reads} reads, ${most} at most`);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { hubUser } from '../../src/federation/hub-acl.ts';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import type { PublisherStatus } from '../../src/federation/publisher-status.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { Watch } from '../../src/model/ports/watch.ts';
import type { ClusterRecord, RecordKey } from '../../src/model/record.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { encodeHead } from '../../src/wire/partition.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { east, eventually, exportOf, keyed, quietLog, south, west } from './support/federation.ts';
import { forge } from './support/forge.ts';
import { Site } from './support/site.ts';

type Partitions = ReadonlyMap<string, PartitionView>;

const timings = { maxReconnectMs: 50, commandTimeoutMs: 10_000 };

interface RedisSite extends AsyncDisposable {
  readonly redis: TestRedis;
  readonly admin: Redis;
  readonly site: Site;
  /** Signs in as a user of its own. */
  openAs(username: string, password: string): Hub;
}

async function redisSite(extra: readonly string[] = []): Promise<RedisSite> {
  const redis = await startRedis(extra);
  const admin = new Redis(redis.url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  admin.on('error', () => undefined);
  const hubs: Hub[] = [];
  const options = { url: redis.url, clock: systemClock, log: quietLog(), timings };
  const site = await Site.on(openRedisHub(options));
  return {
    redis,
    admin,
    site,
    openAs(username, password) {
      const hub = openRedisHub({ ...options, username, password });
      hubs.push(hub);
      return hub;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await site[Symbol.asyncDispose]();
      await Promise.all(hubs.map((hub) => hub.close()));
      admin.disconnect();
      await redis.stop();
    },
  };
}

function records(ready: number, count: number = 8): ReadonlyMap<RecordKey, ClusterRecord> {
  return keyed(
    ...Array.from({ length: count }, (_, index) => exportOf(`shop/s${index}`, { endpoints: { total: 9999, ready } })),
  );
}

function readyAt(partitions: Partitions, cluster: string = east): number | undefined {
  const record = partitions.get(cluster)?.records.get('export/shop/s0');
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

/** Every state of east that a reader shows from now on, when it is another one than before. */
function remember(partitions: Watch<Partitions>): (number | undefined)[] {
  const seen: (number | undefined)[] = [];
  let last = readyAt(partitions.current);
  partitions.subscribe((now) => {
    if (readyAt(now) !== last) seen.push(readyAt(now));
    last = readyAt(now);
  });
  return seen;
}

test('Redis out of memory: the writer says so and goes on later, readers keep what they have', async () => {
  await using here = await redisSite(['--maxmemory-policy', 'noeviction']);
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(records(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  const seen = remember(reader.partitions);
  await here.admin.config('SET', 'maxmemory', '1');
  publisher.publish(records(2), { synced: true });
  const full = await eventually(publisher.status, (status) => status.state === 'unreachable');
  assert.match(full.lastError ?? '', /OOM/);
  await delay(100);
  assert.equal(readyAt(reader.partitions.current), 1);
  await here.admin.config('SET', 'maxmemory', '0');
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  await eventually(publisher.status, (status) => status.settled && status.state === 'publishing');
  assert.deepEqual(seen, [2]);
});

test('Redis turned into a read-only replica, and back', async () => {
  await using here = await redisSite();
  await using other = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(records(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  const seen = remember(reader.partitions);
  await here.admin.call('REPLICAOF', '127.0.0.1', String(other.redis.port));
  publisher.publish(records(2), { synced: true });
  await eventually(publisher.status, (status) => status.state === 'unreachable');
  // The replica takes over the other's content, which is nothing.
  await delay(300);
  assert.equal(readyAt(reader.partitions.current), 1);
  await here.admin.call('REPLICAOF', 'NO', 'ONE');
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  await eventually(publisher.status, (status) => status.settled && status.state === 'publishing');
  assert.deepEqual(seen, [2]);
});

test('Redis killed and started from an old RDB file: nobody goes back, and the owner repairs it', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(records(1), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  await here.admin.save();
  publisher.publish(records(2), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  const seen = remember(reader.partitions);
  await here.redis.kill();
  await here.redis.restart();
  const isRepaired = ({ repairs, settled, state }: PublisherStatus): boolean =>
    repairs > 0 && settled && state === 'publishing';
  await eventually(publisher.status, isRepaired);
  const newcomer = await here.site.reader(south);
  await eventually(newcomer.partitions, (p) => readyAt(p) === 2);
  assert.deepEqual(seen, []);
});

test('a 10 MB record, a bad head, a huge lease and damaged keys of some clusters harm no other', async () => {
  await using here = await redisSite();
  const { admin, site } = here;
  const reader = await site.reader(west);
  const sealer = site.seals.sealer(south);
  const values = new Map([
    ['export/shop/s0', encodeRecord(exportOf('shop/s0', { endpoints: { total: 9999, ready: 5 } }))],
    ['export/shop/huge', Buffer.alloc(10 << 20, 0x20)],
  ]);
  // Signed by its owner, and still of no use.
  await forge(site.hub, sealer, { partition: south, cluster: south, epoch: 1, revision: 1, values });
  const publisher = await site.publisher(east);
  publisher.publish(records(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1 && readyAt(p, south) === 5);
  assert.match(
    reader.partitions.current.get(south)?.problem ?? '',
    /1 of 2 records do not decode; export\/shop\/huge of south on hub redis:.*: 10485760 bytes are over the limit/,
  );
  await admin.set('isthmus:{south}:head', Buffer.alloc(8 << 20));
  await admin.set('isthmus:{south}:lease', Buffer.alloc(8 << 20));
  await admin.del('isthmus:{south}:log', 'isthmus:{south}:records');
  await admin.lpush('isthmus:{south}:log', 'x');
  await admin.sadd('isthmus:{south}:records', 'x');
  publisher.publish(records(2), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  await delay(150);
  assert.equal(reader.hubStatus.current.connected, true);
  assert.equal(readyAt(reader.partitions.current, south), 5);
  assert.match(reader.partitions.current.get(south)?.problem ?? '', /holds nothing of south/);
  // Its owner can always put it right.
  const owner = await site.publisher(south);
  owner.publish(records(6, 2), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p, south) === 6);
});

test('a partition too large to be read is its own trouble: said with hub, cluster, key and rule', {
  timeout: 60_000,
}, async () => {
  await using here = await redisSite();
  const { admin, site } = here;
  const events: string[] = [];
  const reader = await site.reader(west, {
    onEvent: (cluster, kind, detail) => void events.push(`${kind} ${cluster} ${detail}`),
  });
  const publisher = await site.publisher(east);
  publisher.publish(records(1), { synced: true });
  const sealer = site.seals.sealer(south);
  const values = new Map([
    ['export/shop/s0', encodeRecord(exportOf('shop/s0', { endpoints: { total: 5, ready: 5 } }))],
  ]);
  await forge(site.hub, sealer, { partition: south, cluster: south, epoch: 1, revision: 1, values });
  await eventually(reader.partitions, (p) => readyAt(p) === 1 && readyAt(p, south) === 5);
  const key = 'isthmus:{south}:records';
  const large = Buffer.alloc(1 << 20, 0x20);
  const cases: readonly (readonly [what: string, fill: (field: number) => [string, Buffer], fields: number])[] = [
    ['bytes', (field) => [`export/shop/x${field}`, large], 100],
    ['fields', (field) => [`export/shop/x${field}`, Buffer.from('x')], 50_001],
  ];
  for (const [index, [what, fill, fields]] of cases.entries()) {
    await admin.unlink(key);
    const each = what === 'bytes' ? 1 : 1000;
    for (let field = 0; field < fields; field += each) {
      const some = Array.from({ length: Math.min(each, fields - field) }, (_, at) => fill(field + at));
      await admin.hset(key, ...some.flat());
    }
    const head = { cluster: south, epoch: 2 + index, revision: 1, count: 1, digest: 'ab'.repeat(32), schema: 1 };
    await admin.set('isthmus:{south}:head', Buffer.from(sealer.seal('head', encodeHead({ ...head, writtenAt: 0 }))));
    const told = new RegExp(`too-large south .*on hub redis:.*isthmus:\\{south\\}:records has more than \\d+ ${what}`);
    for (let turn = 0; turn < 2000 && !events.some((event) => told.test(event)); turn += 1) await delay(10);
    assert.ok(
      events.some((event) => told.test(event)),
      events.join('\n'),
    );
  }
  publisher.publish(records(2), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  assert.equal(readyAt(reader.partitions.current, south), 5, 'what was good stays');
  assert.equal(reader.hubStatus.current.connected, true);
});

test('two agents that both think they lead, on a real Redis: one stays, no reader loses anything', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const losses: string[] = [];
  reader.partitions.subscribe((p) => {
    const count = [...(p.get(east)?.records.values() ?? [])].filter(({ kind }) => kind === 'export').length;
    if (count !== 8) losses.push(`${p.get(east)?.epoch}.${p.get(east)?.revision}: ${count}`);
  });
  const sealer = here.site.sealerOf(east);
  const first = await here.site.publisher(east, { sealer });
  first.publish(records(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  const second = await here.site.publisher(east, { sealer, stateDir: await here.site.dir('other') });
  for (let ready = 2; ready < 60; ready += 1) {
    first.publish(records(ready), { synced: true });
    second.publish(records(ready), { synced: true });
    await delay(2);
  }
  await eventually(first.status, (status) => status.state === 'superseded');
  await eventually(reader.partitions, (p) => readyAt(p) === 59);
  assert.equal(second.status.current.state, 'publishing');
  assert.deepEqual(losses, []);
});

test('users as `hub acl` makes them: each writes its own partition, reads all, and is refused the rest', async () => {
  await using here = await redisSite();
  const { admin, site } = here;
  for (const partition of ['east', 'west', 'authority']) {
    const [, ...args] = hubUser({ prefix: 'isthmus', partition, password: `pw-${partition}` }).line.split(' ');
    await admin.call('ACL', ...args);
  }
  const [eastHub, westHub] = [here.openAs('isthmus-east', 'pw-east'), here.openAs('isthmus-west', 'pw-west')];
  const reader = await site.reader(west, { hub: westHub });
  const publisher = await site.publisher(east, { hub: eastHub });
  publisher.publish(records(1, 200), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1 && p.get(east)?.freshness === 'live');
  publisher.publish(records(2, 200), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  // A reader that fell behind takes the other ways of reading.
  await reader.close();
  await publisher.close();
  const restarted = await site.publisher(east, { hub: eastHub });
  restarted.publish(records(3, 200), { synced: true });
  await eventually(restarted.status, (status) => status.settled);
  const again = await site.reader(west, { hub: westHub });
  await eventually(again.partitions, (p) => readyAt(p) === 3);
  assert.deepEqual(again.refusals(), []);

  const head = (await site.hub.readHeads([east]))[0];
  const commit = { expectedHead: head, head: Buffer.from('x'), records: new Map(), snapshot: true, delta: undefined };
  for (const partition of ['east', 'authority']) {
    await assert.rejects(westHub.commit(partition, { ...commit, hint: 'east 1 1' }), { code: 'denied' });
    await assert.rejects(westHub.writeLease(partition, Buffer.from('x'), 1000), { code: 'denied' });
    await assert.rejects(westHub.writeChain(partition, 'x', Buffer.from('x')), { code: 'denied' });
  }
  assert.deepEqual((await site.hub.readHeads([east]))[0], head);
  const raw = new Redis(here.redis.url, { username: 'isthmus-west', password: 'pw-west' });
  try {
    const denied: readonly (readonly [string, ...string[]])[] = [
      ['SET', 'isthmus:{east}:head', 'x'],
      ['DEL', 'isthmus:{east}:records'],
      ['GET', 'something:else'],
      ['PUBLISH', 'another:channel', 'x'],
      ['FLUSHALL'],
      ['CONFIG', 'GET', '*'],
      ['KEYS', '*'],
      ['EVAL', `return redis.call('SET', 'isthmus:{east}:head', 'x')`, '0'],
      ['EVAL', `return redis.call('DEL', KEYS[1])`, '1', 'isthmus:{east}:head'],
    ];
    for (const [command, ...args] of denied) {
      await assert.rejects(
        raw.call(command, ...args),
        /NOPERM|ACL failure|can't (run|access)/,
        `${command} ${args.join(' ')}`,
      );
    }
  } finally {
    raw.disconnect();
  }
  assert.deepEqual((await site.hub.readHeads([east]))[0], head);
});

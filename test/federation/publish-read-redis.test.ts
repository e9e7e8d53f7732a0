import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import type { ClusterName } from '../../src/model/names.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { east, eventually, exportOf, keyed, quietLog, south, west } from './support/federation.ts';
import { Site } from './support/site.ts';

const web = 'export/shop/web';

interface RedisSite extends AsyncDisposable {
  readonly redis: TestRedis;
  readonly admin: Redis;
  readonly site: Site;
}

async function redisSite(): Promise<RedisSite> {
  const redis = await startRedis();
  const admin = new Redis(redis.url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  admin.on('error', () => undefined);
  const timings = { maxReconnectMs: 50, commandTimeoutMs: 300 };
  const site = await Site.on(openRedisHub({ url: redis.url, clock: systemClock, log: quietLog(), timings }));
  return {
    redis,
    admin,
    site,
    async [Symbol.asyncDispose](): Promise<void> {
      await site[Symbol.asyncDispose]();
      admin.disconnect();
      await redis.stop();
    },
  };
}

function readyAt(partitions: ReadonlyMap<ClusterName, PartitionView>): number | undefined {
  const record = partitions.get(east)?.records.get(web);
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

function withReady(ready: number): ReturnType<typeof keyed> {
  return keyed(exportOf('shop/web', { endpoints: { total: 10_000, ready } }), exportOf('shop/db'));
}

test('changes of one cluster are in the readers of the others by their hints alone', { timeout: 60_000 }, async () => {
  await using here = await redisSite();
  const readers = await Promise.all([west, south].map((name) => here.site.reader(name, { pollMs: 3_600_000 })));
  const publisher = await here.site.publisher(east);
  publisher.publish(withReady(0), { synced: true });
  for (const reader of readers) await eventually(reader.partitions, (p) => readyAt(p) === 0);
  for (let change = 1; change <= 200; change += 1) {
    publisher.publish(withReady(change), { synced: true });
    await Promise.all(readers.map((reader) => eventually(reader.partitions, (p) => readyAt(p) === change)));
  }
  assert.equal(readers.flatMap((reader) => reader.refusals()).length, 0);
});

test('a burst of changes is coalesced; the last one arrives', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  for (let change = 1; change <= 1000; change += 1) publisher.publish(withReady(change), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1000);
  assert.ok(publisher.status.current.revision < 20);
});

test('Redis killed and back empty: nothing is lost, its owner fills it again, changes flow', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(withReady(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  await here.redis.kill();
  publisher.publish(withReady(2), { synced: true });
  const down = await eventually(publisher.status, (status) => status.state === 'unreachable');
  assert.match(down.lastError ?? '', /^Cannot .* on hub redis:\/\/127\.0\.0\.1/);
  await eventually(reader.hubStatus, (status) => !status.connected);
  assert.equal(readyAt(reader.partitions.current), 1);
  await here.redis.restart();
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  await eventually(publisher.status, (status) => status.settled && status.state === 'publishing');
  // A newcomer finds everything, chain included.
  const newcomer = await here.site.reader(south);
  await eventually(newcomer.partitions, (p) => readyAt(p) === 2);
});

test('FLUSHALL without a change to publish: the owner notices and repairs', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(withReady(1), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  await here.admin.flushall();
  await eventually(publisher.status, (status) => status.repairs === 1);
  const newcomer = await here.site.reader(south);
  await eventually(newcomer.partitions, (p) => readyAt(p) === 1 && p.get(east)?.freshness === 'live');
  assert.equal(readyAt(reader.partitions.current), 1);
});

test('Redis replaced by an old state: nobody goes back, its owner repairs it', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(withReady(1), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  const keys = await here.admin.keys('*');
  const old = await Promise.all(keys.map(async (key) => [key, await here.admin.dumpBuffer(key)] as const));
  publisher.publish(withReady(2), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  const seen: (number | undefined)[] = [];
  reader.partitions.subscribe((p) => seen.push(readyAt(p)));
  await here.admin.flushall();
  for (const [key, value] of old) if (value) await here.admin.restore(key, 0, value, 'REPLACE');
  await eventually(publisher.status, (status) => status.repairs > 0);
  publisher.publish(withReady(3), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 3);
  assert.deepEqual(
    [...new Set(seen)].filter((ready) => ready !== 2),
    [3],
  );
});

test('Redis hangs: publisher and reader say so, and go on when it does', async () => {
  await using here = await redisSite();
  const reader = await here.site.reader(west);
  const publisher = await here.site.publisher(east);
  publisher.publish(withReady(1), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p) === 1);
  here.redis.pause();
  publisher.publish(withReady(2), { synced: true });
  await eventually(publisher.status, (status) => status.state === 'unreachable');
  await eventually(reader.hubStatus, (status) => !status.connected);
  await delay(200);
  assert.equal(readyAt(reader.partitions.current), 1);
  here.redis.resume();
  await eventually(reader.partitions, (p) => readyAt(p) === 2);
  await eventually(publisher.status, (status) => status.settled && status.state === 'publishing');
  assert.equal(publisher.status.current.state, 'publishing');
});

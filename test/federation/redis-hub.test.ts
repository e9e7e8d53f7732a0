import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { parseRedisUrl } from '../../src/federation/io/redis-hub/address.ts';
import { hubError } from '../../src/federation/io/redis-hub/errors.ts';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { hubContract } from '../contract/hub.contract.ts';
import { startRedis } from '../support/redis.ts';
import { quietLog } from './support/federation.ts';

const clock = systemClock;

hubContract('redis hub', async () => {
  const redis = await startRedis();
  const options = { url: redis.url, clock, log: quietLog() };
  const hub = openRedisHub(options);
  const other = openRedisHub(options);
  const admin = new Redis(redis.url);
  return {
    hub,
    other,
    clear: async () => void (await admin.flushall()),
    close: async () => {
      admin.disconnect();
      await Promise.all([hub.close(), other.close()]);
      await redis.stop();
    },
  };
});

const commit = {
  expectedHead: undefined,
  head: Buffer.from('h'),
  records: new Map([['a', Buffer.from('1')]]),
  snapshot: false,
  delta: Buffer.from('d'),
  hint: 'east 1 1',
};

test('openRedisHub: keys are those of the documented layout', async () => {
  const redis = await startRedis();
  const admin = new Redis(redis.url);
  const hub = openRedisHub({ url: redis.url, prefix: 'mesh', clock, log: quietLog() });
  try {
    await hub.commit('east', commit);
    await hub.writeLease('east', Buffer.from('l'), 5000);
    await hub.writeChain('east', 'abc', Buffer.from('c'));
    const keys = (await admin.keys('*')).toSorted();
    assert.deepEqual(
      keys,
      ['chain:abc', 'head', 'lease', 'log', 'records'].map((key) => `mesh:{east}:${key}`),
    );
    assert.ok((await admin.pttl('mesh:{east}:lease')) > 0);
  } finally {
    admin.disconnect();
    await hub.close();
    await redis.stop();
  }
});

test('openRedisHub: keys of a wrong type are damage that a snapshot repairs', async () => {
  const redis = await startRedis();
  const admin = new Redis(redis.url);
  const hub = openRedisHub({ url: redis.url, clock, log: quietLog() });
  try {
    await admin.lpush('isthmus:{east}:head', 'x');
    await admin.set('isthmus:{east}:records', 'x');
    await admin.set('isthmus:{east}:log', 'x');
    assert.deepEqual(await hub.readHeads(['east']), [undefined]);
    assert.deepEqual(await hub.readSnapshot('east'), { head: undefined, records: new Map(), lastId: undefined });
    assert.deepEqual(await hub.commit('east', commit), { ok: true });
    assert.equal((await hub.readSnapshot('east')).records.size, 1);
  } finally {
    admin.disconnect();
    await hub.close();
    await redis.stop();
  }
});

test('openRedisHub: a hub that is not there fails calls, and serves once it is', { timeout: 30_000 }, async () => {
  const redis = await startRedis();
  await redis.kill();
  const hub = openRedisHub({ url: redis.url, clock, log: quietLog(), timings: { maxReconnectMs: 50 } });
  try {
    await assert.rejects(hub.readHeads(['east']), { code: 'unavailable' });
    await redis.restart();
    for (let attempt = 0; attempt < 1000; attempt += 1) {
      const heads = await hub.readHeads(['east']).catch(() => undefined);
      if (heads) return;
      await delay(20);
    }
    assert.fail('the hub was never reached');
  } finally {
    await hub.close();
    await redis.stop();
  }
});

test('openRedisHub: a server that hangs is a timeout', async () => {
  const redis = await startRedis();
  const hub = openRedisHub({ url: redis.url, clock, log: quietLog(), timings: { commandTimeoutMs: 1000 } });
  try {
    await hub.readHeads(['east']);
    redis.pause();
    await assert.rejects(hub.readHeads(['east']), { code: 'timeout' });
    await assert.rejects(hub.commit('east', commit), (error: { code: string }) =>
      ['timeout', 'unavailable'].includes(error.code),
    );
  } finally {
    await hub.close();
    await redis.stop();
  }
});

test('openRedisHub: a restart is told to subscribers, who may have missed hints', async () => {
  const redis = await startRedis();
  const hub = openRedisHub({ url: redis.url, clock, log: quietLog(), timings: { maxReconnectMs: 50 } });
  try {
    const heard: string[] = [];
    hub.subscribe((hint) => heard.push(hint));
    for (let turn = 0; turn < 2000 && heard.length < 1; turn += 1) await delay(10);
    await redis.restart();
    for (let turn = 0; turn < 2000 && heard.length < 2; turn += 1) await delay(10);
    assert.deepEqual(heard, ['*', '*']);
    // Nobody else can say so.
    const admin = new Redis(redis.url);
    await admin.publish('isthmus:hints', '*');
    await admin.publish('isthmus:hints', 'east 1 1');
    admin.disconnect();
    for (let turn = 0; turn < 2000 && heard.length < 3; turn += 1) await delay(10);
    assert.deepEqual(heard, ['*', '*', 'east 1 1']);
  } finally {
    await hub.close();
    await redis.stop();
  }
});

test('openRedisHub: no secret in name, errors or logs', async () => {
  const redis = await startRedis(['--requirepass', 'right-secret']);
  const lines: { readonly fields: object; readonly message: string }[] = [];
  const log = quietLog(lines);
  const url = redis.url.replace('redis://', 'redis://:wrong-secret@');
  const denied = openRedisHub({ url, clock, log });
  const good = openRedisHub({ url: redis.url, password: 'right-secret', clock, log });
  try {
    assert.deepEqual(await good.readHeads(['east']), [undefined]);
    const error = await denied.commit('east', commit).then(
      () => assert.fail('was let in'),
      (thrown: unknown) => thrown,
    );
    const shown = inspect([denied.name, error, lines], { depth: 20, showHidden: true });
    assert.ok(!shown.includes('secret'), shown);
    assert.match(denied.name, /^redis:\/\/127\.0\.0\.1:\d+\/0$/);
  } finally {
    await Promise.all([good.close(), denied.close()]);
    await redis.stop();
  }
});

test('hubError: passes on what went wrong, never the command it went wrong with', () => {
  const thrown = Object.assign(new Error('WRONGPASS invalid username-password pair'), {
    command: { name: 'auth', args: ['east', 'secret'] },
  });
  const error = hubError('redis://h:1/0', 'read heads', thrown);
  assert.equal(error.code, 'denied');
  assert.match(error.message, /^Cannot read heads on hub redis:\/\/h:1\/0: WRONGPASS/);
  assert.ok(!inspect(error, { depth: 20, showHidden: true }).includes('secret'));
  assert.equal(hubError('h', 'x', error), error);
});

test('openRedisHub: a full Redis is exhausted, a missing permission denied', async () => {
  const redis = await startRedis(['--maxmemory', '1', '--maxmemory-policy', 'noeviction']);
  const admin = new Redis(redis.url);
  const hub = openRedisHub({ url: redis.url, clock, log: quietLog() });
  await admin.call('ACL', 'SETUSER', 'west', 'on', '>pw', '~isthmus:{west}:*', '&isthmus:hints', '+@all');
  const west = openRedisHub({ url: redis.url, username: 'west', password: 'pw', clock, log: quietLog() });
  try {
    await assert.rejects(hub.commit('east', commit), { code: 'exhausted' });
    await assert.rejects(hub.commit('east', { ...commit, snapshot: true }), { code: 'exhausted' });
    assert.equal(await admin.dbsize(), 0);
    await admin.config('SET', 'maxmemory', '0');
    await assert.rejects(west.commit('east', commit), { code: 'denied' });
    assert.deepEqual(await west.commit('west', commit), { ok: true });
  } finally {
    admin.disconnect();
    await Promise.all([hub.close(), west.close()]);
    await redis.stop();
  }
});

test('parseRedisUrl: takes hosts, ports, databases, credentials and IPv6; refuses the rest without showing it', () => {
  const plain = parseRedisUrl('redis://hub.example');
  assert.deepEqual([plain.host, plain.port, plain.db, plain.tls], ['hub.example', 6379, 0, false]);
  const full = parseRedisUrl('rediss://east:p%40ss@[::1]:7000/3');
  assert.deepEqual([full.host, full.port, full.db, full.tls], ['::1', 7000, 3, true]);
  assert.deepEqual([full.username, full.password, full.name], ['east', 'p@ss', 'rediss://[::1]:7000/3']);
  for (const bad of ['http://secret@x', 'redis://:secret@', 'secret', 'redis://:secret@x/y']) {
    assert.throws(
      () => parseRedisUrl(bad),
      (error: Error) => !error.message.includes('secret'),
      bad,
    );
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import type { HubFacts } from '../../src/federation/check/hub-facts.ts';
import { judgeHub } from '../../src/federation/check/judge-hub.ts';
import { hubUser } from '../../src/federation/hub-acl.ts';
import { inspectRedis } from '../../src/federation/io/redis-hub/inspect.ts';
import type { HubCheck } from '../../src/model/status.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { startRedis } from '../support/redis.ts';
import { quietLog } from './support/federation.ts';

const fit: HubFacts = {
  version: '7.2.4',
  user: 'isthmus-east',
  role: 'master',
  connectedReplicas: 1,
  masterLink: undefined,
  evictionPolicy: 'noeviction',
  maxMemory: 100e6,
  usedMemory: 10e6,
  appendOnly: true,
  savesSnapshots: false,
  lastSaveOk: true,
  latencyP50Ms: 0.2,
  latencyP99Ms: 1,
  skewMs: 3,
  permissions: { readOthers: 'ok', hints: 'ok', writeOwn: 'ok', writeForeign: 'NOPERM this user has no permissions' },
};

test('judgeHub: a fit hub passes every check; each fault fails or warns in its own, with what to do', () => {
  assert.deepEqual(
    judgeHub(fit, 'acl').filter(({ level }) => level !== 'ok'),
    [],
  );
  const may = fit.permissions;
  const cases: [Partial<HubFacts>, HubCheck['check'], HubCheck['level'], RegExp][] = [
    [{ version: '6.2.14' }, 'version', 'failed', /older than 7/],
    [{ version: 'unknown' }, 'version', 'failed', /unknown/],
    [{ role: 'slave' }, 'role', 'failed', /read-only replica/],
    [{ role: 'unknown' }, 'role', 'warning', /does not say/],
    [{ evictionPolicy: 'allkeys-lru' }, 'eviction', 'failed', /throws away/],
    [{ evictionPolicy: 'allkeys-lru', maxMemory: 0 }, 'eviction', 'warning', /without a memory limit/],
    [{ usedMemory: 95e6 }, 'memory', 'warning', /95 MB used of 100 MB/],
    [{ appendOnly: false }, 'persistence', 'warning', /nothing is saved/],
    [{ lastSaveOk: false }, 'persistence', 'failed', /last save/],
    [{ masterLink: 'down' }, 'replication', 'warning', /link to its master/],
    [{ latencyP99Ms: 80 }, 'latency', 'warning', /p99 80/],
    [{ skewMs: -3000 }, 'clock', 'warning', /3000 ms behind/],
    [{ skewMs: 120_000 }, 'clock', 'failed', /ahead/],
    [
      { permissions: { ...may, readOthers: 'NOPERM x' } },
      'permissions',
      'failed',
      /cannot read other partitions: NOPERM x/,
    ],
    [{ permissions: { ...may, hints: 'NOPERM x' } }, 'permissions', 'failed', /cannot publish hints/],
    [{ permissions: { ...may, writeOwn: 'NOPERM x' } }, 'permissions', 'failed', /cannot write its own/],
    [{ permissions: { ...may, writeForeign: 'ok' } }, 'permissions', 'warning', /may write the partitions of other/],
  ];
  for (const [change, check, level, detail] of cases) {
    const found = judgeHub({ ...fit, ...change }, 'isthmus hub acl east').filter((each) => each.level !== 'ok');
    assert.deepEqual(
      found.map((each) => [each.check, each.level]),
      [[check, level]],
      JSON.stringify(change),
    );
    assert.match(found[0]?.detail ?? '', detail);
    assert.ok(found[0]?.fix, `${check} says what to do`);
  }
});

test('inspectRedis: what a real server says, as the user of a cluster and as a replica', async () => {
  const redis = await startRedis(['--maxmemory', '50mb', '--appendonly', 'yes']);
  const other = await startRedis(['--replicaof', '127.0.0.1', String(redis.port)]);
  const admin = new Redis(redis.url);
  const options = { clock: systemClock, log: quietLog() };
  try {
    const [, ...args] = hubUser({ prefix: 'isthmus', partition: 'east', password: 'pw' }).line.split(' ');
    await admin.call('ACL', ...args);
    const asEast = { ...options, url: redis.url, username: 'isthmus-east', password: 'pw' };
    const facts = await inspectRedis(asEast, 'east');
    assert.equal(facts.user, 'isthmus-east');
    assert.equal(facts.role, 'master');
    assert.equal(facts.maxMemory, 50 << 20);
    assert.match(facts.version, /^[78]\./);
    assert.deepEqual([facts.evictionPolicy, facts.appendOnly], ['noeviction', true]);
    assert.ok(facts.latencyP99Ms >= facts.latencyP50Ms && Math.abs(facts.skewMs) < 1000);
    assert.deepEqual(
      [facts.permissions.readOthers, facts.permissions.writeOwn, facts.permissions.hints],
      ['ok', 'ok', 'ok'],
    );
    assert.match(facts.permissions.writeForeign, /^NOPERM/);
    assert.match((await inspectRedis(asEast, 'west')).permissions.writeOwn ?? '', /^NOPERM/);
    await admin.call('ACL', 'SETUSER', 'isthmus-east', '-hstrlen');
    assert.match(
      (await inspectRedis(asEast, 'east')).permissions.readOthers,
      /^NOPERM HSTRLEN: /,
      'a user made for older scripts',
    );
    await admin.call('ACL', 'SETUSER', 'isthmus-east', '+hstrlen');
    const replica = await inspectRedis({ ...options, url: other.url }, 'east');
    assert.equal(replica.role, 'slave');
    assert.match(replica.permissions.writeOwn ?? '', /READONLY/);
    assert.deepEqual(await admin.keys('*'), [], 'nothing is left behind');
    await assert.rejects(inspectRedis({ ...asEast, password: 'wrong' }, 'east'), { code: 'denied' });
    await redis.kill();
    await assert.rejects(inspectRedis(asEast, 'east'), { code: 'unavailable', message: /ECONNREFUSED/ });
  } finally {
    admin.disconnect();
    await Promise.all([redis.stop(), other.stop()]);
  }
});

test('hubUser: holds no password, keeps to the prefix, and has a place for a password that is not given', () => {
  const { user, line } = hubUser({ prefix: 'mesh', partition: 'east', password: 'secret' });
  assert.equal(user, 'mesh-east');
  assert.ok(!line.includes('secret'));
  assert.match(line, /^ACL SETUSER mesh-east reset on #[0-9a-f]{64} ~mesh:\{east\}:\* %R~mesh:\* &mesh:hints \+eval /);
  assert.ok(!/\+@|allkeys|allchannels|~\* |nopass/.test(line));
  assert.match(hubUser({ prefix: 'mesh', partition: 'east' }).line, / >PASSWORD /);
});

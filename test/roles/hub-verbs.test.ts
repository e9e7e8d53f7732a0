import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Redis } from 'ioredis';
import {
  type AgentStatus,
  adminPaths,
  type ClusterRow,
  type EventRow,
  type HubReport,
  type LeaveReport,
  type ServiceRow,
} from '../../src/model/status.ts';
import { each } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { Programs } from './support/programs.ts';

/** Authority and two clusters, each with a Redis user of its own, as `isthmus hub acl` makes them. */

let programs: Programs;
let dir = '';
let redis: TestRedis;
let admin: Redis;
let authorityPort = 0;
const clusters = ['east', 'west'] as const;
const services = Array.from({ length: 6 }, (_, index) => `shop/s${index}`);

function hubYaml(user: string): string {
  return `hub: { url: '${redis.url}', username: isthmus-${user}, passwordFile: ${user}.password }`;
}

async function writeAgent(cluster: string, grpcPort: number, exported: readonly string[]): Promise<void> {
  const list = exported.map((service) => `  - { service: ${service}, ports: [80], endpoints: ['127.0.0.1:9'] }\n`);
  await writeFile(
    join(dir, `${cluster}.yaml`),
    `role: agent
stateDir: ${cluster}
cluster: ${cluster}
join: { tokenFile: ${cluster}.token }
${hubYaml(cluster)}
listen: { grpc: '127.0.0.1:${grpcPort}', http: '127.0.0.1:0' }
timings: { lease: 300ms, suspect: 2s, dead: 6s, poll: 200ms }
services:${list.length === 0 ? ' []' : `\n${list.join('')}`}
`,
  );
}

const grpcPorts = new Map<string, number>();

async function left(cluster: string, ...args: string[]): Promise<LeaveReport> {
  return JSON.parse(
    await programs.ok('leave', '--yes', ...args, '--config', `${cluster}.yaml`, '-o', 'json'),
  ) as LeaveReport;
}

async function seenByWest(): Promise<number> {
  const rows = await programs.asked<ServiceRow[]>('west', adminPaths.services);
  return rows.filter((row) => row.clusters.includes('east')).length;
}

before(async () => {
  programs = await Programs.open();
  ({ dir } = programs);
  redis = await startRedis();
  admin = new Redis(redis.url, { retryStrategy: () => 100 });
  admin.on('error', () => undefined);
  authorityPort = await freePort();
  await each(['authority', ...clusters], async (user) => {
    await writeFile(join(dir, `${user}.password`), `pw-${user}\n`, { mode: 0o600 });
    const line = await programs.ok('hub', 'acl', user, '--password-file', `${user}.password`);
    assert.ok(!line.includes(`pw-${user}`));
    const [, ...args] = line.trim().split(' ');
    await admin.call('ACL', ...args);
  });
  await writeFile(
    join(dir, 'authority.yaml'),
    `role: authority\nstateDir: authority\nfederationDomain: mesh.example\nlisten: '127.0.0.1:${authorityPort}'\nadvertise: ['127.0.0.1:${authorityPort}']\n${hubYaml('authority')}\n`,
  );
  for (const cluster of clusters) {
    grpcPorts.set(cluster, await freePort());
    await writeAgent(cluster, grpcPorts.get(cluster) ?? 0, cluster === 'east' ? services : []);
  }
});

after(async () => {
  admin.disconnect();
  await programs[Symbol.asyncDispose]();
  await redis.stop();
});

suite('the verbs of the hub', () => {
  test('hub check: fit for each of them, and for nobody else’s partition', async () => {
    await each(['authority', ...clusters], async (user) => {
      const report = JSON.parse(await programs.ok('hub', 'check', '-f', `${user}.yaml`, '-o', 'json')) as HubReport;
      const permissions = report.checks.find(({ check }) => check === 'permissions');
      assert.equal(permissions?.level, 'ok', permissions?.detail);
    });
    const foreign = ['--username', 'isthmus-east', '--password-file', 'east.password', '--cluster', 'west'];
    const { status, stdout } = await programs.isthmus.run(['hub', 'check', '--url', redis.url, ...foreign]);
    assert.equal(status, 1);
    assert.match(stdout, /× permissions +user 'isthmus-east' cannot write its own partition: NOPERM/);
    assert.match(stdout, /→ Print what it needs with: isthmus hub acl west/);
    assert.deepEqual(await admin.keys('*'), [], 'the look left nothing behind');
  });

  test('with these users a federation comes about', async () => {
    await programs.ok('authority', 'init', '-f', 'authority.yaml');
    programs.start('authority', 'authority');
    await programs.isUp('authority');
    await each(clusters, async (cluster) => {
      await programs.ok('token', 'issue', cluster, '--config', 'authority.yaml', '--out', `${cluster}.token`);
      programs.start(cluster, 'agent');
    });
    for (const cluster of clusters) await programs.isUp(cluster);
    await programs.until('west sees them all', async () => (await seenByWest()) === services.length);
  });

  test('an emptied file deletes nothing until hub accept says that it is meant', async () => {
    await writeAgent('east', grpcPorts.get('east') ?? 0, []);
    programs.signal('east', 'SIGHUP');
    const held = async (): Promise<number> =>
      (await programs.asked<AgentStatus>('east', adminPaths.status)).publisher.heldBack ?? 0;
    await programs.until('it is held back', async () => (await held()) === services.length);
    assert.match(
      await programs.ok('status', '--config', 'east.yaml'),
      /6 exports would go at once.*isthmus hub accept/,
    );
    const events = await programs.asked<EventRow[]>('east', adminPaths.events);
    assert.ok(events.some(({ cluster, kind }) => cluster === 'east' && kind === 'held-back'));
    assert.equal(await seenByWest(), services.length);
    assert.match(await programs.ok('hub', 'accept', 'west', '--config', 'east.yaml'), /Nothing of west was held back/);
    assert.match(await programs.ok('hub', 'accept', 'east', '--config', 'east.yaml'), /Accepted: 6 exports of east go/);
    await programs.until('they are gone', async () => (await seenByWest()) === 0);
    assert.equal(await held(), 0);
  });

  test('leave: says good-bye, stops, and the others know', async () => {
    await writeAgent('east', grpcPorts.get('east') ?? 0, services);
    programs.signal('east', 'SIGHUP');
    await programs.until('they are back', async () => (await seenByWest()) === services.length);
    const unsure = await programs.isthmus.run(['leave', '--config', 'east.yaml']);
    assert.equal(unsure.status, 2);
    assert.match(unsure.stderr, /add --yes/);
    const report = await left('east', '--grace', '200ms');
    assert.deepEqual(report, { cluster: 'east', exports: services.length, told: true });
    assert.equal(await programs.ended('east'), 0);
    await programs.until('west knows', async () => (await seenByWest()) === 0);
    const row = (await programs.asked<ClusterRow[]>('west', adminPaths.clusters)).find(
      ({ cluster }) => cluster === 'east',
    );
    assert.deepEqual([row?.freshness, row?.services], ['dead', 0]);
    const events = await programs.asked<EventRow[]>('west', adminPaths.events);
    assert.ok(
      events.some(({ cluster, kind }) => cluster === 'east' && kind === 'left'),
      JSON.stringify(events),
    );
  });

  test('leave without a hub: refused and undone; --force leaves all the same', async () => {
    await redis.kill();
    const refused = await programs.isthmus.run(['leave', '--yes', '--grace', '100ms', '--config', 'west.yaml']);
    assert.equal(refused.status, 4, refused.stdout + refused.stderr);
    assert.match(refused.stderr, /Cannot leave: the other members cannot be told: Cannot .* hub redis:/);
    assert.match(refused.stderr, /→ --force leaves all the same/);
    assert.equal((await programs.asked<AgentStatus>('west', adminPaths.status)).cluster, 'west');
    const report = await left('west', '--grace', '100ms', '--force');
    assert.equal(report.told, false);
    assert.equal(await programs.ended('west'), 0);
  });
});

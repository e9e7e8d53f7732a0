import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { AgentStatus, ClusterRow, EventRow, HubReport, LeaveReport, ServiceRow } from '../../src/model/status.ts';
import { type Isthmus, isthmusIn } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

/** Authority and two clusters, each with a Redis user of its own, as `isthmus hub acl` makes them. */

let dir = '';
let redis: TestRedis;
let admin: Redis;
let authorityPort = 0;
const roles = new Map<string, ChildProcess>();
const logs = new Map<string, string>();
const isthmus: Isthmus = isthmusIn(() => dir);
const clusters = ['east', 'west'] as const;
const services = Array.from({ length: 6 }, (_, index) => `shop/s${index}`);

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await isthmus.run(args);
  assert.equal(status, 0, `isthmus ${args.join(' ')}\n${stdout}${stderr}${[...logs].join('\n')}`);
  return stdout;
}

async function asked<T>(cluster: string, ...args: string[]): Promise<T> {
  return JSON.parse(await ok(...args, '--config', `${cluster}.yaml`, '-o', 'json')) as T;
}

async function until(what: string, happens: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await happens())) {
    if (performance.now() > deadline) assert.fail(`${what}: not within ${timeoutMs} ms\n${[...logs].join('\n')}`);
    await delay(50);
  }
}

function start(name: string, role: string): ChildProcess {
  const child = isthmus.start([role, '-f', `${name}.yaml`]);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => logs.set(name, (text += chunk)));
  }
  roles.set(name, child);
  return child;
}

async function ended(name: string): Promise<number | null> {
  const child = roles.get(name);
  if (child && child.exitCode === null && child.signalCode === null) await once(child, 'close');
  roles.delete(name);
  return child?.exitCode ?? null;
}

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

async function seenByWest(): Promise<number> {
  const rows = await asked<ServiceRow[]>('west', 'services');
  return rows.filter((row) => row.clusters.includes('east')).length;
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-hub-'));
  redis = await startRedis();
  admin = new Redis(redis.url, { retryStrategy: () => 100 });
  admin.on('error', () => undefined);
  authorityPort = await freePort();
  for (const user of ['authority', ...clusters]) {
    await writeFile(join(dir, `${user}.password`), `pw-${user}\n`, { mode: 0o600 });
    const line = await ok('hub', 'acl', user, '--password-file', `${user}.password`);
    assert.ok(!line.includes(`pw-${user}`));
    const [, ...args] = line.trim().split(' ');
    await admin.call('ACL', ...args);
  }
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
  for (const child of roles.values()) child.kill('SIGKILL');
  await Promise.all([...roles.keys()].map(ended));
  admin.disconnect();
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});

suite('the verbs of the hub', () => {
  test('hub check: fit for each of them, and for nobody else’s partition', async () => {
    for (const user of ['authority', ...clusters]) {
      const report = JSON.parse(await ok('hub', 'check', '-f', `${user}.yaml`, '-o', 'json')) as HubReport;
      const permissions = report.checks.find(({ check }) => check === 'permissions');
      assert.equal(permissions?.level, 'ok', permissions?.detail);
    }
    const foreign = ['--username', 'isthmus-east', '--password-file', 'east.password', '--cluster', 'west'];
    const { status, stdout } = await isthmus.run(['hub', 'check', '--url', redis.url, ...foreign]);
    assert.equal(status, 1);
    assert.match(stdout, /× permissions +user 'isthmus-east' cannot write its own partition: NOPERM/);
    assert.match(stdout, /→ Print what it needs with: isthmus hub acl west/);
    assert.deepEqual(await admin.keys('*'), [], 'the look left nothing behind');
  });

  test('with these users a federation comes about', async () => {
    await ok('authority', 'init', '-f', 'authority.yaml');
    start('authority', 'authority');
    await ok('status', '--wait', '--timeout', '20s', '--config', 'authority.yaml');
    for (const cluster of clusters) {
      await ok('token', 'issue', cluster, '--config', 'authority.yaml', '--out', `${cluster}.token`);
      start(cluster, 'agent');
    }
    for (const cluster of clusters) await ok('status', '--wait', '--timeout', '20s', '--config', `${cluster}.yaml`);
    await until('west sees them all', async () => (await seenByWest()) === services.length);
  });

  test('an emptied file deletes nothing until hub accept says that it is meant', async () => {
    await writeAgent('east', grpcPorts.get('east') ?? 0, []);
    roles.get('east')?.kill('SIGHUP');
    const held = async (): Promise<number> => (await asked<AgentStatus>('east', 'status')).publisher.heldBack ?? 0;
    await until('it is held back', async () => (await held()) === services.length);
    assert.match(await ok('status', '--config', 'east.yaml'), /6 exports would go at once.*isthmus hub accept/);
    const events = await asked<EventRow[]>('east', 'events');
    assert.ok(events.some(({ cluster, kind }) => cluster === 'east' && kind === 'held-back'));
    assert.equal(await seenByWest(), services.length);
    assert.match(await ok('hub', 'accept', 'west', '--config', 'east.yaml'), /Nothing of west was held back/);
    assert.match(await ok('hub', 'accept', 'east', '--config', 'east.yaml'), /Accepted: 6 exports of east go/);
    await until('they are gone', async () => (await seenByWest()) === 0);
    assert.equal(await held(), 0);
  });

  test('leave: says good-bye, stops, and the others know', async () => {
    await writeAgent('east', grpcPorts.get('east') ?? 0, services);
    roles.get('east')?.kill('SIGHUP');
    await until('they are back', async () => (await seenByWest()) === services.length);
    const unsure = await isthmus.run(['leave', '--config', 'east.yaml']);
    assert.equal(unsure.status, 2);
    assert.match(unsure.stderr, /add --yes/);
    const report = await asked<LeaveReport>('east', 'leave', '--yes', '--grace', '200ms');
    assert.deepEqual(report, { cluster: 'east', exports: services.length, told: true });
    assert.equal(await ended('east'), 0);
    assert.equal(await seenByWest(), 0);
    const row = (await asked<ClusterRow[]>('west', 'clusters')).find(({ cluster }) => cluster === 'east');
    assert.deepEqual([row?.freshness, row?.services], ['dead', 0]);
    const events = await asked<EventRow[]>('west', 'events');
    assert.ok(
      events.some(({ cluster, kind }) => cluster === 'east' && kind === 'left'),
      JSON.stringify(events),
    );
  });

  test('leave without a hub: refused and undone; --force leaves all the same', async () => {
    await redis.kill();
    const refused = await isthmus.run(['leave', '--yes', '--grace', '100ms', '--config', 'west.yaml']);
    assert.equal(refused.status, 4, refused.stdout + refused.stderr);
    assert.match(refused.stderr, /Cannot leave: the other members cannot be told: Cannot .* hub redis:/);
    assert.match(refused.stderr, /→ --force leaves all the same/);
    assert.equal((await asked<AgentStatus>('west', 'status')).cluster, 'west');
    const report = await asked<LeaveReport>('west', 'leave', '--yes', '--grace', '100ms', '--force');
    assert.equal(report.told, false);
    assert.equal(await ended('west'), 0);
  });
});

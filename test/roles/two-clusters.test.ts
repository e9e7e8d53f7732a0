import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import type { LinkRow, ServiceDetail } from '../../src/model/status.ts';
import { type Isthmus, isthmusIn } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

/** The commands of deploy/examples/two-clusters/README.md, with its files, on free ports. */

const example = new URL('../../deploy/examples/two-clusters/', import.meta.url).pathname;
/** As in the files; each gets a free port instead. */
const documentedPorts = [
  6379, 8443, 15012, 7071, 15008, 15021, 15090, 16012, 7072, 16008, 16021, 16090, 8081, 8082, 20080, 21080,
];

let dir = '';
let redis: TestRedis;
const ports = new Map<number, number>();
const roles = new Map<string, ChildProcess>();
const logs = new Map<string, string>();
const instances = new Map<number, Server>();
const isthmus: Isthmus = isthmusIn(() => dir);

function portOf(documented: number): number {
  return ports.get(documented) ?? assert.fail(`no port for ${documented}`);
}

async function writeExample(): Promise<void> {
  await cp(example, dir, { recursive: true });
  for (const file of (await readdir(dir)).filter((name) => name.endsWith('.yaml'))) {
    let text = await readFile(join(dir, file), 'utf8');
    for (const [documented, port] of ports)
      text = text.replaceAll(new RegExp(`\\b${documented}\\b`, 'g'), String(port));
    // The example's times are for production; nobody wants to watch a test wait for them.
    text = text.replace(/hold: 30s/, 'hold: 200ms').replace(/returnOver: 60s/, 'returnOver: 300ms');
    await writeFile(join(dir, file), text);
  }
}

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await isthmus.run(args);
  assert.equal(status, 0, `isthmus ${args.join(' ')}\n${stdout}${stderr}${[...logs].join('\n')}`);
  return stdout;
}

function start(name: string, ...args: string[]): void {
  const child = isthmus.start(args);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => logs.set(name, (text += chunk)));
  }
  roles.set(name, child);
}

async function stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
  const child = roles.get(name);
  if (!child) return null;
  roles.delete(name);
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await once(child, 'close');
  }
  return child.exitCode;
}

async function runInstance(documented: number, cluster: string): Promise<void> {
  const server = createServer((_request, response) => response.end(`hello from ${cluster}\n`));
  await new Promise<void>((resolve) => server.listen(portOf(documented), '127.0.0.1', resolve));
  instances.set(documented, server);
}

async function killInstance(documented: number): Promise<void> {
  const server = instances.get(documented);
  instances.delete(documented);
  if (!server) return;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** One connection, one request: an answer, or why there was none. */
async function ask(documented: number): Promise<string> {
  try {
    const answer = await request(`http://127.0.0.1:${portOf(documented)}/`, { reset: true });
    return (await answer.body.text()).trim();
  } catch (error) {
    return `error ${(error as Error).message}`;
  }
}

async function until(what: string, happens: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await happens())) {
    if (performance.now() > deadline) assert.fail(`${what}: not within ${timeoutMs} ms\n${[...logs].join('\n')}`);
    await delay(50);
  }
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-two-'));
  redis = await startRedis();
  for (const documented of documentedPorts) ports.set(documented, documented === 6379 ? redis.port : await freePort());
  await writeExample();
  await runInstance(8081, 'east');
  await runInstance(8082, 'west');
});

after(async () => {
  await Promise.all([...roles.keys()].map((name) => stop(name, 'SIGKILL')));
  for (const documented of Array.from(instances.keys())) await killInstance(documented);
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});

suite('two clusters as separate processes with a real Redis', () => {
  test('come up by the commands of the example', async () => {
    await ok('authority', 'init', '-f', 'authority.yaml');
    start('authority', 'authority', '-f', 'authority.yaml');
    await ok('status', '--config', 'authority.yaml', '--wait');
    for (const cluster of ['east', 'west']) {
      await ok('token', 'issue', cluster, '--config', 'authority.yaml', '--out', `${cluster}.token`);
      // One of them by hand, as a careful operator would; the other joins at its first start.
      if (cluster === 'west') await ok('join', '-f', 'west-agent.yaml', '--token-file', 'west.token');
      start(`${cluster}-agent`, 'agent', '-f', `${cluster}-agent.yaml`);
      await ok('status', '--config', `${cluster}-agent.yaml`, '--wait');
      const token = ['--gateway', 'gateway-0', '--out', `${cluster}-gateway.token`];
      await ok('token', 'issue', ...token, '--config', `${cluster}-agent.yaml`);
      start(`${cluster}-gateway`, 'gateway', '-f', `${cluster}-gateway.yaml`);
    }
    await until('links are up', async () => {
      const rows = JSON.parse(await ok('links', '--config', 'west-agent.yaml', '-o', 'json')) as LinkRow[];
      return rows.some((row) => row.from === 'west' && row.to === 'east' && row.ready === true);
    });
    await until('west knows both exporters', async () => {
      const args = ['services', 'shop/web', '--config', 'west-agent.yaml', '-o', 'json'];
      const { status, stdout } = await isthmus.run(args);
      return status === 0 && (JSON.parse(stdout) as ServiceDetail).targets.length === 2;
    });
  });

  test('a client reaches its own cluster first', async () => {
    await until('west serves west', async () => (await ask(21080)) === 'hello from west');
    await until('east serves east', async () => (await ask(20080)) === 'hello from east');
    assert.match(await ok('explain', 'shop/web:80', '--config', 'west-agent.yaml'), /goes to west 100%/);
  });

  test('and the other cluster when its own instance is gone, without a failed connection', async () => {
    await killInstance(8082);
    const answers = new Set<string>();
    for (let i = 0; i < 50; i += 1) answers.add(await ask(21080));
    assert.deepEqual([...answers], ['hello from east']);
    await runInstance(8082, 'west');
    await until('traffic returns', async () => (await ask(21080)) === 'hello from west');
  });

  test('goes on with agents, authority and Redis all killed', async () => {
    await Promise.all(['authority', 'east-agent', 'west-agent'].map((name) => stop(name, 'SIGKILL')));
    await redis.kill();
    await killInstance(8082);
    for (let i = 0; i < 20; i += 1) assert.equal(await ask(21080), 'hello from east');
  });

  test('a gateway restarts from its state directory with its agent down', async () => {
    assert.equal(await stop('west-gateway'), 0);
    start('west-gateway', 'gateway', '-f', 'west-gateway.yaml');
    await until('the gateway serves again', async () => (await ask(21080)) === 'hello from east');
  });

  test('and agents come back, with an empty Redis, without losing a service', async () => {
    await redis.restart();
    for (const name of ['authority', 'east-agent', 'west-agent']) {
      const [role = ''] = name.split('-').slice(-1);
      start(name, role, '-f', `${name}.yaml`);
    }
    await ok('status', '--config', 'west-agent.yaml', '--wait');
    for (let i = 0; i < 20; i += 1) assert.equal(await ask(21080), 'hello from east');
    await runInstance(8082, 'west');
    await until('west serves west again', async () => (await ask(21080)) === 'hello from west');
  });

  test('every role ends with status 0 on SIGTERM', async () => {
    for (const name of Array.from(roles.keys())) assert.equal(await stop(name), 0, `${name}\n${logs.get(name)}`);
  });
});

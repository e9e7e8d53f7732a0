import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { request } from 'undici';
import type { LinkRow, ServiceDetail } from '../../src/model/status.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { Programs } from './support/programs.ts';

/** The commands of deploy/examples/two-clusters/README.md, with its files, on free ports. */

const example = new URL('../../deploy/examples/two-clusters/', import.meta.url).pathname;
/** As in the files; each gets a free port instead. */
const documentedPorts = [
  6379, 8443, 15012, 7071, 15008, 15021, 15090, 16012, 7072, 16008, 16021, 16090, 8081, 8082, 20080, 21080,
];

let programs: Programs;
let dir = '';
let redis: TestRedis;
const ports = new Map<number, number>();
const instances = new Map<number, Server>();

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

before(async () => {
  programs = await Programs.open();
  ({ dir } = programs);
  redis = await startRedis();
  for (const documented of documentedPorts) ports.set(documented, documented === 6379 ? redis.port : await freePort());
  await writeExample();
  await runInstance(8081, 'east');
  await runInstance(8082, 'west');
});

after(async () => {
  await programs[Symbol.asyncDispose]();
  for (const documented of Array.from(instances.keys())) await killInstance(documented);
  await redis.stop();
});

suite('two clusters as separate processes with a real Redis', () => {
  test('come up by the commands of the example', async () => {
    await programs.ok('authority', 'init', '-f', 'authority.yaml');
    programs.start('authority', 'authority');
    await programs.ok('status', '--config', 'authority.yaml', '--wait');
    for (const cluster of ['east', 'west']) {
      await programs.ok('token', 'issue', cluster, '--config', 'authority.yaml', '--out', `${cluster}.token`);
      // One of them by hand, as a careful operator would; the other joins at its first start.
      if (cluster === 'west') await programs.ok('join', '-f', 'west-agent.yaml', '--token-file', 'west.token');
      programs.start(`${cluster}-agent`, 'agent');
      await programs.ok('status', '--config', `${cluster}-agent.yaml`, '--wait');
      const token = ['--gateway', 'gateway-0', '--out', `${cluster}-gateway.token`];
      await programs.ok('token', 'issue', ...token, '--config', `${cluster}-agent.yaml`);
      programs.start(`${cluster}-gateway`, 'gateway');
    }
    await programs.until('links are up', async () => {
      const rows = JSON.parse(await programs.ok('links', '--config', 'west-agent.yaml', '-o', 'json')) as LinkRow[];
      return rows.some((row) => row.from === 'west' && row.to === 'east' && row.ready === true);
    });
    await programs.until('west knows both exporters', async () => {
      const args = ['services', 'shop/web', '--config', 'west-agent.yaml', '-o', 'json'];
      const { status, stdout } = await programs.isthmus.run(args);
      return status === 0 && (JSON.parse(stdout) as ServiceDetail).targets.length === 2;
    });
  });

  test('a client reaches its own cluster first', async () => {
    await programs.until('west serves west', async () => (await ask(21080)) === 'hello from west');
    await programs.until('east serves east', async () => (await ask(20080)) === 'hello from east');
    assert.match(await programs.ok('explain', 'shop/web:80', '--config', 'west-agent.yaml'), /goes to west 100%/);
  });

  test('and the other cluster when its own instance is gone, without a failed connection', async () => {
    await killInstance(8082);
    const answers = new Set<string>();
    for (let i = 0; i < 50; i += 1) answers.add(await ask(21080));
    assert.deepEqual([...answers], ['hello from east']);
    await runInstance(8082, 'west');
    await programs.until('traffic returns', async () => (await ask(21080)) === 'hello from west');
  });

  test('goes on with agents, authority and Redis all killed', async () => {
    await Promise.all(['authority', 'east-agent', 'west-agent'].map((name) => programs.stop(name, 'SIGKILL')));
    await redis.kill();
    await killInstance(8082);
    for (let i = 0; i < 20; i += 1) assert.equal(await ask(21080), 'hello from east');
  });

  test('a gateway restarts from its state directory with its agent down', async () => {
    assert.equal(await programs.stop('west-gateway'), 0);
    programs.start('west-gateway', 'gateway');
    await programs.until('the gateway serves again', async () => (await ask(21080)) === 'hello from east');
  });

  test('and agents come back, with an empty Redis, without losing a service', async () => {
    await redis.restart();
    for (const name of ['authority', 'east-agent', 'west-agent']) {
      const [role = ''] = name.split('-').slice(-1);
      programs.start(name, role);
    }
    await programs.ok('status', '--config', 'west-agent.yaml', '--wait');
    for (let i = 0; i < 20; i += 1) assert.equal(await ask(21080), 'hello from east');
    await runInstance(8082, 'west');
    await programs.until('west serves west again', async () => (await ask(21080)) === 'hello from west');
  });

  test('every role ends with status 0 on SIGTERM', async () => {
    for (const name of programs.names) assert.equal(await programs.stop(name), 0, `${name}\n${programs.logOf(name)}`);
  });
});

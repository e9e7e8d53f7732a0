import assert from 'node:assert/strict';
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { request } from 'undici';
import type { AgentStatus, DemoStatus, ServiceDetail } from '../../src/model/status.ts';
import type { ScenarioResult } from '../../src/roles/demo/scenario.ts';
import { isthmusIn } from '../cli/isthmus.ts';
import { startRedis } from '../support/redis.ts';

const run = promisify(execFile);

let dir = '';
let demo: ChildProcess | undefined;
let output = '';
const isthmus = isthmusIn(() => dir);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-demo-test-'));
});

afterEach(async () => {
  if (demo) await end('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

async function end(signal: NodeJS.Signals): Promise<number | null> {
  const child = demo;
  demo = undefined;
  if (!child) return null;
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await once(child, 'close');
  }
  return child.exitCode;
}

/** Starts a demo and waits until `pattern` is on its output. */
async function startDemo(pattern: RegExp, ...args: string[]): Promise<RegExpExecArray> {
  output = '';
  const child = isthmus.start(['demo', ...args]);
  demo = child;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const deadline = performance.now() + 60_000;
  for (;;) {
    const found = pattern.exec(output);
    if (found) return found;
    if (child.exitCode !== null || performance.now() > deadline) assert.fail(`no ${pattern}\n${output}`);
    await delay(50);
  }
}

async function json<T>(...args: string[]): Promise<T> {
  const { status, stdout, stderr } = await isthmus.run([...args, '-o', 'json']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as T;
}

/** What a demo leaves in its temporary folder; Node's compile cache is not the demo's. */
async function leftovers(): Promise<string[]> {
  return (await readdir(dir)).filter((name) => name !== 'node-compile-cache');
}

suite('isthmus demo --scenario failover --json', () => {
  test('kills and restores instances without a failed request, and ends with one JSON object', async () => {
    const began = performance.now();
    const { status, stdout, stderr } = await isthmus.run(['demo', '--scenario', 'failover', '--json']);
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.ok(performance.now() - began < 90_000, 'it ends by itself');
    const lines = stdout.trimEnd().split('\n');
    const { requests, failover, ...rest } = JSON.parse(lines.at(-1) ?? '') as ScenarioResult;
    assert.deepEqual(rest, { scenario: 'failover', clusters: 3, hub: 'memory', mtls: true });
    assert.equal(requests.failed, 0);
    assert.ok(requests.sent > 1000, `${requests.sent} sent`);
    assert.ok(requests.interrupted <= 32, `${requests.interrupted} interrupted`);
    assert.ok(failover.detectMs >= 0 && failover.detectMs <= failover.recoverMs && failover.recoverMs < 20_000);
    assert.deepEqual(await leftovers(), []);
  });
});

suite('isthmus demo', () => {
  test('carries a real Redis from east to a real client in west, over a hub in a real Redis', async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const args = ['--service', `shop/db=127.0.0.1:${redis.port}`, '--hub', redis.url];
    const [, port = ''] = await startDemo(/shop\/db: .* is 127\.0\.0\.1:(\d+) in west/, ...args);
    const cli = async (...words: string[]): Promise<string> =>
      (await run('redis-cli', ['-h', '127.0.0.1', '-p', port, ...words])).stdout.trim();
    assert.equal(await cli('SET', 'colour', 'blue'), 'OK');
    assert.equal(await cli('GET', 'colour'), 'blue');
    // Larger than every window on the way: back-pressure and all.
    const megabytes = 8;
    assert.equal(
      await cli('EVAL', `return #redis.call('SET','big',string.rep('x',${megabytes << 20}))['ok']`, '0'),
      '2',
    );
    const { stdout } = await run('redis-cli', ['-p', port, 'GET', 'big'], { maxBuffer: 32 << 20 });
    assert.equal(stdout.trim().length, megabytes << 20);
    assert.equal((await json<DemoStatus>('demo', 'status')).hub, 'redis');
    assert.equal(await end('SIGINT'), 0, output);
    assert.deepEqual(await leftovers(), []);
  });

  test('shows a failure and its repair, and Ctrl-C ends everything', async () => {
    const [, port = ''] = await startDemo(/curl http:\/\/127\.0\.0\.1:(\d+)\/ .*shop\/cart from west/);
    assert.match(
      await (await request(`http://127.0.0.1:${port}/`)).body.text(),
      /shop\/cart answers from (east|south)/,
    );
    const before = await json<ServiceDetail>('services', 'shop/web');
    assert.deepEqual(
      before.targets.map((target) => [target.cluster, target.share]),
      [
        ['west', 1],
        ['east', 0],
        ['south', 0],
      ],
    );
    assert.equal((await isthmus.run(['demo', 'fail', 'west'])).status, 0);
    await shares((west) => west === 0);
    assert.equal((await isthmus.run(['demo', 'restore', 'west'])).status, 0);
    await shares((west) => west === 1);
    assert.equal((await json<DemoStatus>('demo', 'status')).requests.failed, 0);
    const { status, stderr } = await isthmus.run(['demo', 'fail', 'north']);
    assert.equal(status, 1);
    assert.match(stderr, /no cluster 'north'/);
    assert.equal(await end('SIGINT'), 0, output);
    assert.match(output, /\d+ requests sent, 0 failed, \d+ interrupted/);
    assert.deepEqual(await leftovers(), []);
  });

  async function shares(happens: (west: number) => boolean): Promise<void> {
    const deadline = performance.now() + 45_000;
    for (;;) {
      const { targets } = await json<ServiceDetail>('services', 'shop/web');
      const west = targets.find((target) => target.cluster === 'west')?.share ?? 0;
      if (happens(west)) return;
      if (performance.now() > deadline) assert.fail(`west has share ${west}\n${output}`);
      await delay(100);
    }
  }

  test('a second demo beside the first gets a folder and ports of its own', async (t) => {
    await startDemo(/Three linked clusters are up/);
    const first = demo;
    t.after(() => {
      first?.kill('SIGKILL');
    });
    await startDemo(/--server \S+\/west\/agent\/admin\.sock/);
    assert.equal(await end('SIGTERM'), 0, output);
    demo = first;
    assert.equal((await json<DemoStatus>('demo', 'status')).requests.failed, 0);
    assert.equal(await end('SIGTERM'), 0, output);
    assert.deepEqual(await leftovers(), []);
  });

  test('the folder of a killed demo is taken over, and its private Redis ends with it', async () => {
    await startDemo(/Three linked clusters are up/, '--hub', 'auto');
    assert.equal((await json<DemoStatus>('demo', 'status')).hub, 'redis');
    const { hub } = await json<AgentStatus>('status');
    const [, port = ''] = /redis:\/\/127\.0\.0\.1:(\d+)/.exec(hub.name) ?? [];
    const ping = (): Promise<unknown> => run('redis-cli', ['-p', port, 'PING']);
    await ping();
    await end('SIGKILL');
    await assert.rejects(async () => {
      for (let i = 0; i < 100; i += 1, await delay(50)) await ping();
    }, /refused|reset/i);
    assert.equal((await isthmus.run(['demo', 'status'])).status, 4);
    await startDemo(/Three linked clusters are up/);
    assert.equal((await json<DemoStatus>('demo', 'status')).kind, 'demo');
    assert.equal(await end('SIGINT'), 0, output);
    assert.deepEqual(await leftovers(), []);
  });

  test('a hub that does not answer ends it with status 4 and says so', async () => {
    const { status, stderr } = await isthmus.run(['demo', '--hub', 'redis://127.0.0.1:1']);
    assert.equal(status, 4);
    assert.match(stderr, /hub redis:\/\/127\.0\.0\.1:1\/0 did not answer/);
    assert.deepEqual(await leftovers(), []);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readDocument } from '../../src/config/document.ts';
import { parseAgentConfig, type AgentConfig } from '../../src/config/agent.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { parseClusterName } from '../../src/model/names.ts';
import type { Log } from '../../src/model/ports/log.ts';
import { type AgentRole, startAgent } from '../../src/roles/agent.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { type Authority, initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';

/** A long-running role outlives whatever it depends on: not ready, one line, and `status` says what it waits for. */

let dir = '';
let lines: string[] = [];
let authority: Authority | undefined;
let agent: AgentRole | undefined;

const log: Log = {
  debug: () => undefined,
  info: (fields, message) => void lines.push(`info ${message} ${JSON.stringify(fields)}`),
  warn: (fields, message) => void lines.push(`warn ${message} ${JSON.stringify(fields)}`),
  error: (fields, message) => void lines.push(`error ${message} ${JSON.stringify(fields)}`),
  child: () => log,
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-unreachable-'));
  lines = [];
  const stateDir = join(dir, 'authority');
  const federationDomain = parseTrustDomain('mesh.example');
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 2 ** 12 } });
  authority = await openAuthority({ stateDir, listen: { host: '127.0.0.1', port: 0 }, clock, log });
  const { token } = await authority.issueToken({ cluster: parseClusterName('east') });
  await writeFile(join(dir, 'token'), token, { mode: 0o600 });
});

afterEach(async () => {
  await agent?.close();
  await authority?.close();
  await rm(dir, { recursive: true, force: true });
});

function config(hubPort: number): AgentConfig {
  const text = `
stateDir: state
cluster: east
join: { tokenFile: token }
hub: { url: 'redis://127.0.0.1:${hubPort}' }
listen: { grpc: 127.0.0.1:0, http: 127.0.0.1:0 }
advertise: ['127.0.0.1:1']
timings: { poll: 200ms }
`;
  const parsed = parseAgentConfig(readDocument('agent.yaml', text), (path) => join(dir, path));
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

async function until(what: string, happens: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!happens()) {
    if (performance.now() > deadline)
      assert.fail(`${what}\n${JSON.stringify(agent?.api.status())}\n${lines.join('\n')}`);
    await delay(20);
  }
}

const waiting = (): string => agent?.api.status().waitingFor.join('; ') ?? '';

suite('an agent', () => {
  test('whose hub is away is not ready, says so once, and recovers', async () => {
    const redis = await startRedis();
    await redis.kill();
    try {
      agent = await startAgent(config(redis.port), { clock, log });
      await agent.running;
      await until('waits for the hub', () => /the hub redis:.*not connected|the hub redis:.*refused/.test(waiting()));
      await delay(2500);
      assert.equal(agent.api.status().hub.connected, false);
      const told = lines.filter((line) => line.startsWith('warn hub does not answer'));
      assert.equal(told.length, 1, lines.join('\n'));
      await redis.restart();
      await until('is ready', () => waiting() === '');
      assert.equal(agent.api.status().hub.connected, true);
    } finally {
      await redis.stop();
    }
  });

  test('whose authority is away at its first start waits for an identity and joins when it is there', async () => {
    const port = authority?.port ?? 0;
    await authority?.close();
    agent = await startAgent(config(await freePort()), { clock, log });
    await until('waits for an identity', () => /an identity: .*(refused|failed|ECONNREFUSED)/.test(waiting()));
    const told = lines.filter((line) => line.startsWith('warn cannot join yet'));
    assert.equal(told.length, 1, lines.join('\n'));
    authority = await openAuthority({
      stateDir: join(dir, 'authority'),
      listen: { host: '127.0.0.1', port },
      clock,
      log,
    });
    await agent.running;
    assert.equal(agent.api.status().federationDomain, 'mesh.example');
  });

  test('whose authority goes away is ready all the same, with a warning', async () => {
    const redis = await startRedis();
    try {
      agent = await startAgent(config(redis.port), { clock, log });
      await agent.running;
      await until('is ready', () => waiting() === '');
      await authority?.close();
      authority = undefined;
      await until(
        'warns',
        () => agent?.api.status().warnings.some((w) => /authority is not reachable/.test(w)) ?? false,
      );
      assert.equal(waiting(), '');
    } finally {
      await agent?.close();
      agent = undefined;
      await redis.stop();
    }
  });
});

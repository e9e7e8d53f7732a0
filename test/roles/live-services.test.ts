import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { loadConfig } from '../../src/config/io/load.ts';
import { createStaticSource, type StaticSource } from '../../src/federation/io/static-source.ts';
import { listedServices, LiveServices } from '../../src/roles/agent/live-services.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { eventually, quietLog } from '../federation/support/federation.ts';

suite('services of an agent', () => {
  let dir: string;
  let source: StaticSource;
  let live: LiveServices;
  const told: { readonly fields: object; readonly message: string }[] = [];

  const agentFile = (services: string, more = ''): Promise<void> =>
    writeFile(
      join(dir, 'agent.yaml'),
      `stateDir: state\ncluster: east\nhub: { url: redis://127.0.0.1:6379 }\nadvertise: ['10.0.0.1:15012']\n${more}services: ${services}\n`,
    );
  const servicesFile = (text: string): Promise<void> => writeFile(join(dir, 'services.yaml'), text);
  const names = (): readonly string[] => [...source.current.services.keys()];

  async function start(): Promise<void> {
    const config = await loadConfig('agent', join(dir, 'agent.yaml'));
    source = createStaticSource({ ...(await listedServices(config)), clock, log: quietLog() });
    live = new LiveServices({ config, source, clock, log: quietLog(told) });
    live.start();
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'isthmus-live-'));
    told.length = 0;
  });

  afterEach(async () => {
    await live.close();
    await source.close();
    await rm(dir, { recursive: true });
  });

  test('are followed as their file changes; a file that is not right changes nothing and is told once', async () => {
    await agentFile('[{ service: shop/web, ports: [80] }]');
    await start();
    await agentFile('[{ service: shop/web, ports: [80] }, { service: shop/db, ports: [5432] }]');
    await eventually(source, () => names().length === 2);
    await agentFile('[{ service: shop/web, ports: [0] }]');
    await live.reload();
    await live.reload();
    assert.deepEqual(names(), ['shop/db', 'shop/web']);
    assert.match(live.problem ?? '', /agent\.yaml:5: services\[0\]\.ports\[0\].*1 to 65535[^]*read before/);
    assert.equal(told.length, 1);
    await agentFile('[{ service: shop/db, ports: [5432] }]');
    await eventually(source, () => names().length === 1);
    assert.equal(live.problem, undefined);
  });

  test('may stand in a file of their own, with checks of their own', async () => {
    await servicesFile(
      'healthCheck: { interval: 50ms }\nservices: [{ service: vm/one, ports: [80], healthCheck: { http: { path: /up } } }]\n',
    );
    await agentFile('[{ service: shop/web, ports: [80] }]', 'servicesFile: services.yaml\n');
    await start();
    assert.deepEqual(names(), ['shop/web', 'vm/one']);
    const config = await loadConfig('agent', join(dir, 'agent.yaml'));
    assert.deepEqual((await listedServices(config)).services[1]?.healthCheck, {
      intervalMs: 50,
      http: { path: '/up', expect: [{ from: 200, to: 399 }] },
    });
    await servicesFile('services: [{ service: vm/two, ports: [80] }]\n');
    await eventually(source, () => names().includes('vm/two'));
    assert.deepEqual(names(), ['shop/web', 'vm/two']);
    await rm(join(dir, 'services.yaml'));
    await live.reload();
    assert.match(live.problem ?? '', /services\.yaml: there is no such file/);
    await servicesFile('services: [{ service: shop/web, ports: [80] }]\n');
    await live.reload();
    assert.match(live.problem ?? '', /services\.yaml: service shop\/web is in the agent's own file already/);
    assert.deepEqual(names(), ['shop/web', 'vm/two']);
  });

  test('a change of anything else is told to need a restart', async () => {
    await agentFile('[]');
    await start();
    await agentFile('[{ service: shop/web, ports: [80] }]', 'timings: { lease: 1s }\n');
    await eventually(source, () => names().length === 1);
    await live.reload();
    assert.match(live.problem ?? '', /agent\.yaml: timings: changed since the start: restart/);
    await agentFile('[]');
    await live.reload();
    assert.equal(live.problem, undefined);
  });
});

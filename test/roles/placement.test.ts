import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { request } from 'undici';
import type { AccessLogEntry } from '../../src/gateway/access-log.ts';
import { parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { Explanation } from '../../src/model/status.ts';
import { web, west } from '../../src/roles/demo/federation.ts';
import { exchange, readToEnd } from '../gateway/support/client.ts';
import { type Backend, greet, startBackend } from '../support/backend.ts';
import { type AddedGateway, policy, RunningFederation, until } from './support/running-federation.ts';

/** Placement is kept while every cluster that may serve is down: what clients and the access log are told. */

const timeout = 60_000;
const south = parseClusterName('south');
const db = parseServiceKey('shop/db');

suite('placement while every allowed cluster is down', () => {
  let database: Backend;
  let running: RunningFederation;
  /** West's second gateway, whose access log is kept. */
  let gateway: AddedGateway;

  before(
    async () => {
      database = await startBackend(greet('here'));
      running = await RunningFederation.start([{ service: 'shop/db', host: '127.0.0.1', port: database.port }]);
      gateway = await running.addGateway(west, 'gateway-1', '127.0.0.2');
    },
    { timeout },
  );

  after(async () => {
    await running?.close();
    await database?.close();
  });

  const portOf = (service: typeof web, port: number): number => running.importPort(west, service, port);

  async function getWeb(): Promise<{ readonly status: number; readonly text: string; readonly by: unknown }> {
    const { statusCode, headers, body } = await request(`http://${gateway.host}:${portOf(web, 80)}/`, { reset: true });
    return { status: statusCode, text: await body.text(), by: headers['x-served-by'] };
  }

  /** The entry of what was asked last. */
  async function logged(): Promise<AccessLogEntry> {
    await until(
      'an entry',
      () => gateway.accessLog.length,
      (count) => count > 0,
    );
    const entry = gateway.accessLog.splice(0).at(-1);
    assert.ok(entry);
    return entry;
  }

  test('HTTP: 503 and UF, again and again, then the allowed cluster once it is back', { timeout }, async () => {
    const [instance] = running.demo.cluster(south).workloads.filter(({ service }) => service === web);
    assert.ok(instance);
    await running.apply(west, policy('FederationPolicy', 'default', { placement: { require: { region: 'us' } } }));
    try {
      await until('south serves', getWeb, ({ by }) => by === 'south');
      instance.kill();
      await until('nobody serves', getWeb, ({ status }) => status === 503);
      gateway.accessLog.length = 0;
      for (let attempt = 0; attempt < 10; attempt += 1) {
        const { status, text } = await getWeb();
        assert.equal(status, 503);
        assert.ok(text.length > 0 && text.length < 200 && !/south|127\.0\.0\./.test(text), text);
        // The allowed cluster is asked each time, so that it serves again at once; no other one is.
        const { response_code, response_flags, destination_cluster } = await logged();
        assert.deepEqual([response_code, destination_cluster], [503, null]);
        assert.match(response_flags, /^(UF|URX)$/, 'once, or several times when its gateways were tried in turn');
      }
      const explained = await running.ask(west, (client) => client.get<Explanation>('/v1/explain?to=shop/web:80'));
      const steps = explained.steps.map(({ title, detail }) => `${title}: ${detail}`).join('\n');
      assert.match(steps, /candidate east: kept out: placement requires region=us/);
      await instance.start();
      await until('served by whom it may be', getWeb, ({ by }) => by === 'south');
    } finally {
      await instance.start();
      await running.remove(west, 'FederationPolicy/-/default');
    }
  });

  test('HTTP: 503 and UH while no cluster at all may serve', { timeout }, async () => {
    await running.apply(west, policy('TrafficPolicy', 'web', { placement: { require: { region: 'nowhere' } } }));
    try {
      await until('nobody may serve', getWeb, ({ status }) => status === 503);
      gateway.accessLog.length = 0;
      assert.equal((await getWeb()).status, 503);
      const { response_code, response_flags, destination_cluster } = await logged();
      assert.deepEqual([response_code, response_flags, destination_cluster], [503, 'UH', null]);
    } finally {
      await running.remove(west, 'TrafficPolicy/shop/web');
    }
  });

  test('TCP: reset before a byte, and UH', { timeout }, async () => {
    const ask = () => exchange(portOf(db, database.port), 'x');
    assert.deepEqual(await ask(), { received: Buffer.from('here\n'), end: 'eof' });
    await running.apply(west, policy('TrafficPolicy', 'db', { placement: { require: { region: 'us' } } }));
    try {
      await until('nobody may serve', ask, ({ end }) => end === 'reset');
      gateway.accessLog.length = 0;
      const there = connect({ port: portOf(db, database.port), host: gateway.host, allowHalfOpen: true });
      const { received, end } = await readToEnd(there.end('x'));
      assert.deepEqual([received.length, end], [0, 'reset']);
      const { response_flags, destination_service, destination_cluster } = await logged();
      assert.deepEqual([response_flags, destination_service, destination_cluster], ['UH', 'shop/db', null]);
    } finally {
      await running.remove(west, 'TrafficPolicy/shop/db');
    }
    await until('served again', ask, ({ end }) => end === 'eof');
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectH2, constants } from 'node:http2';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import type { Gateway } from '../../src/gateway/io/gateway.ts';
import { parseServiceKey } from '../../src/model/names.ts';
import { type DrainRow, policyPaths } from '../../src/model/policy-report.ts';
import { cart, east, web, west } from '../../src/roles/demo/federation.ts';
import { Traffic } from '../../src/roles/demo/traffic.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { exchange } from '../gateway/support/client.ts';
import { type Backend, greet, startBackend } from '../support/backend.ts';
import { type AddedGateway, RunningFederation, until } from './support/running-federation.ts';

/** Operators take gateways out of use by the command line: three clusters, two gateways in east, real traffic. */

const timeout = 60_000;
const db = parseServiceKey('shop/db');

async function readiness({ healthPort }: Gateway): Promise<string> {
  const url = `http://127.0.0.1:${healthPort}/healthz/ready`;
  const { statusCode, body } = await request(url, { reset: true });
  return `${statusCode} ${(await body.text()).trim()}`;
}

/** What a gateway carries to endpoints of its own cluster: connections since its start, and those that are open. */
function carried(gateway: Gateway): { readonly made: number; readonly open: number } {
  const { services } = gateway.report();
  const targets = services.flatMap((service) => service.targets.filter(({ cluster }) => cluster === east));
  return {
    made: targets.reduce((sum, { connections }) => sum + connections, 0),
    open: targets.reduce((sum, { active }) => sum + active, 0),
  };
}

/** TCP connections, one after the other in four lanes; each must be answered to its end. */
function connectAgain(port: number): { readonly failures: ReadonlySet<string>; stop(): Promise<void> } {
  const failures = new Set<string>();
  let going = true;
  const lane = async (): Promise<void> => {
    while (going) {
      const { received, end } = await exchange(port);
      if (end !== 'eof' || received.toString() !== 'here\n') failures.add(`${end} after '${received.toString()}'`);
      await delay(2);
    }
  };
  const lanes = Promise.all(Array.from({ length: 4 }, lane));
  return {
    failures,
    stop: async () => {
      going = false;
      await lanes;
    },
  };
}

suite('drain of a gateway, by the command line', () => {
  let database: Backend;
  let running: RunningFederation;
  let first: Gateway;
  let second: AddedGateway;

  before(
    async () => {
      database = await startBackend(greet('here'));
      running = await RunningFederation.start([{ service: 'shop/db', host: '127.0.0.1', port: database.port }]);
      first = running.demo.cluster(east).gateway.gateway;
      second = await running.addGateway(east, 'gateway-1', '127.0.0.2');
      await until(
        'west has a link to both',
        () => running.demo.cluster(west).gateway.gateway.report().links,
        (links) => links.filter(({ cluster, up }) => cluster === east && up).length === 2,
      );
    },
    { timeout },
  );

  after(async () => {
    await running?.close();
    await database?.close();
  });

  test('it is not ready, traffic goes through the other one, and comes back: no failed request', {
    timeout,
  }, async () => {
    const http = new Traffic({
      from: west,
      service: cart,
      port: running.importPort(west, cart),
      concurrency: 4,
      thinkMs: 5,
      requestsPerConnection: 10,
      clock: systemClock,
    });
    const other = second.role.gateway;
    const tcp = connectAgain(running.importPort(west, db, database.port));
    http.start();
    try {
      await until(
        'load on both',
        () => [carried(first).made, carried(other).made],
        (both) => Math.min(...both) > 20,
      );
      const preview = await running.run(west, 'drain', 'east/gateway-0');
      assert.equal(preview.status, 0, preview.stderr);
      assert.match(preview.stdout, /east\/gateway-0 +Drained[^]*Preview: nothing was changed/);
      assert.doesNotMatch(preview.stdout, /Warning/);
      assert.equal(await readiness(first), '200 ok');

      const drained = await running.run(west, 'drain', 'east/gateway-0', '--yes');
      assert.equal(drained.status, 0, drained.stderr);
      assert.match(drained.stderr, /Undo with:\nisthmus undrain east\/gateway-0 --yes/);
      await until(
        'not ready',
        () => readiness(first),
        (text) => text === '503 an operator: drained',
      );
      assert.equal(await readiness(other), '200 ok');
      await until(
        'everything through the other one',
        async () => {
          const { made } = carried(first);
          const before = carried(other).made;
          await until(
            'load goes on',
            () => carried(other).made,
            (now) => now > before + 20,
          );
          return { more: carried(first).made - made, open: carried(first).open };
        },
        ({ more, open }) => more === 0 && open === 0,
      );
      const [row] = await running.ask(east, (client) => client.get<DrainRow[]>(policyPaths.drains));
      assert.deepEqual([row?.target, row?.state, row?.publisher], ['east/gateway-0', 'Drained', 'west']);

      const undrained = await running.run(west, 'undrain', 'east/gateway-0', '--yes');
      assert.equal(undrained.status, 0, undrained.stderr);
      await until(
        'ready again',
        () => readiness(first),
        (text) => text === '200 ok',
      );
      const then = carried(first).made;
      await until(
        'traffic is back',
        () => carried(first).made,
        (now) => now > then + 20,
      );
    } finally {
      await Promise.all([http.stop(), tcp.stop()]);
    }
    const { sent, failed, interrupted } = http.counts;
    assert.ok(sent > 100, `${sent} sent`);
    assert.deepEqual([failed, interrupted, http.errors], [0, 0, []]);
    assert.deepEqual([...tcp.failures], []);
  });

  test('its own clients are told by connection: close, and served till then', { timeout }, async () => {
    const ask = async (): Promise<string | undefined> => {
      const { statusCode, headers, body } = await request(`http://127.0.0.1:${running.importPort(east, web)}/`);
      await body.dump();
      assert.equal(statusCode, 200);
      return headers['connection']?.toString();
    };
    assert.notEqual(await ask(), 'close');
    assert.equal((await running.run(east, 'drain', 'east/gateway-0', '--yes')).status, 0);
    await until('told to go', ask, (connection) => connection === 'close');
    assert.equal((await running.run(east, 'undrain', 'east/gateway-0', '--yes')).status, 0);
    await until('kept again', ask, (connection) => connection !== 'close');
  });

  test('its HTTP/2 clients are told by GOAWAY, and a stream in progress ends well', { timeout }, async () => {
    const session = connectH2(`http://127.0.0.1:${running.importPort(east, web)}`);
    try {
      const first = session.request({ ':path': '/' }).setEncoding('utf8');
      assert.match((await first.toArray()).join(''), /answers from east/);
      const body = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false });
      await until(
        'the stream to be open',
        () => body.id,
        (id) => id !== undefined,
      );
      const told = once(session, 'goaway');
      assert.equal((await running.run(east, 'drain', 'east/gateway-0', '--yes')).status, 0);
      assert.equal((await told)[0], constants.NGHTTP2_NO_ERROR);
      body.setEncoding('utf8').end('late');
      assert.match((await body.toArray()).join(''), /answers from east/);
      await until(
        'the connection to end',
        () => session.closed,
        (closed) => closed,
      );
    } finally {
      session.destroy();
      assert.equal((await running.run(east, 'undrain', 'east/gateway-0', '--yes')).status, 0);
    }
  });

  test('the last gateway of a cluster, and the last cluster of a service, come with a warning', {
    timeout,
  }, async () => {
    const warnings = async (...args: readonly string[]): Promise<string[]> => {
      const { status, stdout, stderr } = await running.run(west, 'drain', ...args);
      assert.equal(status, 0, stderr);
      return stdout.split('\n').filter((line) => line.startsWith('Warning: '));
    };
    const lastOfDb = 'Warning: east is the last cluster in use that serves shop/db to clients in west';
    assert.deepEqual(await warnings('east/gateway-1'), []);
    assert.deepEqual(await warnings('east'), [lastOfDb]);
    assert.deepEqual(await warnings('south'), []);
    await warnings('east/gateway-0', '--yes');
    const alone = 'is the last gateway of east in use: other clusters no longer reach what east serves';
    await until(
      'known',
      () => warnings('east/gateway-1'),
      (lines) => lines.length > 0,
    );
    assert.deepEqual(await warnings('east/gateway-1'), [`Warning: east/gateway-1 ${alone}`, lastOfDb]);
    const own = await running.run(east, 'drain', 'east/gateway-1');
    assert.match(
      own.stdout,
      /Warning: east\/gateway-1 is the last .* and clients in east have no gateway that is ready/,
    );
    const { stdout } = await running.run(west, 'drain', 'east', '-o', 'json');
    assert.deepEqual((JSON.parse(stdout) as { warnings: string[] }).warnings, [lastOfDb.slice('Warning: '.length)]);
    assert.equal((await running.run(west, 'undrain', 'east/gateway-0', '--yes')).status, 0);
  });
});

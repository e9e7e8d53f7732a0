import assert from 'node:assert/strict';
import { connect as connectH2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exchange, open, readToEnd } from '../support/client.ts';
import { quiet, until } from '../support/mesh.ts';
import { limitOf, refused } from '../support/scrape.ts';
import { ok, recorder } from './support/recorder.ts';
import { type Stage, startStage } from './support/stage.ts';

const timeout = 60_000;
const get = (path = '/'): string => `GET ${path} HTTP/1.1\r\nHost: shop\r\n\r\n`;
const busy = /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\n\r\nToo many requests are in progress\n$/;

describe('more than fits, on a port that speaks HTTP', { timeout }, () => {
  const held: Socket[] = [];
  const backend = recorder((fresh, socket) => {
    if (!fresh.slice(fresh.lastIndexOf('GET ')).startsWith('GET /hold')) return ok;
    held.push(socket);
    return undefined;
  });
  let stage: Stage;

  before(async () => {
    stage = await startStage({ serve: [backend.serve], limits: { connections: 20 }, metrics: true });
  });
  after(() => stage.close());
  afterEach(async () => {
    held.length = 0;
    backend.clear();
    stage.setRoute(({ connection: _none, ...route }) => route);
    await quiet(stage.node);
    await used(0);
    stage.node.access.length = 0;
  });

  /** Waits until so many connections are held. */
  async function used(count: number): Promise<void> {
    const end = performance.now() + 20_000;
    for (;;) {
      const now = (await limitOf(stage.node, 'connections')).used;
      if (now === count) return;
      if (performance.now() > end) throw new Error(`Waited in vain for ${count} connections: there are ${now}`);
      await sleep(20);
    }
  }

  it('maxConnections: a new client gets 503 with UO, keeps its connection, and is served once there is room', async () => {
    stage.setRoute((route) => ({ ...route, connection: { maxConnections: 1, maxPending: 10 } }));
    const first = await open(stage.port);
    const reading = readToEnd(first);
    first.end(get('/hold'));
    await until('the held request', () => held.length === 1);
    const turnedAway = await refused(stage.node, 'limit-maxConnections');

    const second = await open(stage.port);
    const answers = readToEnd(second);
    second.write(get());
    const [entry] = await stage.logged(1);
    assert.deepEqual(
      [entry?.response_code, entry?.response_flags, entry?.response_code_details],
      [503, 'UO', 'limit-maxConnections'],
    );
    assert.equal(await refused(stage.node, 'limit-maxConnections'), turnedAway + 1);
    held[0]?.write(ok);
    await reading;
    await stage.logged(1);
    second.end(get());
    const { received, end } = await answers;
    const [refusal = '', served = ''] = received.toString().split(/(?=HTTP\/1\.1 200)/);
    assert.match(refusal, busy);
    assert.doesNotMatch(refusal, /connection: close/);
    assert.deepEqual([served, end], [ok, 'eof']);
  });

  it('maxConnections: any number of new clients, none of which costs the backend anything', async () => {
    stage.setRoute((route) => ({ ...route, connection: { maxConnections: 1, maxPending: 10 } }));
    const first = await open(stage.port);
    const reading = readToEnd(first);
    first.end(get('/hold'));
    await until('the held request', () => held.length === 1);
    const seen = backend.seen().join();
    for (let round = 0; round < 6; round += 1) {
      const results = await Promise.all(Array.from({ length: 10 }, () => exchange(stage.port, get())));
      for (const { received } of results) assert.match(received.toString(), busy);
    }
    assert.equal(backend.seen().join(), seen);
    held[0]?.write(ok);
    assert.equal((await reading).received.toString(), ok);
  });

  it('maxConnections: a client of HTTP/2 is answered, too; where bytes are carried it is reset', async () => {
    for (const [appProtocol, told] of [
      ['http2', true],
      ['tcp', false],
    ] as const) {
      stage.setRoute((route) => ({
        ...route,
        connection: { maxConnections: 0, maxPending: 10 },
        ports: route.ports.map((port) => ({ ...port, appProtocol })),
      }));
      const session = connectH2(`http://127.0.0.1:${stage.port}`);
      const status = await new Promise<number>((resolve) => {
        session.on('error', () => resolve(0));
        const request = session.request({ ':path': '/' });
        request.on('error', () => resolve(0)).resume();
        request.once('response', ({ ':status': code }) => resolve(Number(code)));
      });
      session.destroy();
      assert.equal(status, told ? 503 : 0);
      const [entry] = await stage.logged(1);
      assert.deepEqual([entry?.response_flags, entry?.protocol], ['UO', told ? 'HTTP/2' : 'TCP']);
    }
    stage.setRoute((route) => ({ ...route, ports: route.ports.map((port) => ({ ...port, appProtocol: 'http' })) }));
  });

  it("the gateway's own bound: 503, UO, and the connection ends; so many at a time, and the rest are reset", async () => {
    const resting = await Promise.all(Array.from({ length: 20 }, () => open(stage.port)));
    const ends = resting.map((socket) => readToEnd(socket));
    await used(20);
    const { received, end } = await exchange(stage.port, get());
    assert.match(received.toString(), busy);
    assert.match(received.toString(), /\r\nconnection: close\r\n/);
    assert.equal(end, 'eof');
    const [entry] = await stage.logged(1);
    assert.deepEqual(
      [entry?.response_code, entry?.response_flags, entry?.response_code_details],
      [503, 'UO', 'limit-connections'],
    );

    // Those that are told are few, and not waited for: who says nothing is sent away in silence, the others are reset.
    await used(20);
    const silent = Array.from({ length: 60 }, () => readToEnd(connect({ port: stage.port, host: '127.0.0.1' })));
    let most = 0;
    const watch = setInterval(() => {
      void limitOf(stage.node, 'connections').then(({ used: now = 0 }) => (most = Math.max(most, now)));
    }, 20);
    const all = await Promise.all(silent).finally(() => clearInterval(watch));
    assert.ok(all.every(({ received: none }) => none.length === 0));
    assert.ok(all.some((one) => one.end === 'eof') && all.some((one) => one.end === 'reset'));
    assert.ok(most <= 36, `${most}`);
    await used(20);
    assert.match((await exchange(stage.port, get())).received.toString(), busy);
    resting.pop()?.destroy();
    await used(19);
    assert.equal((await exchange(stage.port, get())).received.toString(), ok);
    for (const socket of resting) socket.destroy();
    await Promise.all(ends);
  });
});

import assert from 'node:assert/strict';
import { type IncomingMessage, createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { GatewayLimits } from '../../../src/gateway/limits.ts';
import type { AccessPlan } from '../../../src/model/access.ts';
import type { ClusterRoute, ServiceRoute } from '../../../src/model/route.ts';
import type { HttpPlan } from '../../../src/model/traffic.ts';
import { judgeByPolicy } from '../../../src/policy/access.ts';
import { freePort } from '../../support/ports.ts';
import { open, readToEnd } from '../support/client.ts';
import { createTestCa, type TestCa } from '../support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from '../support/mesh.ts';
import { accessPlan } from './support/pair.ts';
import { failuresOf, type KeepAliveLoad, type LoadOptions, startKeepAliveLoad } from './support/keepalive-load.ts';

const timeout = 60_000;
const retrying: HttpPlan = { retries: { attempts: 3, on: ['connect', 'reset', 502, 503], budget: 1 } };

/** Counts how often it was asked for each path: nothing may be done twice that is not meant to be. */
interface Counting {
  readonly port: number;
  readonly counts: Map<string, number>;
  /** Requests to `/slow` that wait for `release`. */
  readonly slow: () => number;
  release(): void;
  /** As a killed process: every connection is reset. */
  kill(): void;
  /** As a process that ends well: no new connections, idle ones closed. */
  close(): Promise<void>;
  readonly server: Server;
}

describe('with HTTP/1.1 clients that try nothing twice, no request fails', () => {
  let ca: TestCa;
  let nodes: Node[];
  let servers: Counting[];
  let loads: KeepAliveLoad[];

  beforeEach(() => {
    ca = createTestCa();
    [nodes, servers, loads] = [[], [], []];
  });
  afterEach(async () => {
    await Promise.all(loads.map((load) => load.stop()));
    await Promise.all(nodes.map((node) => node.gateway.close()));
    for (const server of servers) server.kill();
    ca.close();
  });

  async function node(cluster: string, instance = 'gw0', limits: Partial<GatewayLimits> = {}): Promise<Node> {
    const more = { access: judgeByPolicy };
    const started = await startNode(cluster, { ca, clusters: ['west', 'east', 'south'], instance, limits, more });
    nodes.push(started);
    return started;
  }

  async function counting(): Promise<Counting> {
    const counts = new Map<string, number>();
    const waiting: (() => void)[] = [];
    const server = createServer((request, response) => {
      const { url = '' } = request;
      counts.set(url, (counts.get(url) ?? 0) + 1);
      const answer = (): void => void response.end(`done ${url}`);
      request.resume().on('end', () => (url === '/slow' ? waiting.push(answer) : answer()));
    });
    // Longer than any gateway keeps one: only what the test does closes a connection.
    server.keepAliveTimeout = 120_000;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    const one: Counting = {
      port: bound && typeof bound === 'object' ? bound.port : 0,
      counts,
      slow: () => waiting.length,
      release: () => {
        for (const answer of waiting.splice(0)) answer();
      },
      kill() {
        server.close();
        server.closeAllConnections();
      },
      close: () => new Promise((resolve) => void server.close(() => resolve())),
      server,
    };
    servers.push(one);
    return one;
  }

  function load(options: LoadOptions): KeepAliveLoad {
    const started = startKeepAliveLoad(options);
    loads.push(started);
    return started;
  }

  async function more(of: KeepAliveLoad, count: number): Promise<void> {
    const enough = of.done.length + count;
    await until(`${count} more requests`, () => of.done.length >= enough);
  }

  /** Everything was answered, and done once. */
  function assertWhole({ done }: KeepAliveLoad): void {
    assert.deepEqual(failuresOf(done), []);
    for (const { id } of done) {
      const times = servers.reduce((sum, { counts }) => sum + (counts.get(`/r/${id}`) ?? 0), 0);
      assert.equal(times, 1, `request ${id}`);
    }
  }

  const http = (route: ServiceRoute, plan?: HttpPlan): ServiceRoute => ({
    ...route,
    ports: route.ports.map((port) => ({ ...port, appProtocol: 'http' })),
    ...(plan && { http: plan }),
  });

  it('when a gateway drains: each response says close, what is in flight ends, what rests is closed', {
    timeout,
  }, async () => {
    const [first, second] = [await node('west', 'gw0'), await node('west', 'gw1')];
    const server = await counting();
    const ports = [await freePort(), await freePort()];
    for (const [index, one] of [first, second].entries()) {
      const route = serviceRoute({ self: 'west', importPort: ports[index] ?? 0, local: [server.port] });
      one.table.set(tableOf(one, [http(route)], []));
      await until('import port', () => one.gateway.importPorts().size === 1);
    }
    // What stands in front sends new connections where a gateway is ready.
    const port = (): number => (first.gateway.ready.current ? ports[0] : ports[1]) ?? 0;
    const steady = load({ port, lanes: 8, pausesMs: [0, 1, 20, 300, 700] });
    await more(steady, 200);
    const slow = await open(ports[0] ?? 0);
    const answer = readToEnd(slow);
    slow.write('GET /slow HTTP/1.1\r\nHost: shop\r\n\r\n');
    const resting = await open(ports[0] ?? 0);
    const closed = readToEnd(resting);
    await until('the slow request', () => server.slow() === 1);

    const drained = first.gateway.drain(40_000, 300);
    assert.deepEqual(await closed, { received: Buffer.alloc(0), end: 'eof' }, 'one that rests is closed in order');
    await more(steady, 200);
    server.release();
    const { received, end } = await answer;
    assert.match(received.toString(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\nconnection: close\r\n[^]*done \/slow/i);
    assert.equal(end, 'eof');
    await drained;
    await more(steady, 100);
    await steady.stop();
    assertWhole(steady);
    assert.deepEqual(
      first.access.filter(({ response_flags: flag }) => flag !== '-'),
      [],
      'nothing had to be reset',
    );
    assert.ok(second.access.length > 100);
  });

  for (const [how, access] of [
    ['which carry bytes', undefined],
    ['which judge each request', accessPlan([{ requests: { pathPrefixes: ['/r'] } }])],
  ] as const) {
    it(`when the gateways of the other cluster are restarted one after the other, ${how}`, { timeout }, () =>
      restartOthers(access),
    );
  }

  async function restartOthers(access: AccessPlan | undefined): Promise<void> {
    // Tunnels are not ended by their age: only because their gateway says that it goes.
    const [west, server] = [await node('west', 'gw0', { httpTunnelAgeMs: 3_600_000 }), await counting()];
    const route = { ...http(serviceRoute({ self: 'east', local: [server.port] })), ...(access && { access }) };
    const start = async (instance: string): Promise<Node> => {
      const started = await node('east', instance);
      started.table.set(tableOf(started, [route], []));
      return started;
    };
    let east = [await start('gw0'), await start('gw1')];
    const importPort = await freePort();
    const imported = http(serviceRoute({ self: 'west', importPort, remote: ['east'] }));
    const tell = (): void => west.table.set(tableOf(west, [imported], [clusterRoute(east)]));
    tell();
    await linksUp(west, 2);
    await until('import port', () => west.gateway.importPorts().size === 1);
    const steady = load({ port: () => importPort, lanes: 8, pausesMs: [0, 2, 50, 400] });
    for (const index of [0, 1]) {
      await more(steady, 200);
      const old = east[index];
      await old?.gateway.drain(30_000);
      const cut = old?.access.filter(({ response_flags: flag, bytes_received: bytes }) => flag !== '-' && bytes > 0);
      // A tunnel that came too late for the race of its first request carried nothing.
      assert.deepEqual(cut, [], 'nothing was reset');
      await old?.gateway.close();
      await more(steady, 50);
      const fresh = await start(`gw${index}`);
      east = east.with(index, fresh);
      tell();
      await linksUp(west, 2);
      await until('the new one to be used', () =>
        fresh.gateway.report().services.some(({ targets }) => targets.some(({ active }) => active > 0)),
      );
    }
    await more(steady, 100);
    await steady.stop();
    assertWhole(steady);
  }

  it('when backends are replaced one after the other, here and in the other cluster', { timeout }, async () => {
    const [west, east] = [await node('west', 'gw0', { httpTunnelAgeMs: 500 }), await node('east')];
    let [here, there] = [
      [await counting(), await counting()],
      [await counting(), await counting()],
    ];
    const importPort = await freePort();
    const tell = (): void => {
      const both = serviceRoute({ self: 'west', importPort, local: here.map(({ port }) => port), remote: ['east'] });
      const targets = both.targets.map((target) => ({ ...target, tier: 0 }));
      west.table.set(tableOf(west, [http({ ...both, targets })], [clusterRoute([east])]));
      east.table.set(tableOf(east, [http(serviceRoute({ self: 'east', local: there.map(({ port }) => port) }))], []));
    };
    tell();
    await linksUp(west, 1);
    await until('import port', () => west.gateway.importPorts().size === 1);
    const steady = load({ port: () => importPort, lanes: 8, pausesMs: [0, 2, 50] });
    for (const local of [true, false]) {
      for (const index of [0, 1]) {
        await more(steady, 200);
        const old = (local ? here : there)[index];
        const fresh = await counting();
        if (local) here = here.with(index, fresh);
        else there = there.with(index, fresh);
        tell();
        // As in any rolling restart an endpoint leaves first; tunnels that end there are replaced within their age.
        let mark = { asked: -1, done: 0 };
        await until(
          'the old one to be left alone',
          () => {
            const now = { asked: old?.counts.size ?? 0, done: steady.done.length };
            if (now.asked !== mark.asked) mark = now;
            return now.done > mark.done + 400;
          },
          40_000,
        );
        await Promise.race([old?.close(), more(steady, 200)]);
        old?.kill();
      }
    }
    await steady.stop();
    assertWhole(steady);
  });

  it('when the endpoint here is killed, and comes back: GET', { timeout }, async () => {
    const [west, east] = [await node('west'), await node('east')];
    const [here, there] = [await counting(), await counting()];
    const importPort = await freePort();
    const route = serviceRoute({ self: 'west', importPort, local: [here.port], remote: ['east'] });
    west.table.set(tableOf(west, [http(route, retrying)], [clusterRoute([east])]));
    east.table.set(tableOf(east, [http(serviceRoute({ self: 'east', local: [there.port] }))], []));
    await linksUp(west, 1);
    await until('import port', () => west.gateway.importPorts().size === 1);
    const steady = load({ port: () => importPort, methods: ['GET'], pausesMs: [0, 2, 20] });
    await more(steady, 300);
    assert.equal(there.counts.size, 0);
    here.kill();
    await until('the other cluster to serve', () => there.counts.size > 200);
    here.server.listen(here.port, '127.0.0.1');
    const before = here.counts.size;
    await until('this one to serve again', () => here.counts.size > before + 100);
    await steady.stop();
    assert.deepEqual(failuresOf(steady.done), []);
  });

  it('when a whole cluster is killed: GET; a POST fails at most when it was under way, and is never done twice', {
    timeout,
  }, async () => {
    const [west, east, south] = [await node('west'), await node('east'), await node('south')];
    const [there, further] = [await counting(), await counting()];
    const importPort = await freePort();
    const both = serviceRoute({ self: 'west', importPort, remote: ['east', 'south'] });
    const targets = both.targets.map((target, tier) => ({ ...target, tier }));
    const routes: ClusterRoute[] = [clusterRoute([east]), clusterRoute([south])];
    west.table.set(tableOf(west, [http({ ...both, targets }, retrying)], routes));
    east.table.set(tableOf(east, [http(serviceRoute({ self: 'east', local: [there.port] }))], []));
    south.table.set(tableOf(south, [http(serviceRoute({ self: 'south', local: [further.port] }))], []));
    await linksUp(west, 2);
    await until('import port', () => west.gateway.importPorts().size === 1);
    const steady = load({ port: () => importPort, pausesMs: [0, 2, 20] });
    await more(steady, 300);
    there.kill();
    await east.gateway.close();
    const killedAt = performance.now();
    await until('the other cluster to serve', () => further.counts.size > 300);
    await steady.stop();
    const failed = steady.done.filter(({ status }) => status !== 200);
    assert.deepEqual(failuresOf(failed.filter(({ method, begunAt }) => method === 'GET' || begunAt > killedAt)), []);
    for (const { id, method } of steady.done) {
      const times = (there.counts.get(`/r/${id}`) ?? 0) + (further.counts.get(`/r/${id}`) ?? 0);
      if (method === 'POST') assert.ok(times <= 1, `POST ${id} was done ${times} times`);
    }
  });

  it('when a backend closes kept connections whenever it likes: GET; a POST is never done twice', {
    timeout,
  }, async () => {
    const server = await counting();
    let closed = 0;
    server.server.on('request', (request: IncomingMessage) => {
      // A third of them right behind the response, or a moment later, without a word in the response.
      const { socket } = request;
      const dice = Math.random();
      if (dice < 0.33) setTimeout(() => (closed += 1) && socket.end(), dice * 60);
    });
    const west = await node('west');
    const importPort = await freePort();
    const route = serviceRoute({ self: 'west', importPort, local: [server.port] });
    west.table.set(tableOf(west, [http(route)], []));
    await until('import port', () => west.gateway.importPorts().size === 1);
    const steady = load({ port: () => importPort, lanes: 6, pausesMs: [0, 5, 10, 15] });
    await until('many of them', () => closed > 150 && steady.done.length > 1000);
    await steady.stop();
    assert.deepEqual(failuresOf(steady.done.filter(({ method }) => method === 'GET')), []);
    for (const { id, method, status } of steady.done) {
      const times = server.counts.get(`/r/${id}`) ?? 0;
      if (method === 'POST')
        assert.ok(times <= 1 && (status === 200 || status === 502), `POST ${id}: ${status}, done ${times} times`);
    }
  });
});

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { StaticIdentities } from '../../src/gateway/access/static-identities.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { defaultConnection, defaultOutlier } from '../../src/model/traffic.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open, readToEnd } from './support/client.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

function pemOf(chain: readonly Uint8Array[]): string {
  return chain.map((der) => new X509Certificate(der).toString()).join('');
}

describe('a gateway that balances', () => {
  let ca: TestCa;
  let nodes: Node[];
  let backends: Backend[];
  let servers: Server[];

  beforeEach(() => {
    ca = createTestCa();
    nodes = [];
    backends = [];
    servers = [];
  });

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.gateway.close()));
    await Promise.all(backends.map((backend) => backend.close()));
    for (const server of servers) server.close();
    ca.close();
  });

  async function start(cluster: string, options: Partial<Parameters<typeof startNode>[1]> = {}): Promise<Node> {
    const node = await startNode(cluster, { ca, clusters: ['west', 'east', 'south'], ...options });
    nodes.push(node);
    return node;
  }

  /** Greets with its own port, so that a client sees whom it reached. */
  async function greeter(): Promise<number> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined).end(`${socket.localPort}`);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    assert.ok(bound && typeof bound === 'object');
    return bound.port;
  }

  async function listening(
    node: Node,
    route: ServiceRoute,
    clusters: Parameters<typeof tableOf>[2] = [],
  ): Promise<void> {
    node.table.set(tableOf(node, [route], clusters));
    await until('the import port', () => node.gateway.importPorts().size === 1);
  }

  async function reached(importPort: number, times: number): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (let time = 0; time < times; time += 1) {
      const { received } = await exchange(importPort);
      counts.set(received.toString(), (counts.get(received.toString()) ?? 0) + 1);
    }
    return counts;
  }

  it('carries out the algorithm of the route, and another one after a change', async () => {
    const ports = [await greeter(), await greeter(), await greeter()];
    const [west, importPort] = [await start('west'), await freePort()];
    const route = serviceRoute({ self: 'west', importPort, local: ports });
    await listening(west, { ...route, loadBalancing: { algorithm: 'roundRobin', slowStartMs: 0 } });
    assert.deepEqual([...(await reached(importPort, 9)).values()], [3, 3, 3]);
    west.table.set(tableOf(west, [{ ...route, loadBalancing: { algorithm: 'consistentHash', slowStartMs: 0 } }], []));
    assert.equal((await reached(importPort, 9)).size, 1, 'one client address, one endpoint');
    west.table.set(tableOf(west, [{ ...route, loadBalancing: { algorithm: 'random', slowStartMs: 0 } }], []));
    assert.equal((await reached(importPort, 40)).size, 3);
  });

  it('goes by the address of the client itself at the far gateway', async () => {
    const ports = [await greeter(), await greeter(), await greeter(), await greeter()];
    const [west, east, importPort] = [await start('west'), await start('east'), await freePort()];
    const hashed = { loadBalancing: { algorithm: 'consistentHash', slowStartMs: 0 } } as const;
    east.table.set(tableOf(east, [{ ...serviceRoute({ self: 'east', local: ports }), ...hashed }], []));
    await listening(west, serviceRoute({ self: 'west', importPort, remote: ['east'] }), [clusterRoute([east])]);
    await linksUp(west, 1);
    assert.equal((await reached(importPort, 12)).size, 1);
  });

  it('ejects an endpoint that takes connections and drops them, and goes on with the others', async () => {
    // Half open, or it would answer the client's end with its own.
    const dropper = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      setTimeout(() => socket.resetAndDestroy(), 20);
    }).listen(0, '127.0.0.1');
    servers.push(dropper);
    await once(dropper, 'listening');
    const bound = dropper.address();
    assert.ok(bound && typeof bound === 'object');
    const [west, importPort, good] = [await start('west'), await freePort(), await greeter()];
    await listening(west, {
      ...serviceRoute({ self: 'west', importPort, local: [good, bound.port] }),
      loadBalancing: { algorithm: 'roundRobin', slowStartMs: 0 },
      outlier: { ...defaultOutlier, consecutiveFailures: 3, baseEjectionMs: 60_000 },
    });
    for (let time = 0; time < 12; time += 1) await exchange(importPort);
    const down = west.gateway.report().services[0]?.endpoints.find(({ id }) => id.endsWith(`:${bound.port}`));
    assert.deepEqual([down?.up, down?.reason], [false, 'reset before the first byte']);
    assert.deepEqual([...(await reached(importPort, 6))], [[`${good}`, 6]]);
  });

  it('answers at once when the circuit of a service is full, and only for that service', async () => {
    const backend = await startBackend(echo);
    backends.push(backend);
    const [west, one, two] = [await start('west'), await freePort(), await freePort()];
    const limited: ServiceRoute = {
      ...serviceRoute({ self: 'west', importPort: one, local: [backend.port] }),
      connection: { ...defaultConnection, maxConnections: 3 },
    };
    const other = serviceRoute({ self: 'west', service: 'shop/other', importPort: two, local: [backend.port] });
    west.table.set(tableOf(west, [limited, other], []));
    await until('both ports', () => west.gateway.importPorts().size === 2);
    const held = await Promise.all([open(one), open(one), open(one)]);
    await until('three', () => west.gateway.report().services[0]?.targets[0]?.active === 3);
    const started = performance.now();
    assert.equal((await exchange(one, 'x')).end, 'reset');
    assert.ok(performance.now() - started < 500);
    assert.equal(west.access.at(-1)?.response_flags, 'UO');
    assert.equal(west.access.at(-1)?.connection_termination_details, 'maxConnections');
    assert.equal((await exchange(two, 'x')).end, 'eof');
    held[0]?.destroy();
    await until('room', () => (west.gateway.report().services[0]?.targets[0]?.active ?? 9) < 3);
    assert.equal((await exchange(one, 'x')).received.toString(), 'x');
    for (const socket of held) socket.destroy();
  });

  it('keeps one peer to its part, and the others served', async () => {
    const backend = await startBackend(echo);
    backends.push(backend);
    const east = await start('east', { limits: { connectionsPerPeer: 2 } });
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    const [west, south] = [await start('west'), await start('south')];
    const ports = { west: await freePort(), south: await freePort() };
    await listening(west, serviceRoute({ self: 'west', importPort: ports.west, remote: ['east'] }), [
      clusterRoute([east]),
    ]);
    await listening(south, serviceRoute({ self: 'south', importPort: ports.south, remote: ['east'] }), [
      clusterRoute([east]),
    ]);
    await Promise.all([linksUp(west, 1), linksUp(south, 1)]);
    const held = await Promise.all([open(ports.west), open(ports.west)]);
    for (const socket of held) socket.write('a');
    await Promise.all(held.map((socket) => once(socket, 'data')));
    assert.equal((await exchange(ports.west, 'x')).end, 'reset');
    assert.equal(east.access.at(-1)?.connection_termination_details, 'limit-connectionsPerPeer');
    assert.equal((await exchange(ports.south, 'x')).received.toString(), 'x');
    for (const socket of held) socket.destroy();
  });

  it('turns away at once what would wait with too many others to be connected', async () => {
    const limits = {
      pendingConnects: 2,
      connectTimeoutMs: 60_000,
      connectDeadlineMs: 60_000,
      handshakeTimeoutMs: 60_000,
    };
    const [west, importPort] = [await start('west', { limits }), await freePort()];
    // A gateway that takes the connection and says nothing.
    const mute = createServer((socket) => void socket.on('error', () => undefined).resume());
    servers.push(mute);
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const bound = mute.address();
    assert.ok(bound && typeof bound === 'object');
    await listening(west, serviceRoute({ self: 'west', importPort, remote: ['east'] }), [
      clusterRoute([await start('east')], bound.port),
    ]);
    const waiting = await Promise.all([open(importPort), open(importPort)]);
    await until('both to wait', () => west.gateway.report().services[0]?.targets[0]?.active === 2);
    const started = performance.now();
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    assert.ok(performance.now() - started < 20_000);
    assert.equal(west.access.at(-1)?.connection_termination_details, 'pendingConnects');
    for (const socket of waiting) socket.destroy();
  });

  it('closes the session of a peer that has too many, and keeps the others', async () => {
    const east = await start('east', { limits: { sessionsPerPeer: 1 }, metrics: true });
    const first = await start('west', { instance: 'gw0' });
    first.table.set(
      tableOf(
        first,
        [serviceRoute({ self: 'west', importPort: await freePort(), remote: ['east'] })],
        [clusterRoute([east])],
      ),
    );
    await linksUp(first, 1);
    const twin = await start('west', { instance: 'gw0' });
    twin.table.set(
      tableOf(
        twin,
        [serviceRoute({ self: 'west', importPort: await freePort(), remote: ['east'] })],
        [clusterRoute([east])],
      ),
    );
    await until('the refusal', () => twin.gateway.report().links[0]?.reason !== undefined);
    const text = await (await fetch(`http://127.0.0.1:${east.gateway.metricsPort}/metrics`)).text();
    assert.match(text, /isthmus_refusals_total\{reason="limit-sessionsPerPeer"\} [1-9]/);
    assert.equal(first.gateway.report().links[0]?.up, true);
  });

  it('says who the client is, where its address is known, and the far side names the rule', async () => {
    const backend = await startBackend(echo);
    backends.push(backend);
    const identities = new StaticIdentities([{ address: '127.0.0.0/8', identity: 'shop/cart' }], () =>
      parseTrustDomain('west.mesh.test'),
    );
    const [west, east, importPort] = [
      await start('west', { more: { identities } }),
      await start('east'),
      await freePort(),
    ];
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    await listening(west, serviceRoute({ self: 'west', importPort, remote: ['east'] }), [clusterRoute([east])]);
    await linksUp(west, 1);
    await exchange(importPort, 'x');
    await until('entries', () => east.access.length === 1 && west.access.length === 1);
    const id = 'spiffe://west.mesh.test/ns/shop/sa/cart';
    assert.deepEqual([east.access[0]?.source_identity, west.access[0]?.source_identity], [id, id]);
    assert.match(east.access[0]?.access_rule ?? '', /members/);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port], allow: 'policy' })], []));
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    const denied = east.access.at(-1);
    assert.deepEqual([denied?.response_flags, denied?.response_code, denied?.source_identity], ['RBAC', 403, id]);
    assert.match(denied?.access_rule ?? '', /policy/);
  });

  it('never dials its own listeners, however they are written', async () => {
    const [west, importPort, good] = [await start('west'), await freePort(), await greeter()];
    const route = serviceRoute({ self: 'west', importPort, local: [good] });
    const loops = ['127.0.0.1', 'localhost', '0.0.0.0', '::ffff:127.0.0.1'].map((address) => ({
      id: `loop ${address}`,
      address,
      ports: new Map([[80, importPort]]),
      ready: true,
    }));
    await listening(west, { ...route, endpoints: [...loops, ...route.endpoints] });
    assert.deepEqual([...(await reached(importPort, 10))], [[`${good}`, 10]]);
    await quiet(west);
    assert.equal(west.access.length, 10, 'nothing came in by itself');
    west.table.set(tableOf(west, [{ ...route, endpoints: loops }], []));
    assert.equal((await exchange(importPort)).end, 'reset');
    await quiet(west);
    assert.equal(west.access.length, 11);
  });

  it('reports a second service on one import port as the problem of that one', async () => {
    const [west, importPort, good] = [await start('west'), await freePort(), await greeter()];
    const holder = serviceRoute({ self: 'west', service: 'shop/web', importPort, local: [good] });
    const later = serviceRoute({ self: 'west', service: 'shop/aaa', importPort, local: [await greeter()] });
    await listening(west, holder);
    west.table.set(tableOf(west, [holder, later], []));
    const problems = (): unknown[] => west.gateway.report().services.map(({ service, problem }) => [service, problem]);
    assert.deepEqual(problems(), [
      ['shop/web', undefined],
      ['shop/aaa', `import port ${importPort} is that of shop/web:80 already`],
    ]);
    assert.deepEqual([...(await reached(importPort, 2)).keys()], [`${good}`], 'the one that was there keeps it');
    west.table.set(tableOf(west, [later], []));
    await until('the other', () => west.gateway.importPorts().has('shop/aaa:80'));
    assert.deepEqual(problems(), [['shop/aaa', undefined]]);
  });

  it('at its end is not ready first, serves through the grace, and then takes nothing new', async () => {
    const [west, importPort, good] = [await start('west'), await freePort(), await greeter()];
    await listening(west, serviceRoute({ self: 'west', importPort, local: [good] }));
    const started = performance.now();
    const drained = west.gateway.drain(2000, 400);
    assert.equal(west.gateway.ready.current, false);
    await sleep(100);
    assert.equal((await exchange(importPort)).received.toString(), `${good}`, 'still serving');
    await drained;
    assert.ok(performance.now() - started >= 390);
    await assert.rejects(open(importPort), { code: 'ECONNREFUSED' });
  });

  it('measures clusters that it has no traffic for, without keeping a session, by one gateway only', async () => {
    const east = await start('east');
    const [first, second] = [await start('west', { instance: 'gw0' }), await start('west', { instance: 'gw1' })];
    const own = clusterRoute([first, second]);
    for (const node of [first, second]) node.table.set(tableOf(node, [], [own, clusterRoute([east])]));
    await until('the probe', () => first.gateway.report().links[0]?.up === true);
    const [link] = first.gateway.report().links;
    assert.deepEqual([link?.cluster, link?.load], ['east', 0]);
    assert.ok((link?.rttP50Ms ?? -1) >= 0);
    assert.deepEqual(second.gateway.report().links, []);
    await sleep(900);
    assert.equal(first.gateway.report().links[0]?.up, true);
    await first.gateway.close();
    second.table.set(tableOf(second, [], [{ ...own, gateways: own.gateways.slice(1) }, clusterRoute([east])]));
    await until('the next one', () => second.gateway.report().links.some(({ up }) => up));
    await east.gateway.close();
  });

  it('finds a cluster down whose gateway speaks HTTP/2 and does not answer', async () => {
    const identity = ca.issue(gatewayId('east', 'gw0'));
    const deaf = createSecureServer({
      key: identity.keyPem,
      cert: pemOf(identity.chain),
      ca: pemOf([ca.anchor]),
      requestCert: true,
      minVersion: 'TLSv1.3',
    });
    servers.push(deaf);
    deaf.on('session', (session) => session.on('error', () => undefined));
    deaf.on('stream', (stream) => stream.on('error', () => undefined));
    deaf.listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const bound = deaf.address();
    assert.ok(bound && typeof bound === 'object');
    const west = await start('west');
    west.table.set(tableOf(west, [], [clusterRoute([await start('east')], bound.port)]));
    await until('the verdict', () => west.gateway.report().links[0]?.reason !== undefined);
    const [link] = west.gateway.report().links;
    assert.deepEqual([link?.up, link?.loss], [false, 1]);
    assert.match(link?.reason ?? '', /did not answer the probe/);
  });

  it('opens sessions when a service becomes routed here, and lets them go afterwards', async () => {
    const backend = await startBackend(echo);
    backends.push(backend);
    const [west, east, importPort] = [await start('west'), await start('east'), await freePort()];
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    await listening(west, serviceRoute({ self: 'west', importPort, remote: ['east'] }), [clusterRoute([east])]);
    await linksUp(west, 1);
    const held = await open(importPort);
    held.write('a');
    await once(held, 'data');
    west.table.set(tableOf(west, [], [clusterRoute([east])]));
    const ending = readToEnd(held);
    held.end('b');
    const { received, end } = await ending;
    assert.deepEqual([received.toString(), end], ['b', 'eof'], 'what is open goes on');
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open } from './support/client.ts';
import { errorCode, flag, frame, frameType, settings, uint32 } from './support/frames.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { type RawGateway, startRawGateway } from './support/raw-gateway.ts';
import { connectFrame, dialRaw, goawayCode, hello, type RawPeer } from './support/raw-peer.ts';
import { limitOf, refused } from './support/scrape.ts';

const web = 'web.shop.svc.clusterset.local:80';
const serverHello = Buffer.concat([settings(), frame(frameType.settings, flag.ack, 0)]);
const answersOf = (peer: Pick<RawPeer, 'frames'>, type: number): number =>
  peer.frames().filter((one) => one.type === type).length;

/** Each limit at its edge: what is within is served, one more is turned away, counted under its name, and shown. */
describe('at the edge of', { timeout: 120_000 }, () => {
  let ca: TestCa;
  let backend: Backend;
  let nodes: Node[];
  let sockets: Socket[];
  let servers: Server[];
  let raws: RawGateway[];

  beforeEach(async () => {
    ca = createTestCa();
    backend = await startBackend(echo);
    nodes = [];
    sockets = [];
    servers = [];
    raws = [];
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    await Promise.all(nodes.map((node) => node.gateway.close()));
    await Promise.all(raws.map((raw) => raw.close()));
    await backend.close();
    ca.close();
  });

  async function start(cluster: string, limits: object, instance = 'gw0'): Promise<Node> {
    const options = { ca, clusters: ['west', 'east'], limits, instance, metrics: true };
    const node = await startNode(cluster, options);
    nodes.push(node);
    return node;
  }

  async function serving(limits: object, instance?: string): Promise<Node> {
    const east = await start('east', limits, instance);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    return east;
  }

  /** A gateway that imports what the others, or whoever listens at `port` in their place, export. */
  async function importing(limits: object, from: readonly Node[], port?: number): Promise<[Node, number]> {
    const west = await start('west', limits);
    const importPort = await freePort();
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute(from, port)]));
    await until('the import port', () => west.gateway.importPorts().size === 1);
    return [west, importPort];
  }

  /** A connection that has been carried there and back, and stays. */
  async function held(importPort: number): Promise<void> {
    const socket = await open(importPort);
    sockets.push(socket);
    socket.write('x');
    await once(socket, 'data');
  }

  let peers = 0;
  async function peerOf(east: Node): Promise<RawPeer> {
    peers += 1;
    const peer = await dialRaw(east.gateway.hbonePort, ca.issue(gatewayId('west', `peer${peers}`)), ca.anchor);
    sockets.push(peer.socket);
    return peer;
  }

  /** A peer whose session is served. */
  async function session(east: Node): Promise<RawPeer> {
    const peer = await peerOf(east);
    peer.send(hello);
    await until('settings', () => peer.frames().some(({ type }) => type === frameType.settings));
    return peer;
  }

  function silent(east: Node, localAddress: string): Socket {
    const socket = connectTcp({ port: east.gateway.hbonePort, host: '127.0.0.1', localAddress });
    sockets.push(socket.on('error', () => undefined).resume());
    return socket;
  }

  async function counts(node: Node, reason: string, count: number): Promise<void> {
    await soon(() => refused(node, reason), count, reason);
  }

  async function shows(node: Node, limit: string, expected: { used: number; of: number }): Promise<void> {
    await soon(() => limitOf(node, limit), expected, limit);
  }

  async function soon(read: () => Promise<unknown>, expected: unknown, what: string): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!isDeepStrictEqual(await read(), expected) && performance.now() < deadline) await sleep(20);
    assert.deepEqual(await read(), expected, what);
  }

  it('inboundSessions: resets one more before TLS, and takes it when another has gone', async () => {
    const east = await serving({ inboundSessions: 2 });
    const [first] = [await session(east), await session(east)];
    await shows(east, 'inboundSessions', { used: 2, of: 2 });
    await assert.rejects(session(east));
    await counts(east, 'limit-inboundSessions', 1);
    first.socket.destroy();
    let back: RawPeer | undefined;
    const deadline = performance.now() + 20_000;
    while (!back && performance.now() < deadline) back = await session(east).catch(() => undefined);
    assert.ok(back, 'there is room again');
  });

  it('inboundSessions: takes no more of those whose handshakes run at the same time', async () => {
    const east = await serving({ inboundSessions: 2 });
    const identities = Array.from({ length: 6 }, (_, index) => ca.issue(gatewayId('west', `abreast${index}`)));
    let away = 0;
    const dialled = identities.map((identity) => dialRaw(east.gateway.hbonePort, identity, ca.anchor));
    for (const dialling of dialled) {
      // One that is turned away may see that during its handshake or, TLS 1.3, only afterwards.
      const gone = (): void => void (away += 1);
      dialling.then((peer) => {
        sockets.push(peer.socket);
        peer.send(hello);
        void peer.closed.then(gone);
      }, gone);
    }
    await until('four to be turned away', () => away === 4);
    await counts(east, 'limit-inboundSessions', 4);
    await shows(east, 'inboundSessions', { used: 2, of: 2 });
  });

  it('handshakesPerAddress: the oldest of that address gives way', async () => {
    const east = await serving({ handshakesPerAddress: 3, handshakeTimeoutMs: 60_000 });
    const [oldest] = [silent(east, '127.0.0.2'), silent(east, '127.0.0.2'), silent(east, '127.0.0.2')];
    const other = silent(east, '127.0.0.3');
    await until('them to be connected', () => sockets.every(({ connecting }) => !connecting));
    await shows(east, 'handshakesPerAddress', { used: 3, of: 3 });
    await shows(east, 'handshakes', { used: 4, of: 1024 });
    silent(east, '127.0.0.2');
    await until('the oldest to be gone', () => oldest.destroyed);
    await counts(east, 'limit-handshakesPerAddress', 1);
    assert.deepEqual([other.destroyed, sockets.filter(({ destroyed }) => destroyed).length], [false, 1]);
  });

  it('handshakes: the oldest of the address that has most gives way', async () => {
    const east = await serving({ handshakes: 3, handshakeTimeoutMs: 60_000 });
    const single = silent(east, '127.0.0.2');
    await until('the first', () => !single.connecting);
    const oldest = silent(east, '127.0.0.3');
    await until('the second', () => !oldest.connecting);
    const third = silent(east, '127.0.0.3');
    await until('the third', () => !third.connecting);
    assert.equal((await session(east)).socket.destroyed, false, 'a peer comes in all the same');
    await until('the oldest to be gone', () => oldest.destroyed);
    await counts(east, 'limit-handshakes', 1);
    assert.deepEqual([single.destroyed, third.destroyed], [false, false]);
    await shows(east, 'handshakes', { used: 2, of: 3 });
  });

  it('streamsPerSession: a peer that ignores it loses its session, and its streams with it', async () => {
    const east = await serving({ streamsPerSession: 3 });
    const peer = await session(east);
    peer.send(connectFrame(1, web), connectFrame(3, web), connectFrame(5, web));
    await until('three answers', () => answersOf(peer, frameType.headers) === 3);
    await until('three connections', () => backend.connections.size === 3);
    peer.send(connectFrame(7, web));
    assert.equal(goawayCode(await peer.closed), errorCode.protocol);
    await counts(east, 'session-protocol', 1);
    await until('their end', () => backend.connections.size === 0);
  });

  it('sessionsPerGateway: opens sessions up to it, fills them, and then goes elsewhere at once', async () => {
    const east = await serving({ streamsPerSession: 2 });
    const [west, importPort] = await importing({ sessionsPerGateway: 2 }, [east]);
    await linksUp(west, 1);
    for (let count = 0; count < 4; count += 1) await held(importPort);
    await shows(west, 'sessionsPerGateway', { used: 2, of: 2 });
    await shows(west, 'streamsPerSession', { used: 2, of: 8192 });
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    await counts(west, 'limit-sessionsPerGateway', 1);
    await shows(east, 'inboundSessions', { used: 2, of: 1024 });
    assert.match(west.access.at(-1)?.connection_termination_details ?? '', /sessionsPerGateway/);
    sockets.pop()?.destroy();
    await until('its end', () => backend.connections.size === 3);
    await held(importPort);
  });

  it('waitersPerGateway: one more does not wait for a session', async () => {
    // Takes connections and says nothing, so that the handshake lasts.
    const mute = createServer((socket) => void sockets.push(socket.on('error', () => undefined))).listen(
      0,
      '127.0.0.1',
    );
    servers.push(mute);
    await once(mute, 'listening');
    const bound = mute.address();
    assert.ok(bound && typeof bound === 'object');
    const patient = { handshakeTimeoutMs: 60_000, connectTimeoutMs: 60_000, connectDeadlineMs: 60_000 };
    const [west, importPort] = await importing(
      { waitersPerGateway: 2, ...patient },
      [await start('east', {})],
      bound.port,
    );
    sockets.push(await open(importPort), await open(importPort));
    await shows(west, 'waitersPerGateway', { used: 2, of: 2 });
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    await counts(west, 'limit-waitersPerGateway', 1);
    assert.equal(west.access.length, 1, 'the two go on waiting');
    assert.match(west.access[0]?.connection_termination_details ?? '', /waitersPerGateway/);
  });

  it('warmGateways: the ones beyond it are not used', async () => {
    const east = [await serving({}, 'gw0'), await serving({}, 'gw1'), await serving({}, 'gw2')];
    const [west, importPort] = await importing({ warmGateways: 2 }, east);
    await linksUp(west, 2);
    await shows(west, 'warmGateways', { used: 2, of: 2 });
    await counts(west, 'limit-warmGateways', 1);
    assert.equal(west.log.filter(({ message }) => message.includes("'warmGateways'")).length, 1);
    for (let count = 0; count < 10; count += 1) assert.equal((await exchange(importPort, 'x')).end, 'eof');
    assert.equal(east[2]?.access.length, 0);
  });

  it('controlFrameBurst: is cut off beyond it, and not before', async () => {
    const east = await serving({ controlFramesPerSecond: 1, controlFrameBurst: 20 });
    const peer = await session(east);
    const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8));
    // Its settings were the first.
    peer.send(...Array.from({ length: 19 }, () => ping));
    await until('answers', () => answersOf(peer, frameType.ping) >= 19);
    assert.equal(goawayCode(peer.frames()), undefined);
    await counts(east, 'control-flood', 0);
    peer.send(...Array.from({ length: 40 }, () => ping));
    assert.equal(goawayCode(await peer.closed), errorCode.enhanceYourCalm);
    await counts(east, 'control-flood', 1);
  });

  it('resetBurst: is cut off beyond it, and not before', async () => {
    const east = await serving({ resetsPerSecond: 1, resetBurst: 20 });
    const peer = await session(east);
    const given = (stream: number): Buffer =>
      Buffer.concat([connectFrame(stream, web), frame(frameType.rstStream, 0, stream, uint32(errorCode.cancel))]);
    peer.send(...Array.from({ length: 20 }, (_, index) => given(index * 2 + 1)), connectFrame(101, web));
    await until('the answer to the last', () => peer.frames().some(({ stream }) => stream === 101));
    await counts(east, 'rapid-reset', 0);
    peer.send(...Array.from({ length: 60 }, (_, index) => given(index * 2 + 103)));
    assert.equal(goawayCode(await peer.closed), errorCode.enhanceYourCalm);
    await counts(east, 'rapid-reset', 1);
  });

  it('invalidFrames: streams that break their own rules are reset up to it, then the session ends', async () => {
    const east = await serving({ invalidFrames: 10 });
    const peer = await session(east);
    const bad = (stream: number): Buffer => connectFrame(stream, `${web}\u0000`);
    peer.send(...Array.from({ length: 9 }, (_, index) => bad(index * 2 + 1)), connectFrame(101, web));
    await until('the answer to the good one', () =>
      peer.frames().some(({ type, stream }) => type === frameType.headers && stream === 101),
    );
    peer.send(...Array.from({ length: 10 }, (_, index) => bad(index * 2 + 103)));
    await peer.closed;
    await counts(east, 'session-protocol', 1);
  });

  it('attempts: no more candidates are tried, and the log says how many were', async () => {
    const west = await start('west', { attempts: 2 });
    const importPort = await freePort();
    const nobody = [await freePort(), await freePort(), await freePort()];
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort, local: nobody })], []));
    await until('the import port', () => west.gateway.importPorts().size === 1);
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    await until('the entry', () => west.access.length === 1);
    const [entry] = west.access;
    assert.deepEqual([entry?.response_flags, entry?.upstream_request_attempt_count], ['URX', 2]);
  });

  /** A gateway that never answers a CONNECT to either of two services, both of which are out of use for it. */
  async function deafGateway(limits: object): Promise<{ readonly west: Node; readonly deaf: RawGateway }> {
    const identity = ca.issue(gatewayId('east', 'gw0'));
    const deaf = await startRawGateway({ identity, greeting: serverHello }, ca.anchor);
    raws.push(deaf);
    const west = await start('west', { connectTimeoutMs: 50, connectDeadlineMs: 100, probeInitialMs: 1, ...limits });
    const services = [await freePort(), await freePort()].map((importPort, index) => {
      const service = `shop/deaf${index}`;
      return { ...serviceRoute({ self: 'west', service, importPort, remote: ['east'], exported: false }) };
    });
    west.table.set(tableOf(west, services, [clusterRoute([await start('east', {})], deaf.port)]));
    await linksUp(west, 1);
    await until('the import ports', () => west.gateway.importPorts().size === 2);
    const outOfUse = (): number => west.log.filter(({ message }) => message === 'out of use').length;
    const deadline = performance.now() + 20_000;
    while (outOfUse() < 2 && performance.now() < deadline) {
      for (const importPort of west.gateway.importPorts().values()) await exchange(importPort, 'x');
    }
    assert.equal(outOfUse(), 2);
    return { west, deaf };
  }

  it('probesAtOnce: one more waits', async () => {
    const { west, deaf } = await deafGateway({ probesAtOnce: 1, probeTimeoutMs: 60_000 });
    await shows(west, 'probesAtOnce', { used: 1, of: 1 });
    const connects = answersOf(deaf, frameType.headers);
    await sleep(1000);
    assert.equal(answersOf(deaf, frameType.headers), connects, 'the other one is not probed meanwhile');
  });

  it('probeTimeout: a probe is given up, and the next one begins', async () => {
    const { deaf } = await deafGateway({ probesAtOnce: 1, probeTimeoutMs: 50, probeMaxMs: 10 });
    const given = answersOf(deaf, frameType.rstStream);
    await until('probes to be given up', () => answersOf(deaf, frameType.rstStream) >= given + 4);
  });

  it('clusterProbeInterval: clusters without traffic are looked at so often', async () => {
    const identity = ca.issue(gatewayId('east', 'gw0'));
    const unused = await startRawGateway({ identity, greeting: serverHello }, ca.anchor);
    raws.push(unused);
    const west = await start('west', { clusterProbeIntervalMs: 100 });
    west.table.set(tableOf(west, [], [clusterRoute([west]), clusterRoute([await start('east', {})], unused.port)]));
    // With the default it would take more than 30 s.
    await until('five probes', () => answersOf(unused, frameType.headers) >= 5);
  });
});

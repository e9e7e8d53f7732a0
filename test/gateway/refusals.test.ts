import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { errorCode, frame, frameType, uint32 } from './support/frames.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { connectFrame, dialRaw, hello } from './support/raw-peer.ts';

const authority = (service: string, port = 80): string => `${service}.shop.svc.clusterset.local:${port}`;

describe('the HBONE server', () => {
  let ca: TestCa;
  let east: Node;
  let backend: Backend;
  let session: ClientHttp2Session;

  /** A session with any identity, as a foreign or hostile peer would open it. */
  async function dial(id: string, alpn = 'h2'): Promise<ClientHttp2Session> {
    const { socket } = await dialTls({
      host: '127.0.0.1',
      port: east.gateway.hbonePort,
      context: secureContextOf({ identity: ca.issue(id), anchors: [ca.anchor] }),
      alpn: [alpn],
      check: () => undefined,
      timeoutMs: 2000,
    });
    return connectHttp2('http://east', { createConnection: () => socket }).on('error', () => undefined);
  }

  /** Status and reason that one CONNECT is answered with. */
  async function ask(to: string, headers: Record<string, string> = {}): Promise<string> {
    const stream = session.request({ ':method': 'CONNECT', ':authority': to, ...headers }, { endStream: false });
    const [answer] = (await once(stream, 'response')) as [Record<string, string>];
    stream
      .on('error', () => undefined)
      .resume()
      .end();
    return [answer[':status'], answer['x-isthmus-reason']].filter((part) => part !== undefined).join(' ');
  }

  before(async () => {
    ca = createTestCa();
    east = await startNode('east', { ca, clusters: ['west', 'east'], limits: { connections: 3 } });
    backend = await startBackend(echo);
    east.table.set(
      tableOf(
        east,
        [
          serviceRoute({ self: 'east', local: [backend.port] }),
          serviceRoute({ self: 'east', service: 'shop/private', exported: false, local: [backend.port] }),
          serviceRoute({ self: 'east', service: 'shop/guarded', allow: 'policy', local: [backend.port] }),
          serviceRoute({ self: 'east', service: 'shop/empty' }),
          serviceRoute({ self: 'east', service: 'shop/away', remote: ['west'] }),
          serviceRoute({ self: 'east', service: 'shop/round', local: [east.gateway.hbonePort] }),
        ],
        [],
      ),
    );
    session = await dial(gatewayId('west', 'gw0'));
  });

  after(async () => {
    session.destroy();
    await Promise.all([east.gateway.close(), backend.close()]);
    ca.close();
  });

  const cases: readonly [string, string, Record<string, string>, string][] = [
    ['an exported service', authority('web'), {}, '200'],
    ['an unknown service', authority('nothing'), {}, '404 not-exported'],
    ['a service that is not exported, just as an unknown one', authority('private'), {}, '404 not-exported'],
    ['a service that only a policy could allow', authority('guarded'), {}, '403 denied'],
    ['a port that the service has not', authority('web', 81), {}, '404 unknown-port'],
    ['an address with the port of a real endpoint', '127.0.0.1:80', {}, '403 address-authority'],
    ['an IPv6 address', '[::1]:80', {}, '403 address-authority'],
    ['a name outside the clusterset', 'web.shop.svc.cluster.local:80', {}, '400 malformed'],
    ['a request that has passed a gateway', authority('web'), { 'x-isthmus-hop': '1' }, '508 loop'],
    ['a service without endpoints', authority('empty'), {}, '503 no-ready-endpoint'],
    ['a service that only another cluster has', authority('away'), {}, '503 no-ready-endpoint'],
    ['an endpoint that is this gateway itself', authority('round'), {}, '503 no-ready-endpoint'],
  ];
  for (const [what, to, headers, expected] of cases) {
    it(`answers ${expected} for ${what}`, async () => {
      assert.equal(await ask(to, headers), expected);
    });
  }

  it('answers 400 to anything but CONNECT', async () => {
    const stream = session.request({ ':method': 'GET', ':path': '/', ':authority': authority('web') });
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    stream.resume();
    assert.equal(answer[':status'], 400);
  });

  it('answers overloaded beyond its limit of connections, and serves again below it', async () => {
    await quiet(east);
    const open = Array.from({ length: 3 }, () =>
      session.request({ ':method': 'CONNECT', ':authority': authority('web') }, { endStream: false }),
    );
    await Promise.all(open.map((stream) => once(stream, 'response')));
    assert.equal(await ask(authority('web')), '503 overloaded');
    for (const stream of open) stream.on('error', () => undefined).close(constants.NGHTTP2_CANCEL);
    await until('them to end', () => backend.connections.size === 0);
    assert.equal(await ask(authority('web')), '200');
  });

  it('survives thousands of resets without giving up the session', async () => {
    for (let round = 0; round < 30; round += 1) {
      const streams = Array.from({ length: 100 }, () =>
        session.request({ ':method': 'CONNECT', ':authority': authority('nothing') }, { endStream: false }),
      );
      const closed = streams.map((stream) =>
        once(
          stream.on('error', () => undefined),
          'close',
        ),
      );
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      await Promise.all(closed);
    }
    assert.equal(await ask(authority('web')), '200');
  });

  it('passes on the reset of a foreign peer that cancels, which Node shows like a clean end', async () => {
    await quiet(east);
    const peer = await dialRaw(east.gateway.hbonePort, ca.issue(gatewayId('west', 'foreign')), ca.anchor);
    peer.send(hello, connectFrame(1, authority('web')), frame(frameType.data, 0, 1, Buffer.from('some')));
    await until('the backend to be connected', () => backend.connections.size === 1);
    const [connection] = backend.connections;
    assert.ok(connection);
    const failed = once(connection, 'error');
    peer.send(frame(frameType.rstStream, 0, 1, uint32(errorCode.cancel)));
    const [error] = (await failed) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ECONNRESET');
    peer.socket.destroy();
  });

  const strangers = [
    ['an agent', 'spiffe://west.mesh.test/isthmus/agent/a0'],
    ['a gateway of no member', 'spiffe://other.example/isthmus/gateway/gw0'],
  ] as const;
  for (const [what, id] of strangers) {
    it(`refuses the session of ${what}`, async () => {
      const stranger = await dial(id);
      await once(stranger, 'close');
      assert.equal(stranger.destroyed, true);
    });
  }

  it('serves a workload that comes by itself, as itself and whatever it asserts', async () => {
    const own = 'spiffe://west.mesh.test/ns/shop/sa/cart';
    const workload = await dial(own);
    const headers = { 'x-isthmus-source-identity': 'spiffe://west.mesh.test/ns/shop/sa/admin' };
    const stream = workload.request(
      { ':method': 'CONNECT', ':authority': authority('web'), ...headers },
      { endStream: false },
    );
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    assert.equal(answer[':status'], 200);
    stream.resume().end();
    await until('the entry', () => east.access.at(-1)?.peer_identity === own);
    assert.equal(east.access.at(-1)?.source_identity, own);
    workload.close();
  });

  it('answers a probe with what it carries, and opens nothing', async () => {
    const before = east.access.length;
    const stream = session.request({ ':method': 'OPTIONS', ':scheme': 'https', ':path': '*' });
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    stream.resume();
    assert.deepEqual([answer[':status'], answer['x-isthmus-load']], [204, '0']);
    assert.equal(east.access.length, before);
  });

  it('refuses another protocol in the handshake', async () => {
    await assert.rejects(dial(gatewayId('west', 'gw0'), 'http/1.1'), { name: 'IsthmusError' });
  });

  it('goes on after bytes that are no TLS at all, and logs a peer once', async () => {
    for (let round = 0; round < 5; round += 1) {
      const socket = connectTcp(east.gateway.hbonePort, '127.0.0.1').on('error', () => undefined);
      socket.end('GET / HTTP/1.1\r\n\r\n').resume();
      await once(socket, 'close');
    }
    assert.equal(await ask(authority('web')), '200');
    assert.ok(east.log.filter(({ message }) => message === 'a peer was refused').length <= 2);
  });

  it('ends the sessions of a peer that is no longer trusted, with its streams', async () => {
    const doomed = await dial(gatewayId('west', 'gw9'));
    const stream = doomed.request({ ':method': 'CONNECT', ':authority': authority('web') }, { endStream: false });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    east.verifier.distrusted.add(gatewayId('west', 'gw9'));
    const { current } = east.trust;
    assert.ok(current);
    east.trust.set({ ...current });
    await once(doomed, 'close');
    assert.equal(await ask(authority('web')), '200', 'other sessions go on');
  });
});

describe('the session pool', () => {
  it('refuses a server that is a gateway of another cluster than intended', async () => {
    const ca = createTestCa();
    const options = { ca, clusters: ['west', 'east', 'south'] };
    const [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    try {
      // South's route leads to east's gateway.
      const wrong = { ...clusterRoute([east]), name: 'south' as Node['name'] };
      west.table.set(tableOf(west, [], [clusterRoute([east]), wrong]));
      await linksUp(west, 1);
      await until('the wrong one to be refused', () =>
        west.gateway.report().links.some((link) => /must be a gateway of cluster 'south'/.test(link.reason ?? '')),
      );
      assert.deepEqual(
        west.gateway.report().links.map(({ cluster, up }) => [cluster, up]),
        [
          ['east', true],
          ['south', false],
        ],
      );
    } finally {
      await Promise.all([west.gateway.close(), east.gateway.close()]);
      ca.close();
    }
  });
});

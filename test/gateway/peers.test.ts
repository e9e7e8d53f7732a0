import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { limitsOf } from '../../src/gateway/limits.ts';
import { Handshakes } from '../../src/gateway/tunnel/handshakes.ts';
import { PeerGuard, SessionGuard } from '../../src/gateway/tunnel/session-guard.ts';
import { tooMuch } from '../../src/gateway/tunnel/too-much.ts';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { type Node, serviceRoute, startNode, tableOf } from './support/mesh.ts';
import { limitOf } from './support/scrape.ts';

describe('tooMuch', () => {
  const peers = ['a', 'b'].map((name) => parseSpiffeId(gatewayId('west', name)));

  it('leaves what is within bounds, and brings the rest there by as few as possible', () => {
    const holder = fc.record({ peer: fc.constantFrom(undefined, ...peers), bytes: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(fc.array(holder), fc.nat(500), fc.nat(300), (drawn, total, perPeer) => {
        const holders = drawn.map((one, index) => ({ ...one, holder: index }));
        const shed = tooMuch(holders, { total, perPeer });
        const left = holders.filter(({ holder: index }) => !shed.has(index));
        const sum = (of: typeof left): number => of.reduce((bytes, one) => bytes + one.bytes, 0);
        assert.ok(sum(left) <= total);
        for (const peer of peers) assert.ok(sum(left.filter((one) => one.peer === peer)) <= perPeer);
        if (
          sum(holders) <= total &&
          peers.every((peer) => sum(holders.filter((one) => one.peer === peer)) <= perPeer)
        ) {
          assert.equal(shed.size, 0);
        }
      }),
    );
  });

  it('takes those that hold most', () => {
    const holders = [10, 50, 20].map((bytes) => ({ holder: bytes, peer: undefined, bytes }));
    assert.deepEqual([...tooMuch(holders, { total: 40, perPeer: 1 })], [50]);
  });
});

describe('Handshakes', () => {
  const { handshakes, handshakesPerAddress } = { handshakes: 12, handshakesPerAddress: 4 };
  const waiting = <T>(): Handshakes<T> => new Handshakes<T>({ handshakes, handshakesPerAddress });

  it('lets the oldest of a crowded address go', () => {
    const crowd = waiting<number>();
    for (let index = 0; index < handshakesPerAddress; index += 1)
      assert.equal(crowd.enter('10.0.0.1', index), undefined);
    assert.equal(crowd.enter('10.0.0.2', 1000), undefined);
    assert.deepEqual([crowd.size, crowd.mostOfOneAddress], [5, 4]);
    assert.deepEqual(crowd.enter('10.0.0.1', 4), { connection: 0, address: '10.0.0.1', limit: 'handshakesPerAddress' });
    assert.equal(crowd.leave('10.0.0.1', 0), false, 'had to go');
    assert.equal(crowd.leave('10.0.0.1', 1), true);
    assert.equal(crowd.enter('10.0.0.1', 5), undefined);
    assert.deepEqual([crowd.size, crowd.mostOfOneAddress], [5, 4]);
  });

  it('takes from the address that has most when there is no room at all', () => {
    const crowd = waiting<string>();
    for (const [host, count] of [3, 4, 3, 2].entries()) {
      for (let index = 0; index < count; index += 1)
        assert.equal(crowd.enter(`10.0.0.${host}`, `${host}/${index}`), undefined);
    }
    assert.deepEqual(crowd.enter('10.0.1.1', 'peer'), { connection: '1/0', address: '10.0.0.1', limit: 'handshakes' });
    assert.equal(crowd.size, handshakes);
  });
});

describe('SessionGuard and PeerGuard', () => {
  const bounds = limitsOf();

  it('let a sound peer do what it does for ever', () => {
    const [session, peer] = [new SessionGuard(bounds, 0), new PeerGuard(bounds, 10)];
    for (let now = 0; now < 600_000; now += 10) {
      assert.equal(peer.abandoned('sound', now), undefined);
      if (now % 50 === 0) assert.equal(session.control(now), undefined);
    }
    assert.equal(peer.shuns('sound', 600_000), false);
  });

  it('say what a peer has become too much of, at the edge of each bound', () => {
    const session = new SessionGuard({ ...bounds, controlFrameBurst: 5 }, 0);
    const peer = new PeerGuard({ ...bounds, resetBurst: 20, resetsPerSecond: 10 }, 10);
    for (let index = 0; index < 20; index += 1) assert.equal(peer.abandoned('one', 0), undefined);
    assert.equal(peer.abandoned('one', 0), 'rapid-reset');
    assert.equal(peer.abandoned('another', 0), undefined);
    for (let index = 0; index < 10; index += 1) assert.equal(peer.abandoned('one', 1000), undefined);
    assert.equal(peer.abandoned('one', 1000), 'rapid-reset');
    const own = new SessionGuard({ ...bounds, resetBurst: 2 }, 0);
    assert.deepEqual([own.abandoned(0), own.abandoned(0), own.abandoned(0)], [undefined, undefined, 'rapid-reset']);
    for (let index = 0; index < 5; index += 1) assert.equal(session.control(0), undefined);
    assert.equal(session.control(0), 'control-flood');
  });

  it('shun a peer that was cut off until it was quiet for half its allowance, and no other', () => {
    const peer = new PeerGuard({ ...bounds, resetBurst: 20, resetsPerSecond: 10 }, 10);
    while (peer.abandoned('bad', 0) === undefined);
    while (peer.abandoned('poor', 0) === undefined);
    assert.deepEqual([peer.shuns('bad', 999), peer.shuns('good', 999)], [true, false]);
    assert.deepEqual([peer.shuns('bad', 1100), peer.shuns('bad', 1100)], [false, false]);
    assert.equal(peer.abandoned('poor', 1000), undefined);
    assert.equal(peer.shuns('poor', 1100), true);
  });

  it('forget whom they shun beyond their bound', () => {
    const peer = new PeerGuard({ ...bounds, resetBurst: 1, resetsPerSecond: 1 }, 3);
    for (const name of ['a', 'b', 'c', 'd']) while (peer.abandoned(name, 0) === undefined);
    assert.deepEqual(
      ['a', 'd'].map((name) => peer.shuns(name, 0)),
      [false, true],
    );
  });
});

describe('uploads that their receiver does not take', () => {
  const perPeer = 3 << 20;
  let ca: TestCa;
  let east: Node;
  let stalled: Backend;
  let backend: Backend;

  before(async () => {
    ca = createTestCa();
    const limits = { receiveBudgetBytes: 64 << 20, receiveBudgetPerPeerBytes: perPeer };
    east = await startNode('east', { ca, clusters: ['west', 'east'], limits, metrics: true });
    stalled = await startBackend((socket) => void socket.pause());
    backend = await startBackend(echo);
    east.table.set(
      tableOf(
        east,
        [
          serviceRoute({ self: 'east', local: [backend.port] }),
          serviceRoute({ self: 'east', service: 'shop/stalled', local: [stalled.port] }),
        ],
        [],
      ),
    );
  });

  after(async () => {
    await Promise.all([east.gateway.close(), backend.close(), stalled.close()]);
    ca.close();
  });

  async function session(name: string): Promise<ClientHttp2Session> {
    const { socket } = await dialTls({
      host: '127.0.0.1',
      port: east.gateway.hbonePort,
      context: secureContextOf({ identity: ca.issue(gatewayId('west', name)), anchors: [ca.anchor] }),
      alpn: ['h2'],
      check: () => undefined,
      timeoutMs: 2000,
    });
    return connectHttp2('http://east', { createConnection: () => socket, maxSessionMemory: 1000 }).on(
      'error',
      () => undefined,
    );
  }

  async function connect(
    over: ClientHttp2Session,
    service: string,
  ): Promise<{ stream: ClientHttp2Stream; status: number }> {
    const headers = { ':method': 'CONNECT', ':authority': `${service}.shop.svc.clusterset.local:80` };
    const stream = over.request(headers, { endStream: false }).on('error', () => undefined);
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    return { stream, status: Number(answer[':status']) };
  }

  it('are bounded: their peer is refused, the ones that hold most are cut, another peer is served', async () => {
    const [slow, other] = await Promise.all([session('slow'), session('other')]);
    const uploads = await Promise.all(Array.from({ length: 8 }, () => connect(slow, 'stalled')));
    const closed = uploads.map(
      ({ stream }) => new Promise<number>((resolve) => void stream.once('close', () => resolve(stream.rstCode ?? 0))),
    );
    for (const { stream } of uploads) stream.write(Buffer.alloc(24 << 20));
    const deadline = performance.now() + 20_000;
    while ((await connect(slow, 'web')).status !== 503) {
      assert.ok(performance.now() < deadline, 'the peer is refused');
      await sleep(20);
    }
    assert.equal((await connect(other, 'web')).status, 200, 'another peer is served meanwhile');
    const codes = await Promise.race([Promise.any(closed), sleep(20_000, undefined, { ref: false })]);
    assert.ok(codes !== undefined && codes !== 0, 'an upload was reset, not ended');
    const held = async (): Promise<number> => (await limitOf(east, 'receiveBudgetBytes')).used ?? Number.NaN;
    while ((await held()) > perPeer && performance.now() < deadline) await sleep(50);
    assert.ok((await held()) <= perPeer, 'what is held has come within bounds');
    assert.equal((await connect(other, 'web')).status, 200);
    slow.destroy();
    other.destroy();
  });
});

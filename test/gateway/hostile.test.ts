import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import type { Svid } from '../../src/model/trust.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { openDescriptors } from '../support/leak.ts';
import { errorCode, fields, flag, frame, frameType, preface, settings, uint32 } from './support/frames.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { connectFrame, dialRaw, goawayCode, hello, type RawPeer, resetCode } from './support/raw-peer.ts';
import { limitOf, refused } from './support/scrape.ts';

const web = 'web.shop.svc.clusterset.local:80';
const spring = 'spring.shop.svc.clusterset.local:80';

/** Gives 1 MiB and ends when asked by any byte. */
const springBytes = 1 << 20;

describe('a hostile peer', () => {
  let ca: TestCa;
  let east: Node;
  let backend: Backend;
  let source: Backend;
  let good: ClientHttp2Session;
  /** A tunnel of another peer that lives through everything. */
  let tunnel: ClientHttp2Stream;
  let attacker: Svid;

  before(async () => {
    ca = createTestCa();
    attacker = ca.issue(gatewayId('west', 'attacker'));
    east = await startNode('east', {
      ca,
      clusters: ['west', 'east'],
      metrics: true,
      limits: { inboundSilenceMs: 1500, idlePingIntervalMs: 300, handshakeTimeoutMs: 1500 },
    });
    backend = await startBackend(echo);
    source = await startBackend((socket) => void socket.once('data', () => socket.end(Buffer.alloc(springBytes, 7))));
    east.table.set(
      tableOf(
        east,
        [
          serviceRoute({ self: 'east', local: [backend.port] }),
          serviceRoute({ self: 'east', service: 'shop/spring', local: [source.port] }),
        ],
        [],
      ),
    );
    const { socket } = await dialTls({
      host: '127.0.0.1',
      port: east.gateway.hbonePort,
      context: secureContextOf({ identity: ca.issue(gatewayId('west', 'good')), anchors: [ca.anchor] }),
      alpn: ['h2'],
      check: () => undefined,
      timeoutMs: 2000,
    });
    good = connectHttp2('http://east', { createConnection: () => socket });
    tunnel = await connected();
  });

  after(async () => {
    good.destroy();
    await Promise.all([east.gateway.close(), backend.close(), source.close()]);
    ca.close();
  });

  const dial = (identity: Svid = attacker): Promise<RawPeer> => dialRaw(east.gateway.hbonePort, identity, ca.anchor);

  async function connected(): Promise<ClientHttp2Stream> {
    const stream = good.request({ ':method': 'CONNECT', ':authority': web }, { endStream: false });
    const [answer] = (await once(
      stream.on('error', () => undefined),
      'response',
    )) as [Record<string, unknown>];
    assert.equal(answer[':status'], 200);
    return stream;
  }

  async function echoes(stream: ClientHttp2Stream): Promise<void> {
    stream.write('still here');
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'still here');
  }

  /** Another peer's tunnel goes on, and it gets new ones. */
  async function othersUnaffected(): Promise<void> {
    await echoes(tunnel);
    const fresh = await connected();
    await echoes(fresh);
    fresh.end().resume();
    await once(fresh, 'close');
  }

  /** How often `reason` is counted while `act` runs. */
  async function counted(reason: string, act: () => Promise<unknown>): Promise<number> {
    const earlier = await refused(east, reason);
    await act();
    return (await refused(east, reason)) - earlier;
  }

  const repeat = (count: number, make: (index: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
  const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8));
  const reset = (stream: number): Buffer => frame(frameType.rstStream, 0, stream, uint32(errorCode.cancel));

  interface Attack {
    readonly what: string;
    readonly bytes: () => Buffer;
    /** Of the GOAWAY; undefined: none is asked for. */
    readonly code: number | undefined;
    readonly reason: string;
    readonly flood?: boolean;
    /** Whoever does it gets no session for a while. */
    readonly shunned?: boolean;
  }
  const attacks: readonly Attack[] = [
    {
      what: 'rapid resets (CVE-2023-44487)',
      bytes: () => repeat(30_000, (index) => Buffer.concat([connectFrame(index * 2 + 1, web), reset(index * 2 + 1)])),
      code: errorCode.enhanceYourCalm,
      reason: 'rapid-reset',
      flood: true,
      shunned: true,
    },
    {
      what: 'a flood of pings',
      bytes: () => repeat(3000, () => ping),
      code: errorCode.enhanceYourCalm,
      reason: 'control-flood',
      flood: true,
    },
    {
      what: 'a flood of settings',
      bytes: () => repeat(3000, () => settings([[3, 100]])),
      code: errorCode.enhanceYourCalm,
      reason: 'control-flood',
      flood: true,
    },
    {
      what: 'a flood of continuations (CVE-2024-27316)',
      bytes: () =>
        Buffer.concat([
          frame(frameType.headers, 0, 1, fields([[':method', 'CONNECT']])),
          repeat(2000, (index) => frame(frameType.continuation, 0, 1, fields([[`x-${index}`, 'y'.repeat(500)]]))),
        ]),
      code: undefined,
      reason: 'session-protocol',
    },
    {
      what: 'a zero increment of the session window',
      bytes: () => frame(frameType.windowUpdate, 0, 0, uint32(0)),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'an overflow of the session window',
      bytes: () => repeat(2, () => frame(frameType.windowUpdate, 0, 0, uint32(0x7fff_ffff))),
      code: errorCode.flowControl,
      reason: 'session-protocol',
    },
    {
      what: 'a stream window that does not exist',
      bytes: () => settings([[4, 0x8000_0000]]),
      code: errorCode.flowControl,
      reason: 'session-protocol',
    },
    {
      what: 'a window update for a stream that was never opened',
      bytes: () => frame(frameType.windowUpdate, 0, 7, uint32(1)),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'data before headers',
      bytes: () => frame(frameType.data, 0, 1, Buffer.from('x')),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'a stream id that belongs to the server',
      bytes: () => connectFrame(2, web),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'headers on stream 0',
      bytes: () => connectFrame(0, web),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'a frame larger than was agreed',
      bytes: () => frame(frameType.data, 0, 1, Buffer.alloc(16_385)),
      code: errorCode.frameSize,
      reason: 'session-protocol',
    },
    {
      what: 'a ping of the wrong length',
      bytes: () => frame(frameType.ping, 0, 0, Buffer.alloc(7)),
      code: errorCode.frameSize,
      reason: 'session-protocol',
    },
    {
      what: 'a push promise',
      bytes: () => frame(frameType.pushPromise, flag.endHeaders, 1, uint32(2)),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'a continuation of nothing',
      bytes: () => frame(frameType.continuation, flag.endHeaders, 1, fields([['a', 'b']])),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
    {
      what: 'headers that cannot be decompressed',
      bytes: () => frame(frameType.headers, flag.endHeaders, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])),
      code: errorCode.compression,
      reason: 'session-protocol',
    },
    {
      what: 'more padding than data',
      bytes: () =>
        Buffer.concat([connectFrame(1, web), frame(frameType.data, flag.padded, 1, Buffer.from([200, 1, 2]))]),
      code: errorCode.protocol,
      reason: 'session-protocol',
    },
  ];
  for (const { what, bytes, code, reason, flood = false, shunned = false } of attacks) {
    it(`is cut off for ${what}, and nobody else is`, { timeout: 60_000 }, async () => {
      const identity = shunned ? ca.issue(gatewayId('west', 'shunned')) : attacker;
      const count = await counted(reason, async () => {
        const peer = await dial(identity);
        peer.send(hello, bytes());
        const frames = await peer.closed;
        // The answer to a flood may be lost with what of the flood was never read.
        const said = goawayCode(frames);
        if (code !== undefined && !(flood && said === undefined)) assert.equal(said, code);
      });
      assert.equal(count, 1, `counted under ${reason}`);
      await othersUnaffected();
      if (!shunned) return;
      const again = await counted(reason, async () => (await dial(identity)).closed);
      assert.equal(again, 1, 'another session is refused');
    });
  }

  it('is cut off for sending something else than HTTP/2', async () => {
    assert.equal(
      await counted('session-protocol', async () => {
        const peer = await dial();
        peer.send(Buffer.from('GET / HTTP/1.1\r\nhost: east\r\n\r\n'));
        await peer.closed;
      }),
      1,
    );
    await othersUnaffected();
  });

  it('was logged once, not once per attack', () => {
    const lines = east.log.filter(({ fields: said }) => 'address' in said && said.address === attacker.id);
    assert.equal(lines.length, 1);
  });

  const malformed: readonly (readonly [what: string, block: Buffer])[] = [
    [
      'with a path',
      fields([
        [':method', 'CONNECT'],
        [':authority', web],
        [':path', '/'],
      ]),
    ],
    [
      'with a scheme',
      fields([
        [':method', 'CONNECT'],
        [':scheme', 'https'],
        [':authority', web],
      ]),
    ],
    ['without an authority', fields([[':method', 'CONNECT']])],
    [
      'with two authorities',
      fields([
        [':method', 'CONNECT'],
        [':authority', web],
        [':authority', web],
      ]),
    ],
    [
      'with an unknown pseudo-header',
      fields([
        [':method', 'CONNECT'],
        [':authority', web],
        [':x', 'y'],
      ]),
    ],
    [
      'with a pseudo-header after others',
      fields([
        [':method', 'CONNECT'],
        ['a', 'b'],
        [':authority', web],
      ]),
    ],
    [
      'with an upper-case name',
      fields([
        [':method', 'CONNECT'],
        [':authority', web],
        ['Forwarded', 'x'],
      ]),
    ],
    [
      'with a connection header',
      fields([
        [':method', 'CONNECT'],
        [':authority', web],
        ['connection', 'close'],
      ]),
    ],
  ];
  for (const [what, block] of malformed) {
    it(`has a CONNECT ${what} reset, and only that`, async () => {
      const peer = await dial();
      try {
        peer.send(hello, frame(frameType.headers, flag.endHeaders, 1, block), connectFrame(3, web));
        await until('the good stream to be answered', () =>
          peer.frames().some(({ type, stream }) => type === frameType.headers && stream === 3),
        );
        assert.equal(resetCode(peer.frames(), 1), errorCode.protocol);
        // The backend cannot be asked: connections of the floods above may still be arriving there.
        assert.equal(
          peer.frames().some(({ type, stream }) => type === frameType.headers && stream === 1),
          false,
        );
      } finally {
        peer.socket.destroy();
      }
    });
  }

  it('has header values with line breaks or zero bytes left out, not passed on', async () => {
    const peer = await dial();
    const bad = ['b\r\nx-isthmus-hop: 1', '1\0'];
    for (const [index, value] of bad.entries()) {
      const block = fields([
        [':method', 'CONNECT'],
        [':authority', web],
        ['x-isthmus-hop', value],
      ]);
      peer.send(index === 0 ? hello : Buffer.alloc(0), frame(frameType.headers, flag.endHeaders, index * 2 + 1, block));
    }
    await until(
      'both to be answered',
      () => peer.frames().filter(({ type }) => type === frameType.headers).length === 2,
    );
    assert.equal(goawayCode(peer.frames()), undefined);
    peer.socket.destroy();
  });

  it('has a CONNECT with too many headers refused, and only that', async () => {
    const peer = await dial();
    const big = fields([
      [':method', 'CONNECT'],
      [':authority', web],
      ...Array.from({ length: 30 }, (_, index): [string, string] => [`x-${index}`, 'y'.repeat(500)]),
      ['x-last', 'y'.repeat(1000)],
    ]);
    peer.send(hello, frame(frameType.headers, flag.endHeaders, 1, big), connectFrame(3, web));
    await until('the good stream to be answered', () =>
      peer.frames().some(({ type, stream }) => type === frameType.headers && stream === 3),
    );
    assert.notEqual(resetCode(peer.frames(), 1), undefined);
    peer.socket.destroy();
  });

  it('has requests that are no CONNECT answered, counted and logged with what they lack', async () => {
    const count = await counted('malformed', async () => {
      const peer = await dial();
      const block = fields([
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/'],
        [':authority', web],
      ]);
      peer.send(hello, frame(frameType.headers, flag.endHeaders | flag.endStream, 1, block));
      await until('an answer', () => peer.frames().some(({ type }) => type === frameType.headers));
      peer.socket.destroy();
    });
    assert.equal(count, 1);
  });

  it('may say goodbye as often as it likes', async () => {
    const peer = await dial();
    const goaway = frame(frameType.goaway, 0, 0, Buffer.concat([uint32(0), uint32(errorCode.none)]));
    peer.send(
      hello,
      repeat(2000, () => goaway),
    );
    await peer.closed;
    await othersUnaffected();
  });

  it('gets its bytes one by one if its window is one byte', async () => {
    const peer = await dial();
    peer.send(preface, settings([[4, 1]]), connectFrame(1, spring), frame(frameType.data, 0, 1, Buffer.from('x')));
    const data = (): Buffer =>
      Buffer.concat(
        peer
          .frames()
          .filter(({ type }) => type === frameType.data)
          .map(({ payload }) => payload),
      );
    for (let got = 1; got <= 20; got += 1) {
      await until(`byte ${got}`, () => data().length === got);
      peer.send(frame(frameType.windowUpdate, 0, 1, uint32(1)));
    }
    assert.deepEqual(data(), Buffer.alloc(data().length, 7));
    await othersUnaffected();
    peer.socket.destroy();
  });

  it('that never reads, nor answers pings, loses its session', async () => {
    assert.equal(
      await counted('session-silent', async () => {
        const peer = await dial();
        peer.socket.pause();
        const opening = repeat(20, (index) =>
          Buffer.concat([
            connectFrame(index * 2 + 1, spring),
            frame(frameType.data, 0, index * 2 + 1, Buffer.from('x')),
            frame(frameType.windowUpdate, 0, index * 2 + 1, uint32(springBytes)),
          ]),
        );
        peer.send(hello, frame(frameType.windowUpdate, 0, 0, uint32(0x7000_0000)), opening);
        await until('the backend to be asked', () => source.connections.size > 0);
        await othersUnaffected();
        await until('its connections to be cut', () => source.connections.size === 0);
        peer.socket.destroy();
      }),
      1,
    );
  });

  it('does not stop others with 300 downloads that it does not read', async () => {
    const peer = await dial();
    // The streams' windows are open, the session's is not: everything waits in the gateway.
    const opening = repeat(300, (index) =>
      Buffer.concat([connectFrame(index * 2 + 1, spring), frame(frameType.data, 0, index * 2 + 1, Buffer.from('x'))]),
    );
    peer.send(hello, opening);
    const answered = (stream: number): boolean =>
      peer.frames().some((one) => one.type === frameType.headers && one.stream === stream);
    await until('all to be answered', () => answered(599));
    const deadline = performance.now() + 20_000;
    const waits = async (): Promise<number> => (await limitOf(east, 'receiveBudgetBytes')).used ?? 0;
    while ((await waits()) < 32 << 20 && performance.now() < deadline) await sleep(100);
    assert.ok((await waits()) >= 32 << 20, 'what is not read waits');
    peer.send(connectFrame(601, web));
    await until('a further stream of the same session to be answered', () => answered(601));
    assert.equal(goawayCode(peer.frames()), undefined, 'the session goes on');
    await othersUnaffected();
    peer.socket.destroy();
    await until('the backend to be let go', () => source.connections.size === 0);
  });

  describe('before HTTP/2', () => {
    const connectOnly = (): Socket => connectTcp(east.gateway.hbonePort, '127.0.0.1').on('error', () => undefined);

    it('is refused without a certificate', async () => {
      const count = await counted('handshake-unauthenticated', async () => {
        const options = {
          port: east.gateway.hbonePort,
          host: '127.0.0.1',
          ALPNProtocols: ['h2'],
          rejectUnauthorized: false,
        };
        const socket = connectTls(options)
          .on('error', () => undefined)
          .resume();
        await once(socket, 'close');
      });
      assert.equal(count, 1);
    });

    it('is refused without ALPN', async () => {
      const context = secureContextOf({ identity: attacker, anchors: [ca.anchor] });
      const count = await counted('handshake-alpn', async () => {
        const options = {
          port: east.gateway.hbonePort,
          host: '127.0.0.1',
          secureContext: context,
          rejectUnauthorized: false,
        };
        const socket = connectTls(options)
          .on('error', () => undefined)
          .resume();
        await once(socket, 'close');
      });
      assert.equal(count, 1);
    });

    it('is refused for half a ClientHello', async () => {
      const count = await counted('handshake-unavailable', async () => {
        const socket = connectOnly().resume();
        // RFC 8446 §5.1: a handshake record that promises more than it holds.
        socket.end(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]));
        await once(socket, 'close');
      });
      assert.equal(count, 1);
    });

    it('gives way with 1,000 silent connections, and peers still come in', async () => {
      const earlier = openDescriptors();
      const silent = Array.from({ length: 1000 }, connectOnly);
      const gone = silent.map(
        (socket) => new Promise<void>((resolve) => void socket.resume().once('close', () => resolve())),
      );
      await until('them to be connected', () => silent.every((socket) => !socket.connecting));
      const peer = await dial();
      peer.send(hello, connectFrame(1, web));
      await until('an answer', () => peer.frames().some(({ type }) => type === frameType.headers));
      peer.socket.destroy();
      await othersUnaffected();
      await Promise.all(gone);
      const crowded = await refused(east, 'limit-handshakesPerAddress');
      const late = await refused(east, 'handshake-timeout');
      assert.ok(crowded >= 900, `${crowded} gave way`);
      assert.ok(late <= 64, `${late} were waited for`);
      if (earlier !== undefined)
        await until('descriptors to be given back', () => (openDescriptors() ?? 0) <= earlier + 2);
    });
  });
});

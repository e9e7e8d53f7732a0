import assert from 'node:assert/strict';
import { connect as connectHttp2, createServer } from 'node:http2';
import { describe, it, type TestContext } from 'node:test';
import { frame, frameType, settings, uint32 } from '../support/frames.ts';
import { serviceRoute, until } from '../support/mesh.ts';
import { type H2Front, startH2Front } from './support/h2-front.ts';
import { codeOf, headersFrame, onRequests, type RawH2, rawClient, rawServer, request } from './support/h2-raw.ts';
import { startPair } from './support/pair.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;

const allowed = 0x7fff_ffff;

/** Until nothing moves any more: all that the sockets in between hold is full. */
async function stuck(front: H2Front): Promise<void> {
  let last = { bytes: 0, at: performance.now() };
  await until('everything to be held back', () => {
    front.sweep();
    const bytes = front.buffered();
    if (bytes !== last.bytes) last = { bytes, at: performance.now() };
    return bytes > 0 && performance.now() - last.at > 500;
  });
}

/** Answers with more than all sockets hold. */
async function flood(t: TestContext): Promise<number> {
  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200 });
    stream.end(Buffer.alloc(40_000_000));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const bound = server.address();
  return bound && typeof bound === 'object' ? bound.port : 0;
}

/** Reads no more than the beginning of a large response. */
async function ear(t: TestContext, port: number): Promise<RawH2> {
  const client = await rawClient(port, [[4, allowed]]);
  t.after(() => void client.socket.destroy());
  client.send(frame(frameType.windowUpdate, 0, 0, uint32(allowed - 65_535)), headersFrame(1, request()));
  await client.frame(frameType.data, 1);
  client.socket.pause();
  return client;
}

/** A client that has asked for more than all sockets hold, and does not read it. */
async function deafClient(t: TestContext): Promise<H2Front> {
  const front = await startH2Front({ endpoints: [await flood(t)], appProtocol: 'h2c' });
  t.after(() => front.close());
  await ear(t, front.port);
  await stuck(front);
  return front;
}

/** Lets everything come, and reads nothing of it. */
async function deafServer(t: TestContext): Promise<number> {
  const server = await rawServer((session) => {
    session.send(settings([[4, allowed]]), frame(frameType.windowUpdate, 0, 0, uint32(allowed - 65_535)));
    onRequests(session, () => session.socket.pause());
  });
  t.after(() => server.close());
  return server.port;
}

/** More than all sockets hold. */
function upload(t: TestContext, port: number): void {
  const client = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => undefined);
  t.after(() => client.destroy());
  const stream = client.request({ ':method': 'POST', ':path': '/' }).on('error', () => undefined);
  stream.end(Buffer.alloc(40_000_000));
}

describe('a session that is ended ends its connection, whether its peer reads or not', () => {
  it('of a client that is cut', each, async (t) => {
    const front = await deafClient(t);
    assert.equal(front.open(), 1);
    front.cut();
    await until('its connection to end', () => front.open() === 0);
  });

  it('of a client that was idle for too long', each, async (t) => {
    const front = await deafClient(t);
    let now = performance.now();
    await until('its connection to end', () => {
      now += 3_600_000;
      front.sweep(now);
      return front.open() === 0;
    });
  });

  for (const how of ['is idle for too long', 'is cut'] as const) {
    it(`of an upstream that does not read, and ${how}`, each, async (t) => {
      const front = await startH2Front({ endpoints: [await deafServer(t)], appProtocol: 'h2c' });
      t.after(() => front.close());
      upload(t, front.port);
      await stuck(front);
      assert.equal(front.upstreams(), 1);
      let now = performance.now();
      if (how === 'is cut') front.cutUpstreams();
      await until('its connection to end', () => {
        if (how !== 'is cut') now += 3_600_000;
        front.sweep(now);
        return front.upstreams() === 0;
      });
    });
  }

  for (const side of ['west', 'east'] as const) {
    for (const deaf of ['client', 'server'] as const) {
      it(`through a tunnel, of a ${deaf} that does not read, when the gateway of ${side} closes`, each, async (t) => {
        const pair = await startPair({ serve: [], protocol: 'kubernetes.io/h2c' });
        t.after(() => pair.close());
        const server = deaf === 'client' ? await flood(t) : await deafServer(t);
        const { endpoints, targets } = serviceRoute({ self: 'east', local: [server] });
        pair.setEast((route) => ({ ...route, endpoints, targets }));
        // Judged by request, so that the gateway of east tells requests apart as well.
        pair.setAccess({ requests: { methods: ['GET', 'POST'], pathPrefixes: ['/'] } });
        if (deaf === 'client') await ear(t, pair.port);
        else upload(t, pair.port);
        const gateways = { west: pair.west.gateway, east: pair.east.gateway };
        const busy = (): boolean =>
          Object.values(gateways).every((one) =>
            one.report().services.some((service) => service.targets.some(({ active }) => active > 0)),
          );
        await until('both gateways to carry it', busy);
        const from = performance.now();
        await gateways[side].close();
        assert.ok(performance.now() - from < 15_000, 'nothing holds it up');
        await until('the other one to be done with it', () => !busy());
      });
    }
  }
});

describe('a gateway that an operator has taken out of use', () => {
  it('tells its clients to go, serves who comes all the same, and tells it a while later', each, async (t) => {
    const server = await rawServer((session) =>
      onRequests(session, (stream) => session.send(headersFrame(stream, [[':status', '200']]))),
    );
    t.after(() => server.close());
    const front = await startH2Front({ endpoints: [server.port], appProtocol: 'h2c' });
    t.after(() => front.close());
    const guest = async (): Promise<RawH2> => {
      const client = await rawClient(front.port);
      t.after(() => void client.socket.destroy());
      client.send(headersFrame(1, request()));
      await client.frame(frameType.headers, 1);
      return client;
    };
    const sentAway = (client: RawH2): boolean => client.frames().some(({ type }) => type === frameType.goaway);
    const early = await guest();
    front.sendAway();
    assert.equal(codeOf(await early.frame(frameType.goaway)), 0);
    const late = await guest();
    const came = performance.now();
    front.sweep(came + 5000);
    late.send(headersFrame(3, request()));
    await late.frame(frameType.headers, 3);
    assert.equal(sentAway(late), false);
    front.sweep(came + 11_000);
    assert.equal(codeOf(await late.frame(frameType.goaway)), 0);
  });
});

import assert from 'node:assert/strict';
import { connect as connectHttp2, createServer, type Http2Server } from 'node:http2';
import { describe, it, type TestContext } from 'node:test';
import { frame, frameType, settings, uint32 } from '../support/frames.ts';
import { until } from '../support/mesh.ts';
import { type H2Front, startH2Front } from './support/h2-front.ts';
import { headersFrame, onRequests, type RawH2, rawClient, rawServer, request } from './support/h2-raw.ts';

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

async function flood(t: TestContext): Promise<Http2Server> {
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
  return server;
}

/** A client that has asked for more than all sockets hold, and reads no more than its beginning. */
async function deafClient(t: TestContext): Promise<{ front: H2Front; client: RawH2 }> {
  const server = await flood(t);
  const bound = server.address();
  const port = bound && typeof bound === 'object' ? bound.port : 0;
  const front = await startH2Front({ endpoints: [port], appProtocol: 'h2c' });
  t.after(() => front.close());
  const client = await rawClient(front.port, [[4, allowed]]);
  t.after(() => void client.socket.destroy());
  client.send(frame(frameType.windowUpdate, 0, 0, uint32(allowed - 65_535)), headersFrame(1, request()));
  await client.frame(frameType.data, 1);
  client.socket.pause();
  await stuck(front);
  return { front, client };
}

describe('a session that is ended ends its connection, whether its peer reads or not', () => {
  it('of a client that is cut', each, async (t) => {
    const { front } = await deafClient(t);
    assert.equal(front.open(), 1);
    front.cut();
    await until('its connection to end', () => front.open() === 0);
  });

  it('of a client that was idle for too long', each, async (t) => {
    const { front } = await deafClient(t);
    let now = performance.now();
    await until('its connection to end', () => {
      now += 3_600_000;
      front.sweep(now);
      return front.open() === 0;
    });
  });

  for (const how of ['is idle for too long', 'is cut'] as const) {
    it(`of an upstream that does not read, and ${how}`, each, async (t) => {
      const server = await rawServer((session) => {
        session.send(settings([[4, allowed]]), frame(frameType.windowUpdate, 0, 0, uint32(allowed - 65_535)));
        onRequests(session, () => session.socket.pause());
      });
      t.after(() => server.close());
      const front = await startH2Front({ endpoints: [server.port], appProtocol: 'h2c' });
      t.after(() => front.close());
      const client = connectHttp2(`http://127.0.0.1:${front.port}`).on('error', () => undefined);
      t.after(() => client.destroy());
      const upload = client.request({ ':method': 'POST', ':path': '/' }).on('error', () => undefined);
      upload.end(Buffer.alloc(40_000_000));
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
});

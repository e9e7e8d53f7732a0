import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { createServer } from 'node:http2';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import { startBackend } from '../../support/backend.ts';
import { flag, frame, frameType, preface, settings, uint32 } from '../support/frames.ts';
import { until } from '../support/mesh.ts';
import { ask } from './support/h2-ask.ts';
import { type H2Front, startH2Front } from './support/h2-front.ts';
import { dataFrame, headersFrame, onRequests, type RawH2, rawServer } from './support/h2-raw.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;
const get = { ':method': 'GET', ':path': '/' };
/** The bytes of a gRPC message of nothing. */
const call = {
  ':method': 'POST',
  ':path': '/test.Echo/Unary',
  'content-type': 'application/grpc',
  te: 'trailers',
};
const emptyMessage = Buffer.alloc(5);

/** What it does instead of serving; `serve` of a socket, or `answer` once it speaks HTTP/2 and a request has come. */
type Fault =
  | { readonly serve: (socket: Socket) => void }
  | { readonly answer: (session: RawH2, stream: number) => void; readonly settings?: Parameters<typeof settings>[0] };

/** Flags of the access log that tell it from others. */
interface Expected {
  readonly status: number;
  readonly flags: readonly string[];
}

const ok: [string, string][] = [[':status', '200']];
const reset = (stream: number, code: number): Buffer => frame(frameType.rstStream, 0, stream, uint32(code));
const goaway = (last: number, code = 0): Buffer =>
  frame(frameType.goaway, 0, 0, Buffer.concat([uint32(last), uint32(code)]));
const many = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));

/** It cannot be reached, for all that its port is open. */
const noH2: Readonly<Record<string, Fault>> = {
  'closes the connection at once': { serve: (socket) => void socket.end() },
  'resets the connection at once': { serve: (socket) => void socket.resetAndDestroy() },
  'sends no SETTINGS': { serve: (socket) => void socket.resume() },
  'sends half of its SETTINGS': { serve: (socket) => void socket.resume().write(settings().subarray(0, 5)) },
  'speaks HTTP/1.1': {
    serve: (socket) => void socket.resume().write('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'),
  },
  'sends garbage': { serve: (socket) => void socket.resume().write(randomBytes(10_000)) },
  'sends the preface of a client': { serve: (socket) => void socket.resume().write(preface) },
  'begins with a frame that is not SETTINGS': {
    serve: (socket) => void socket.resume().write(frame(frameType.ping, 0, 0, Buffer.alloc(8))),
  },
  'sends SETTINGS that mean nothing': {
    // ENABLE_PUSH may be 0 or 1 (RFC 9113 §6.5.2), from a server 0 only.
    serve: (socket) => void socket.resume().write(settings([[2, 7]])),
  },
};

/** It has taken the request, and what comes is no answer. */
const noAnswer: Readonly<Record<string, Fault>> = {
  'ends the connection (half open)': { answer: ({ socket }) => void socket.end() },
  'resets the connection': { answer: ({ socket }) => void socket.resetAndDestroy() },
  'sends garbage instead of an answer': { answer: (session) => session.send(randomBytes(50_000)) },
  'promises a push': {
    answer: (session, stream) =>
      session.send(
        frame(frameType.pushPromise, flag.endHeaders, stream, Buffer.concat([uint32(2), Buffer.from([0x88])])),
      ),
  },
  'sends DATA before HEADERS': { answer: (session, stream) => session.send(dataFrame(stream, 'x', true)) },
  'sends a compressed head that is none': {
    answer: (session, stream) =>
      session.send(frame(frameType.headers, flag.endHeaders, stream, Buffer.from([0xff, 0xff, 0xff, 0xff]))),
  },
  'sends a head that is too large': {
    answer: (session, stream) =>
      session.send(
        headersFrame(stream, [...ok, ...Array.from({ length: 40 }, (): [string, string] => ['x-a', 'v'.repeat(350)])]),
      ),
  },
  'sends a head of too many fields': {
    answer: (session, stream) =>
      session.send(headersFrame(stream, [...ok, ...Array.from({ length: 300 }, (): [string, string] => ['x-a', 'v'])])),
  },
  'sends CONTINUATION without an end': {
    answer: (session, stream) =>
      session.send(
        frame(frameType.headers, 0, stream, Buffer.from([0x88])),
        many(3000, () => frame(frameType.continuation, 0, stream, Buffer.alloc(64))),
      ),
  },
  'sends 1xx without an end': {
    answer: (session, stream) =>
      session.send(many(1000, () => headersFrame(stream, [[':status', '103']], { endStream: false }))),
  },
  'sends no :status': { answer: (session, stream) => session.send(headersFrame(stream, [['x-a', 'v']])) },
  'sends :status 99': { answer: (session, stream) => session.send(headersFrame(stream, [[':status', '99']])) },
  'sends :status 700': { answer: (session, stream) => session.send(headersFrame(stream, [[':status', '700']])) },
  'sends :status twice': { answer: (session, stream) => session.send(headersFrame(stream, [...ok, ...ok])) },
  'sends :status 101': { answer: (session, stream) => session.send(headersFrame(stream, [[':status', '101']])) },
  'sends transfer-encoding': {
    answer: (session, stream) => session.send(headersFrame(stream, [...ok, ['transfer-encoding', 'chunked']])),
  },
  'sends two lengths': {
    answer: (session, stream) =>
      session.send(headersFrame(stream, [...ok, ['content-length', '1'], ['content-length', '2']])),
  },
  'sends a pseudo-header field of requests': {
    answer: (session, stream) => session.send(headersFrame(stream, [...ok, [':path', '/evil']])),
  },
  'answers on a stream that is not there': {
    answer: (session, stream) => session.send(headersFrame(stream + 100, ok)),
  },
  'sends a window that overflows': {
    answer: (session) => session.send(frame(frameType.windowUpdate, 0, 0, uint32(0x7fff_ffff))),
  },
  'sends a window of nothing more': {
    answer: (session) => session.send(frame(frameType.windowUpdate, 0, 0, uint32(0))),
  },
  'sends a frame that is larger than agreed': {
    answer: (session, stream) => session.send(frame(frameType.data, 0, stream, Buffer.alloc(100_000))),
  },
  ...Object.fromEntries(
    [0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 4_000_000_000].map((code): [string, Fault] => [
      `resets the stream with code ${code}`,
      { answer: (session, stream) => session.send(reset(stream, code)) },
    ]),
  ),
  'resets each stream, and many that are not there': {
    answer: (session, stream) => session.send(many(500, (index) => reset(stream + 2 * index, 2))),
  },
  'goes away with an error, this request counted in': {
    answer: (session, stream) => {
      session.send(goaway(stream, 2));
      session.socket.end();
    },
  },
  'goes away, and counts in streams that never were': {
    answer: (session) => {
      session.send(goaway(0x7fff_ffff));
      session.socket.end();
    },
  },
  'goes away twice, the second time counting in more': {
    answer: (session, stream) => {
      session.send(goaway(stream), goaway(stream + 100));
      session.socket.end();
    },
  },
  'goes away naming a stream of its own': {
    answer: (session) => {
      session.send(goaway(2));
      session.socket.end();
    },
  },
};

/** It says that it has done nothing, again and again. */
const unwilling: Readonly<Record<string, Fault>> = {
  'refuses every stream': { answer: (session, stream) => session.send(reset(stream, 7)) },
  'goes away, always, counting nothing in': { answer: (session) => session.send(goaway(0)) },
};

/** It is there, and slow, or not any more. */
const silent: Readonly<Record<string, Fault>> = {
  'says nothing after its SETTINGS': { answer: () => undefined },
  'opens no window': { answer: () => undefined, settings: [[4, 0]] },
  'is gone without a word': { answer: ({ socket }) => void socket.pause() },
};

async function stage(
  t: TestContext,
  fault: Fault,
  timeoutMs: number,
): Promise<{ front: H2Front; asked: () => number }> {
  let asked = 0;
  const server =
    'serve' in fault
      ? await startBackend(fault.serve)
      : await rawServer((session) => {
          onRequests(session, (stream) => {
            asked += 1;
            fault.answer(session, stream);
          });
        }, fault.settings && { values: fault.settings });
  t.after(() => server.close());
  const front = await startH2Front({
    endpoints: [server.port],
    appProtocol: 'grpc',
    http: { timeoutMs, retries: { attempts: 2, on: ['connect'], budget: 1 } },
    limits: { handshakeTimeoutMs: 400, httpHeadBytes: 8192 },
  });
  t.after(() => front.close());
  return { front, asked: () => asked };
}

async function lastEntry(front: H2Front): Promise<AccessLogEntry> {
  await until('the log', () => front.entries.length > 0);
  const [entry] = front.entries.splice(0);
  assert.ok(entry);
  return entry;
}

/** A request and a call to it, then to a server that is well. */
async function meets(
  t: TestContext,
  fault: Fault,
  expected: Expected & { readonly grpc: number; readonly timeoutMs?: number },
): Promise<number> {
  const { front, asked } = await stage(t, fault, expected.timeoutMs ?? 20_000);
  const plain = await ask(front.port, get);
  assert.equal(plain.status, expected.status);
  assert.match(plain.body, /^[A-Z][\w ,/.']+\n$/, 'a short reason');
  assert.doesNotMatch(plain.body, /127\.0\.0\.1|nghttp2|ERR_|evil/i, 'nothing of what lies behind');
  assert.equal(plain.headers['x-a'], undefined);
  const entry = await lastEntry(front);
  assert.ok(expected.flags.includes(entry.response_flags), `flag ${entry.response_flags}`);
  assert.equal(entry.response_code, expected.status);
  const before = asked();
  const grpc = await ask(front.port, call, { body: emptyMessage });
  const times = asked() - before;
  assert.deepEqual([grpc.status, Number(grpc.headers['grpc-status'])], [200, expected.grpc]);
  const told = await lastEntry(front);
  assert.ok(expected.flags.includes(told.response_flags), `flag ${told.response_flags}`);
  assert.equal(told.grpc_response_status, expected.grpc);
  assert.equal(front.active(), 0, 'nothing is left of them');
  const good = createServer((_request, response) => void response.end('well'));
  await new Promise<void>((resolve) => void good.listen(0, '127.0.0.1', resolve));
  t.after(() => void good.close());
  const bound = good.address();
  front.setEndpoints([bound && typeof bound === 'object' ? bound.port : 0]);
  assert.equal((await ask(front.port, get)).body, 'well');
  return times;
}

describe('a server behind a port of HTTP/2 that', () => {
  for (const [name, fault] of Object.entries(noH2)) {
    it(`${name}: 503 UF, UNAVAILABLE`, each, async (t) => {
      await meets(t, fault, { status: 503, flags: ['UF'], grpc: status.UNAVAILABLE });
    });
  }

  for (const [name, fault] of Object.entries(noAnswer)) {
    it(`${name}: 502, UNAVAILABLE, and a call is sent once`, each, async (t) => {
      const times = await meets(t, fault, { status: 502, flags: ['UC', 'UPE'], grpc: status.UNAVAILABLE });
      assert.equal(times, 1, 'it may have been processed');
    });
  }

  for (const [name, fault] of Object.entries(unwilling)) {
    it(`${name}: 502, UNAVAILABLE, after a bounded number of tries`, each, async (t) => {
      const times = await meets(t, fault, { status: 502, flags: ['UC'], grpc: status.UNAVAILABLE });
      assert.ok(times >= 3 && times <= 6, `${times} tries`);
    });
  }

  it('takes no streams: 503 UO, UNAVAILABLE', each, async (t) => {
    await meets(
      t,
      { answer: () => undefined, settings: [[3, 0]] },
      { status: 503, flags: ['UO'], grpc: status.UNAVAILABLE },
    );
  });

  for (const [name, fault] of Object.entries(silent)) {
    it(`${name}: 504 UT, DEADLINE_EXCEEDED`, each, async (t) => {
      await meets(t, fault, { status: 504, flags: ['UT'], grpc: status.DEADLINE_EXCEEDED, timeoutMs: 300 });
    });
  }

  it('is gone without a word, with no time-out set: found out by a ping, 502 UC', each, async (t) => {
    const { front, asked } = await stage(t, { answer: ({ socket }) => void socket.pause() }, 0);
    const answer = ask(front.port, get);
    await until('the request to arrive', () => asked() === 1);
    let now = performance.now();
    let over = false;
    void answer.then(() => (over = true));
    await until('an answer', () => {
      now += 1000;
      front.sweep(now);
      return over;
    });
    assert.equal((await answer).status, 502);
    assert.equal((await lastEntry(front)).response_flags, 'UC');
  });
});

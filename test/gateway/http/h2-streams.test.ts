import assert from 'node:assert/strict';
import { createServer, type Http2Server } from 'node:http2';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode, flag, frame, frameType, uint32 } from '../support/frames.ts';
import { until } from '../support/mesh.ts';
import { ask } from './support/h2-ask.ts';
import { type H2Front, type H2FrontOptions, startH2Front } from './support/h2-front.ts';
import {
  codeOf,
  dataFrame,
  headersFrame,
  onRequests,
  type RawH2,
  rawClient,
  type RawServer,
  rawServer,
  request,
} from './support/h2-raw.ts';

const refusedStream = 7;
const post: [string, string][] = request('POST');
const ok: [string, string][] = [[':status', '200']];
const reset = (stream: number, code: number): Buffer => frame(frameType.rstStream, 0, stream, uint32(code));

async function front(t: TestContext, options: H2FrontOptions): Promise<H2Front> {
  const started = await startH2Front(options);
  t.after(() => started.close());
  return started;
}

async function backend(t: TestContext, onSession: (session: RawH2) => void): Promise<RawServer> {
  const started = await rawServer(onSession);
  t.after(() => started.close());
  return started;
}

async function client(t: TestContext, port: number): Promise<RawH2> {
  const started = await rawClient(port);
  t.after(() => void started.socket.destroy());
  return started;
}

async function listen(server: Http2Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return bound && typeof bound === 'object' ? bound.port : 0;
}

describe('a request that is given up', () => {
  for (const how of ['RST_STREAM', 'its connection'] as const) {
    it(`by the client in the middle of its body (${how}): CANCEL upstream, and no END_STREAM before it`, async (t) => {
      const server = await backend(t, () => undefined);
      const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c' });
      const peer = await client(t, gateway.port);
      peer.send(headersFrame(1, post, { endStream: false }), dataFrame(1, 'half of it'));
      await until('the upstream to have the beginning', () => server.sessions.length === 1);
      const [session] = server.sessions;
      assert.ok(session);
      await session.frame(frameType.data, 1);
      if (how === 'RST_STREAM') peer.send(reset(1, errorCode.cancel));
      else peer.socket.resetAndDestroy();
      assert.equal(codeOf(await session.frame(frameType.rstStream, 1)), errorCode.cancel);
      const ended = session.frames().some(({ type, flags, stream }) => {
        return stream === 1 && type <= frameType.headers && (flags & flag.endStream) !== 0;
      });
      assert.equal(ended, false, 'the upstream must not take it for complete');
      await until('the log', () => gateway.entries.length === 1);
      assert.equal(gateway.entries[0]?.response_flags, 'DC');
      assert.equal(gateway.active(), 0);
    });
  }

  it('by the upstream in the middle of its response: the client is not told that it is whole', async (t) => {
    const server = await backend(t, (session) =>
      onRequests(session, (stream) => {
        session.send(headersFrame(stream, ok, { endStream: false }), dataFrame(stream, 'half'), reset(stream, 2));
      }),
    );
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c' });
    const peer = await client(t, gateway.port);
    peer.send(headersFrame(1, request()));
    assert.notEqual(codeOf(await peer.frame(frameType.rstStream, 1)), errorCode.none);
    assert.ok(!peer.frames().some(({ type, flags, stream }) => stream === 1 && type === 0 && (flags & 1) !== 0));
    await until('the log', () => gateway.entries.length === 1);
    assert.equal(gateway.entries[0]?.response_flags, 'UC');
  });

  it('by the upstream with NO_ERROR and too little for its content-length', async (t) => {
    const head: [string, string][] = [...ok, ['content-length', '100']];
    const server = await backend(t, (session) =>
      onRequests(session, (stream) => {
        session.send(headersFrame(stream, head, { endStream: false }), dataFrame(stream, 'half'), reset(stream, 0));
      }),
    );
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c' });
    const peer = await client(t, gateway.port);
    peer.send(headersFrame(1, request()));
    assert.notEqual(codeOf(await peer.frame(frameType.rstStream, 1)), errorCode.none);
  });

  it('an early response: the client gets all of it and may stop sending', async (t) => {
    const server = await backend(t, (session) =>
      onRequests(session, (stream) => {
        session.send(
          headersFrame(stream, [[':status', '413']], { endStream: false }),
          dataFrame(stream, 'too much', true),
          reset(stream, 0),
        );
      }),
    );
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c' });
    const peer = await client(t, gateway.port);
    peer.send(headersFrame(1, post, { endStream: false }), dataFrame(1, 'much'));
    assert.equal((await peer.frame(frameType.data, 1)).payload.toString(), 'too much');
    assert.equal(codeOf(await peer.frame(frameType.rstStream, 1)), errorCode.none);
    await until('the log', () => gateway.entries.length === 1);
    assert.equal(gateway.entries[0]?.response_code, 413);
    assert.equal(gateway.entries[0]?.response_flags, '-');
  });
});

describe('a request that was not processed is sent elsewhere, whatever its method', () => {
  const twice = async (
    t: TestContext,
    refuse: (session: RawH2, stream: number) => void,
  ): Promise<{ gateway: H2Front; served: () => number; refused: () => number }> => {
    let served = 0;
    let refused = 0;
    const bad = await backend(t, (session) =>
      onRequests(session, (stream) => {
        refused += 1;
        refuse(session, stream);
      }),
    );
    const good = createServer();
    good.on('stream', (stream) => {
      served += 1;
      let body = '';
      stream.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      stream.on('end', () => {
        stream.respond({ ':status': 200 });
        stream.end(body);
      });
    });
    const port = await listen(good);
    t.after(() => void good.close());
    const gateway = await front(t, {
      endpoints: [bad.port],
      appProtocol: 'h2c',
      http: { retries: { attempts: 2, on: ['connect'], budget: 0.2 } },
    });
    // The bad one is in use already when the good one comes, so that requests meet both.
    gateway.setEndpoints([bad.port, port]);
    return { gateway, served: () => served, refused: () => refused };
  };

  const ways: Readonly<Record<string, (session: RawH2, stream: number) => void>> = {
    REFUSED_STREAM: (session, stream) => session.send(reset(stream, refusedStream)),
    'GOAWAY that does not count it in': (session) => {
      session.send(frame(frameType.goaway, 0, 0, Buffer.concat([uint32(0), uint32(0)])));
    },
  };
  for (const [name, refuse] of Object.entries(ways)) {
    it(name, async (t) => {
      const { gateway, served, refused } = await twice(t, refuse);
      for (let index = 0; index < 40; index += 1) {
        const answer = await ask(gateway.port, { ':method': 'POST', ':path': '/' }, { body: `body ${index}` });
        assert.equal(answer.status, 200);
        assert.equal(answer.body, `body ${index}`, 'the body was sent once more, whole');
      }
      assert.ok(refused() > 0, 'the bad endpoint was met');
      assert.equal(served(), 40);
    });
  }
});

describe('a request that may have been processed', () => {
  const cutter = (t: TestContext, seen: string[]): Promise<RawServer> =>
    backend(t, (session) =>
      onRequests(session, (stream) => {
        seen.push(String(stream));
        session.socket.resetAndDestroy();
      }),
    );
  const http = { retries: { attempts: 3, on: ['connect', 'reset'], budget: 0.2 } } as const;

  it('is not sent again when its method is not idempotent', async (t) => {
    const seen: string[] = [];
    const server = await cutter(t, seen);
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c', http });
    const answer = await ask(gateway.port, { ':method': 'POST', ':path': '/' }, { body: 'once' });
    assert.equal(answer.status, 502);
    assert.match(answer.body, /closed the connection/);
    assert.equal(seen.length, 1);
    await until('the log', () => gateway.entries.length === 1);
    assert.equal(gateway.entries[0]?.response_flags, 'UC');
  });

  it('is sent again when it is, as often as the policy says', async (t) => {
    const seen: string[] = [];
    const server = await cutter(t, seen);
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c', http });
    const answer = await ask(gateway.port, { ':method': 'GET', ':path': '/' });
    assert.equal(answer.status, 502);
    assert.equal(seen.length, 4);
  });

  it('is not sent again once a byte of the response has gone to the client', async (t) => {
    let asked = 0;
    const server = await backend(t, (session) =>
      onRequests(session, (stream) => {
        asked += 1;
        session.send(headersFrame(stream, ok, { endStream: false }));
        setImmediate(() => session.socket.resetAndDestroy());
      }),
    );
    const gateway = await front(t, { endpoints: [server.port], appProtocol: 'h2c', http });
    const answer = await ask(gateway.port, { ':method': 'GET', ':path': '/' });
    assert.ok(answer.status === 502 || answer.code !== 0, 'an error, one way or the other');
    assert.equal(asked, answer.status === 502 ? 4 : 1);
  });
});

describe('time', () => {
  it('an upstream that does not answer in time: 504 and UT, the request is cancelled there', async (t) => {
    const server = await backend(t, () => undefined);
    const gateway = await front(t, {
      endpoints: [server.port],
      appProtocol: 'h2c',
      http: { timeoutMs: 200, retries: { attempts: 0, on: [], budget: 0.2 } },
    });
    const answer = await ask(gateway.port, { ':method': 'GET', ':path': '/slow' });
    assert.equal(answer.status, 504);
    assert.equal(answer.body, 'The service did not answer in time\n');
    await until('the log', () => gateway.entries.length === 1);
    assert.equal(gateway.entries[0]?.response_flags, 'UT');
    assert.equal(codeOf((await server.sessions[0]?.frame(frameType.rstStream)) ?? assert.fail()), errorCode.cancel);
  });

  it('a try that takes too long is followed by another elsewhere', async (t) => {
    const slow = await backend(t, () => undefined);
    const fast = createServer((_request, response) => void response.end('fast'));
    const port = await listen(fast);
    t.after(() => void fast.close());
    const gateway = await front(t, {
      endpoints: [slow.port, port],
      appProtocol: 'h2c',
      http: { timeoutMs: 5000, retries: { attempts: 2, on: ['reset'], perTryMs: 100, budget: 0.2 } },
    });
    for (let index = 0; index < 6; index += 1) {
      assert.equal((await ask(gateway.port, { ':method': 'GET', ':path': '/' })).body, 'fast');
    }
  });

  it('a response without a byte for too long is cut', async (t) => {
    const server = await backend(t, (session) =>
      onRequests(session, (stream) => session.send(headersFrame(stream, ok, { endStream: false }))),
    );
    const gateway = await front(t, {
      endpoints: [server.port],
      appProtocol: 'h2c',
      http: { idleTimeoutMs: 1000, retries: { attempts: 0, on: [], budget: 0.2 } },
    });
    const answer = ask(gateway.port, { ':method': 'GET', ':path': '/' });
    await until('the request', () => gateway.active() === 1);
    await sleep(50);
    gateway.sweep();
    gateway.sweep(performance.now() + 2000);
    assert.notEqual((await answer).code, 0);
    assert.equal(gateway.entries[0]?.response_flags, 'SI');
  });
});

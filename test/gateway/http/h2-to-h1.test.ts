import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import { startBackend } from '../../support/backend.ts';
import { frameType, type SeenFrame } from '../support/frames.ts';
import { until } from '../support/mesh.ts';
import { ask } from './support/h2-ask.ts';
import { type H2Front, startH2Front } from './support/h2-front.ts';
import { codeOf, dataFrame, headersFrame, rawClient, request } from './support/h2-raw.ts';
import { ok, recorder } from './support/recorder.ts';

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;
const get = { ':method': 'GET', ':path': '/' };
const post = { ':method': 'POST', ':path': '/' };

interface Stage {
  readonly front: H2Front;
  /** What the backend has seen, connection by connection. */
  readonly seen: () => string[];
  /** The next line of the access log. */
  readonly entry: () => Promise<AccessLogEntry>;
}

/** A gateway before a backend that speaks HTTP/1.1 as `reply` does. */
async function stage(t: TestContext, reply?: (fresh: string, socket: Socket) => string | undefined): Promise<Stage> {
  const recorded = recorder(reply);
  const backend = await startBackend(recorded.serve);
  t.after(() => backend.close());
  const front = await startH2Front({
    endpoints: [backend.port],
    appProtocol: 'http',
    http: { timeoutMs: 2000, retries: { attempts: 0, on: [], budget: 0.2 } },
  });
  t.after(() => front.close());
  return {
    front,
    seen: () => recorded.seen(),
    async entry() {
      await until('the log', () => front.entries.length > 0);
      const [first] = front.entries.splice(0);
      assert.ok(first);
      return first;
    },
  };
}

/** Replies once a body without chunks, or the last chunk, has come. */
const whenWhole =
  (text: string) =>
  (fresh: string): string | undefined => {
    const [head = '', body = ''] = fresh.split('\r\n\r\n', 2);
    const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
    const whole = /^transfer-encoding: chunked/im.test(head) ? fresh.includes('\r\n0\r\n') : body.length >= length;
    return whole ? text : undefined;
  };

describe('h2 → h1: what a request becomes', () => {
  it('OPTIONS *: 501, since it cannot be said; the backend sees nothing', each, async (t) => {
    const { front, seen, entry } = await stage(t);
    const answer = await ask(front.port, { ':method': 'OPTIONS', ':path': '*' });
    assert.equal(answer.status, 501);
    assert.match(answer.body, /^'OPTIONS \*' is not carried from HTTP\/2 to HTTP\/1\.1\n$/);
    const { response_flags, response_code_details } = await entry();
    assert.deepEqual([response_flags, response_code_details], ['DPE', 'not_implemented']);
    assert.deepEqual(seen(), []);
  });

  it('OPTIONS of a path goes through', each, async (t) => {
    const { front, seen } = await stage(t);
    assert.equal((await ask(front.port, { ':method': 'OPTIONS', ':path': '/a' })).status, 200);
    assert.match(seen().join(''), /^OPTIONS \/a HTTP\/1\.1\r\n/);
  });

  it('trailers of a request are left out (RFC 9110 §6.5.1), its body is whole', each, async (t) => {
    const { front, seen } = await stage(t, whenWhole(ok));
    const answer = await ask(front.port, { ...post, trailer: 'x-sum' }, { body: 'abc', trailers: { 'x-sum': '42' } });
    assert.equal(answer.status, 200);
    const [text = ''] = seen();
    assert.match(text, /\r\n\r\n(abc|3\r\nabc\r\n0\r\n\r\n)$/);
    assert.doesNotMatch(text, /x-sum/, 'nor are they announced');
  });

  it('a body whose length is known keeps it, another is chunked', each, async (t) => {
    const { front, seen } = await stage(t, whenWhole(ok));
    await ask(front.port, { ...post, 'content-length': '3' }, { body: 'abc' });
    assert.match(seen().join(''), /content-length: 3\r\n\r\nabc$/i);
    const client = await rawClient(front.port);
    t.after(() => void client.socket.destroy());
    client.send(headersFrame(1, request('POST'), { endStream: false }), dataFrame(1, 'abc'));
    await until('its beginning', () => /\r\n3\r\nabc/.test(seen().join('')));
    client.send(dataFrame(1, 'defg', true));
    await client.frame(frameType.headers, 1);
    assert.match(seen().join(''), /transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n$/i);
  });

  it('an expectation is met by the gateway, once there is somebody to send the body to', each, async (t) => {
    const { front, seen } = await stage(t, whenWhole(ok));
    const answer = await ask(front.port, { ...post, expect: '100-continue' }, { body: 'abc' });
    assert.deepEqual([answer.infos, answer.status], [[100], 200]);
    assert.doesNotMatch(seen().join(''), /expect/i);
  });

  const bodies: Readonly<Record<string, readonly Buffer[]>> = {
    'more DATA than content-length says': [
      headersFrame(1, [...request('POST'), ['content-length', '3']], { endStream: false }),
      dataFrame(1, 'abcGET /evil HTTP/1.1\r\n\r\n', true),
    ],
    'less DATA than content-length says': [
      headersFrame(1, [...request('POST'), ['content-length', '30']], { endStream: false }),
      dataFrame(1, 'abc', true),
    ],
    'a pseudo-header field in the trailers': [
      headersFrame(1, request('POST'), { endStream: false }),
      dataFrame(1, 'abc'),
      headersFrame(1, [[':path', '/evil']]),
    ],
    'trailers that do not end the stream': [
      headersFrame(1, request('POST'), { endStream: false }),
      dataFrame(1, 'abc'),
      headersFrame(1, [['x-evil', '1']], { endStream: false }),
    ],
  };
  for (const [name, frames] of Object.entries(bodies)) {
    it(`${name}: cut off, and the backend never sees a whole request`, each, async (t) => {
      const { front, seen, entry } = await stage(t, whenWhole(ok));
      const client = await rawClient(front.port);
      t.after(() => void client.socket.destroy());
      client.send(...frames);
      // Of the one that sends too much Node gives up the whole connection.
      const ends = (): SeenFrame | undefined =>
        client.frames().find(({ type }) => type === frameType.rstStream || type === frameType.goaway);
      await until('its end', () => ends() !== undefined);
      const reset = ends();
      assert.ok(reset);
      assert.notEqual(codeOf(reset), 0);
      assert.equal((await entry()).response_flags, 'DC');
      const text = seen().join('');
      assert.doesNotMatch(text, /evil/);
      assert.doesNotMatch(text, /0\r\n\r\n$/);
    });
  }

  for (const name of ['transfer-encoding', 'content-length', 'host', 'trailer', 'x-evil']) {
    it(`${name} in the trailers never gets to the backend`, each, async (t) => {
      const { front, seen } = await stage(t, whenWhole(ok));
      const client = await rawClient(front.port);
      t.after(() => void client.socket.destroy());
      const fields: [string, string][] = [[name, name === 'content-length' ? '5' : 'evil']];
      client.send(headersFrame(1, request('POST'), { endStream: false }), dataFrame(1, 'abc'), headersFrame(1, fields));
      await until('an end', () => client.frames().some(({ type, stream }) => stream === 1 && type !== 8));
      for (const text of seen()) assert.doesNotMatch(text.slice(text.indexOf('\r\n\r\n')), /evil|content-length/i);
    });
  }
});

describe('h2 → h1: what a response becomes', () => {
  it('trailers, 1xx, and fields in lower case; nothing of the connection', each, async (t) => {
    const { front } = await stage(
      t,
      () =>
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nX-Up: a\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X-Sum\r\n' +
        'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\nSet-Cookie: evil=1\r\n\r\n',
    );
    const { status, infos, headers, body, trailers, code } = await ask(front.port, get);
    assert.deepEqual([status, infos, body, code], [200, [103], 'abc', 0]);
    assert.equal(headers['x-up'], 'a');
    for (const name of ['connection', 'x-hop', 'keep-alive', 'transfer-encoding'])
      assert.equal(headers[name], undefined);
    assert.deepEqual(Object.entries(trailers), [['x-sum', '42']]);
  });

  it('HEAD, 204 and 304 have no body', each, async (t) => {
    const replies: Readonly<Record<string, string>> = {
      HEAD: 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n',
      '/204': 'HTTP/1.1 204 No Content\r\n\r\n',
      '/304': 'HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n',
    };
    const { front } = await stage(t, (fresh) => {
      const [method = '', path = ''] = fresh.split(' ', 2);
      return replies[method] ?? replies[path] ?? ok;
    });
    assert.equal((await ask(front.port, { ':method': 'HEAD', ':path': '/' })).headers['content-length'], '100');
    assert.equal((await ask(front.port, { ':method': 'GET', ':path': '/204' })).status, 204);
    assert.equal((await ask(front.port, { ':method': 'GET', ':path': '/304' })).status, 304);
    assert.equal((await ask(front.port, get)).body, 'ok');
  });

  /** What is no answer, or more than one: 502, and the flag says whether it was understood. */
  const broken: Readonly<Record<string, { readonly reply: string; readonly flag: string }>> = {
    'content-length and transfer-encoding': {
      reply: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      flag: 'UPE',
    },
    'two lengths': { reply: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', flag: 'UPE' },
    'a length that is no number': { reply: 'HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc', flag: 'UPE' },
    'a folded field': { reply: 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n', flag: 'UPE' },
    'a bare LF': { reply: 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', flag: 'UPE' },
    'a NUL in a field': { reply: 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n', flag: 'UPE' },
    'a blank before the colon': { reply: 'HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 0\r\n\r\n', flag: 'UPE' },
    'a head without an end': { reply: `HTTP/1.1 200 OK\r\n${'X-A: aaaaaaaa\r\n'.repeat(8000)}`, flag: 'UPE' },
    'a status of two digits': { reply: 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n', flag: 'UPE' },
    'a status above 599': { reply: 'HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n', flag: 'UPE' },
    'a switch that nobody asked for': {
      reply: 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
      flag: 'UC',
    },
    'what is no HTTP at all': { reply: 'SSH-2.0-OpenSSH_9.2\r\n\r\n', flag: 'UPE' },
    'an answer in HTTP/2': { reply: '\0\0\0\u0004\0\0\0\0\0', flag: 'UPE' },
    '1xx without an end': { reply: 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1000), flag: 'UPE' },
  };
  for (const [name, { reply, flag }] of Object.entries(broken)) {
    it(`${name}: 502 ${flag}, and nothing of it for the client`, each, async (t) => {
      const { front, entry, seen } = await stage(t, () => reply);
      const answer = await ask(front.port, get);
      assert.equal(answer.status, 502);
      assert.match(answer.body, /^The service (did not answer in HTTP|closed the connection)\n$/);
      assert.equal(answer.headers['x-a'], undefined);
      assert.equal((await entry()).response_flags, flag);
      assert.equal(front.active(), 0);
      const before = seen().length;
      await ask(front.port, get);
      assert.equal(seen().length, before + 1, 'that connection is not used again');
    });
  }

  it('a body that breaks off: the client is not told that it is whole', each, async (t) => {
    const { front, entry } = await stage(t, (_fresh, socket) => {
      setImmediate(() => socket.destroy());
      return 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
    });
    assert.notEqual((await ask(front.port, get)).code, 0);
    assert.equal((await entry()).response_flags, 'UC');
  });

  it('a bad chunk in the middle: the client is not told that it is whole', each, async (t) => {
    const { front, entry } = await stage(
      t,
      () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\nevil\r\n0\r\n\r\n',
    );
    const { code, body } = await ask(front.port, get);
    assert.notEqual(code, 0);
    assert.doesNotMatch(body, /evil/);
    assert.equal((await entry()).response_flags, 'UPE');
  });

  it('bytes behind a response are taken for no other', each, async (t) => {
    const { front, seen } = await stage(t, () => `${ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
    for (let index = 0; index < 5; index += 1) assert.notEqual((await ask(front.port, get)).body, 'evil');
    assert.ok(seen().length > 1, 'such a connection is given up');
  });
});

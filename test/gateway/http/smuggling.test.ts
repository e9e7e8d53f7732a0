import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { exchange } from '../support/client.ts';
import { ok, recorder, without } from './support/recorder.ts';
import { type Stage, startStage } from './support/stage.ts';

/** One way to hide a request in another, or to be read in two ways. */
interface Case {
  readonly name: string;
  readonly send: string;
  /** Status line that the client sees. */
  readonly status: number;
  /** What the backend sees, besides what the gateway adds; absent: not a byte. */
  readonly backend?: string;
}

const host = 'Host: shop\r\n';
const get = `GET /hidden HTTP/1.1\r\n${host}\r\n`;
const post = (fields: string, body: string): string => `POST /a HTTP/1.1\r\n${host}${fields}\r\n${body}`;

const cases: readonly Case[] = [
  {
    name: 'CL.TE: both lengths',
    send: post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${get}`),
    status: 400,
  },
  {
    name: 'TE.CL: both lengths, the other way round',
    send: post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `5c\r\n${get}\r\n0\r\n\r\n`),
    status: 400,
  },
  {
    name: 'TE.TE: two codings, one of them hidden',
    send: post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', `0\r\n\r\n${get}`),
    status: 400,
  },
  { name: 'TE: chunked twice', send: post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'TE: chunked not last', send: post('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n'), status: 501 },
  { name: 'TE: gzip before chunked', send: post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), status: 501 },
  { name: 'TE: unknown coding', send: post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), status: 501 },
  { name: 'TE: identity', send: post('Transfer-Encoding: identity\r\n', get), status: 501 },
  { name: 'TE: a vertical tab before', send: post('Transfer-Encoding:\x0bchunked\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'TE: quoted', send: post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'TE: a parameter', send: post('Transfer-Encoding: chunked;q=1\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'TE: empty', send: post('Transfer-Encoding:\r\n', get), status: 400 },
  {
    name: 'TE in HTTP/1.0',
    send: `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    status: 400,
  },
  { name: 'blank before the colon', send: post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'blank before the colon of a length', send: post('Content-Length : 5\r\n', 'hello'), status: 400 },
  { name: 'obs-fold', send: post('X-A: b\r\n Content-Length: 5\r\n', 'hello'), status: 400 },
  { name: 'obs-fold with a tab', send: post('Transfer-Encoding:\r\n\tchunked\r\n', '0\r\n\r\n'), status: 400 },
  { name: 'first field line begins with a blank', send: `GET / HTTP/1.1\r\n Host: shop\r\n\r\n`, status: 400 },
  { name: 'bare LF after the request line', send: `GET / HTTP/1.1\n${host}\r\n`, status: 400 },
  { name: 'bare LF after a field', send: `GET / HTTP/1.1\r\nHost: shop\nX: y\r\n\r\n`, status: 400 },
  { name: 'bare LF at the end', send: `GET / HTTP/1.1\r\n${host}\n`, status: 400 },
  { name: 'bare CR in a value', send: `GET / HTTP/1.1\r\n${host}X: a\rY: b\r\n\r\n`, status: 400 },
  { name: 'bare CR in a name', send: `GET / HTTP/1.1\r\n${host}X\r: a\r\n\r\n`, status: 400 },
  { name: 'NUL in a value', send: `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, status: 400 },
  { name: 'NUL in a name', send: `GET / HTTP/1.1\r\n${host}X\0: b\r\n\r\n`, status: 400 },
  { name: 'DEL in a value', send: `GET / HTTP/1.1\r\n${host}X: a\x7fb\r\n\r\n`, status: 400 },
  { name: 'empty name', send: `GET / HTTP/1.1\r\n${host}: a\r\n\r\n`, status: 400 },
  { name: 'no colon', send: `GET / HTTP/1.1\r\n${host}X\r\n\r\n`, status: 400 },
  { name: 'two lengths', send: post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello'), status: 400 },
  { name: 'the same length twice', send: post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'), status: 400 },
  { name: 'a list of lengths', send: post('Content-Length: 5, 5\r\n', 'hello'), status: 400 },
  { name: 'signed length', send: post('Content-Length: +5\r\n', 'hello'), status: 400 },
  { name: 'negative length', send: post('Content-Length: -1\r\n', 'hello'), status: 400 },
  { name: 'hexadecimal length', send: post('Content-Length: 0x5\r\n', 'hello'), status: 400 },
  { name: 'fractional length', send: post('Content-Length: 5.0\r\n', 'hello'), status: 400 },
  { name: 'empty length', send: post('Content-Length:\r\n', ''), status: 400 },
  { name: 'a length beyond every number', send: post(`Content-Length: ${'9'.repeat(30)}\r\n`, ''), status: 400 },
  { name: 'blank in a length', send: post('Content-Length: 1 0\r\n', 'hello'), status: 400 },
  { name: 'no host', send: 'GET / HTTP/1.1\r\n\r\n', status: 400 },
  { name: 'two hosts', send: `GET / HTTP/1.1\r\n${host}${host}\r\n`, status: 400 },
  { name: 'empty host', send: 'GET / HTTP/1.1\r\nHost:\r\n\r\n', status: 400 },
  { name: 'a host with a user', send: 'GET / HTTP/1.1\r\nHost: a@shop\r\n\r\n', status: 400 },
  { name: 'a host with a path', send: 'GET / HTTP/1.1\r\nHost: shop/x\r\n\r\n', status: 400 },
  { name: 'a list of hosts', send: 'GET / HTTP/1.1\r\nHost: shop evil\r\n\r\n', status: 400 },
  { name: 'absolute-form, another host', send: `GET http://evil/ HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'absolute-form with a user', send: `GET http://a@shop/ HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'absolute-form, https', send: `GET https://shop/ HTTP/1.1\r\n${host}\r\n`, status: 400 },
  {
    name: 'absolute-form, the same host, goes on in origin-form',
    send: `GET http://SHOP/x?y HTTP/1.1\r\n${host}\r\n`,
    status: 200,
    backend: `GET /x?y HTTP/1.1\r\n${host}\r\n`,
  },
  { name: 'CONNECT', send: `CONNECT shop:80 HTTP/1.1\r\n${host}\r\n`, status: 501 },
  { name: 'asterisk with GET', send: `GET * HTTP/1.1\r\n${host}\r\n`, status: 400 },
  {
    name: 'asterisk with OPTIONS',
    send: `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
    status: 200,
    backend: `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
  },
  { name: 'a target with a fragment', send: `GET /a#b HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'a target with a backslash', send: `GET /a\\b HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'a target that is no path', send: `GET a HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'a target of bytes beyond ASCII', send: `GET /\xe4 HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'two blanks before the target', send: `GET  / HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'two blanks before the version', send: `GET /  HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'a tab in the request line', send: `GET\t/ HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'blank behind the version', send: `GET / HTTP/1.1 \r\n${host}\r\n`, status: 400 },
  { name: 'no version', send: `GET /\r\n${host}\r\n`, status: 400 },
  { name: 'HTTP/0.9', send: `GET / HTTP/0.9\r\n${host}\r\n`, status: 505 },
  { name: 'HTTP/1.2', send: `GET / HTTP/1.2\r\n${host}\r\n`, status: 505 },
  { name: 'HTTP/2.0 as text', send: `GET / HTTP/2.0\r\n${host}\r\n`, status: 505 },
  { name: 'http/1.1 in small letters', send: `GET / http/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'a method with a separator', send: `GE(T / HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'TLS on a plain port', send: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', status: 400 },
  { name: 'Connection takes the host away', send: `GET / HTTP/1.1\r\n${host}Connection: host\r\n\r\n`, status: 400 },
  {
    name: 'Connection takes the length away',
    send: post('Content-Length: 5\r\nConnection: content-length\r\n', 'hello'),
    status: 400,
  },
  {
    name: 'fields of this hop do not go on',
    send: `GET / HTTP/1.1\r\n${host}X-A: 1\r\nConnection: x-b, close\r\nX-B: 2\r\nKeep-Alive: x\r\nProxy-Connection: x\r\nTE: trailers\r\nX-C: 3\r\n\r\n`,
    status: 200,
    backend: `GET / HTTP/1.1\r\n${host}X-A: 1\r\nX-C: 3\r\n\r\n`,
  },
  {
    name: 'h2c upgrade does not go on',
    send: `GET / HTTP/1.1\r\n${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    status: 200,
    backend: `GET / HTTP/1.1\r\n${host}\r\n`,
  },
  {
    name: 'h2c among other upgrades does not go on',
    send: `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n`,
    status: 200,
    backend: `GET / HTTP/1.1\r\n${host}\r\n`,
  },
  {
    name: 'an upgrade beside a body does not go on',
    send: post('Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n', 'hi'),
    status: 200,
    backend: `POST /a HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\nhi`,
  },
  {
    name: 'fields between gateways do not go on',
    send: `GET / HTTP/1.1\r\n${host}x-isthmus-source-identity: spiffe://a/b\r\nX-Isthmus-Hop: 3\r\n\r\n`,
    status: 200,
    backend: `GET / HTTP/1.1\r\n${host}\r\n`,
  },
  {
    name: 'a chunk without a size',
    send: post('Transfer-Encoding: chunked\r\n', '\r\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a chunk size with 0x',
    send: post('Transfer-Encoding: chunked\r\n', '0x5\r\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a negative chunk size',
    send: post('Transfer-Encoding: chunked\r\n', '-5\r\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a blank behind the size',
    send: post('Transfer-Encoding: chunked\r\n', '5 \r\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a size beyond every number',
    send: post('Transfer-Encoding: chunked\r\n', `${'f'.repeat(17)}\r\n`),
    status: 400,
  },
  {
    name: 'a chunk longer than its size',
    send: post('Transfer-Encoding: chunked\r\n', '5\r\nhello!\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a chunk that ends with LF',
    send: post('Transfer-Encoding: chunked\r\n', '5\r\nhello\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a size that ends with LF',
    send: post('Transfer-Encoding: chunked\r\n', '5\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'an extension with LF',
    send: post('Transfer-Encoding: chunked\r\n', '5;a\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'an extension with CR',
    send: post('Transfer-Encoding: chunked\r\n', '5;a\rb\r\nhello\r\n0\r\n\r\n'),
    status: 400,
  },
  {
    name: 'an extension too long',
    send: post('Transfer-Encoding: chunked\r\n', `5;${'a'.repeat(300)}\r\nhello\r\n0\r\n\r\n`),
    status: 400,
  },
  {
    name: 'a trailer that is a length',
    send: post('Transfer-Encoding: chunked\r\n', '0\r\nContent-Length: 5\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a trailer that is a coding',
    send: post('Transfer-Encoding: chunked\r\n', '0\r\nTransfer-Encoding: chunked\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a trailer that is a host',
    send: post('Transfer-Encoding: chunked\r\n', '0\r\nHost: evil\r\n\r\n'),
    status: 400,
  },
  {
    name: 'a trailer between gateways',
    send: post('Transfer-Encoding: chunked\r\n', '0\r\nx-isthmus-hop: 1\r\n\r\n'),
    status: 400,
  },
  { name: 'a trailer with a bare LF', send: post('Transfer-Encoding: chunked\r\n', '0\r\nA: b\n\r\n'), status: 400 },
  {
    name: 'chunks go on as they came',
    send: post('Transfer-Encoding: chunked\r\n', '005;a="b;c"\r\nhello\r\n1;x\r\n!\r\n00\r\nX-Sum: 1\r\n\r\n'),
    status: 200,
    backend: post('Transfer-Encoding: chunked\r\n', '005;a="b;c"\r\nhello\r\n1;x\r\n!\r\n00\r\nX-Sum: 1\r\n\r\n'),
  },
  {
    name: 'CHUNKED in large letters is chunked',
    send: post('Transfer-Encoding: CHUNKED\r\n', '0\r\n\r\n'),
    status: 200,
    backend: post('Transfer-Encoding: CHUNKED\r\n', '0\r\n\r\n'),
  },
  { name: 'oversized target', send: `GET /${'a'.repeat(9000)} HTTP/1.1\r\n${host}\r\n`, status: 414 },
  { name: 'oversized target without end', send: `GET /${'a'.repeat(40_000)}`, status: 414 },
  { name: 'oversized field', send: `GET / HTTP/1.1\r\n${host}X: ${'a'.repeat(40_000)}\r\n\r\n`, status: 431 },
  { name: 'oversized head without end', send: `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(8000)}`, status: 431 },
  { name: 'too many fields', send: `GET / HTTP/1.1\r\n${host}${'X: y\r\n'.repeat(120)}\r\n`, status: 431 },
  { name: 'oversized method', send: `${'A'.repeat(100)} / HTTP/1.1\r\n${host}\r\n`, status: 400 },
  { name: 'oversized body', send: post('Content-Length: 200000\r\n', ''), status: 413 },
  { name: 'an expectation nobody knows', send: post('Expect: 200-ok\r\nContent-Length: 2\r\n', 'hi'), status: 417 },
];

describe('a request that could be read in two ways', () => {
  const backend = recorder();
  let stage: Stage;

  before(async () => {
    stage = await startStage({ serve: [backend.serve], limits: { httpBodyBytes: 100_000 } });
  });

  after(() => stage.close());
  beforeEach(() => backend.clear());

  for (const { name, send, status, backend: expected } of cases) {
    it(`${status} ${name}`, async () => {
      const { received } = await exchange(stage.port, Buffer.from(send, 'latin1'));
      const text = received.toString('latin1');
      assert.equal(text.split(' ', 2)[1], String(status), text.slice(0, 300));
      assert.equal(text.match(/^HTTP\/1\.1 /gm)?.length, 1, 'one answer');
      const view = backend.seen().map(without).join('|');
      if (expected !== undefined) assert.equal(view, expected);
      // What was let through before a fault in its body came must never look like a whole request.
      else assert.ok(!view.includes('GET /hidden') && !isWhole(view), `the backend saw ${JSON.stringify(view)}`);
      if (status !== 200) {
        assert.match(text, /^connection: close\r$/m);
        const body = text.slice(text.indexOf('\r\n\r\n') + 4);
        assert.match(body, /^[A-Z][^\n]{5,120}\n$/, 'one sentence that names the reason');
        const [entry] = await stage.logged(1);
        assert.deepEqual([entry?.response_code, entry?.response_flags], [status, 'DPE']);
      } else await stage.logged(1);
    });
  }

  it('is answered in order when pipelined, each upstream seeing one at a time', async () => {
    const send = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\n${host}\r\n`).join('');
    const { received } = await exchange(stage.port, send);
    const last = ok.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n');
    assert.ok([`${ok}${ok}${ok}`, `${ok}${ok}${last}`].includes(received.toString()), received.toString());
    assert.equal(backend.seen().length, 1, 'one connection for all');
    assert.equal(without(backend.seen()[0] ?? ''), send);
    await stage.logged(3);
  });

  it('is refused behind a good one without harm to that', async () => {
    const { received } = await exchange(stage.port, `GET /1 HTTP/1.1\r\n${host}\r\nGET /2 HTTP/1.1\r\n\r\n`);
    assert.match(received.toString(), /^HTTP\/1\.1 200 OK\r\n[^]*HTTP\/1\.1 400 Bad Request\r\n/);
    assert.equal(without(backend.seen().join('|')), `GET /1 HTTP/1.1\r\n${host}\r\n`);
    await stage.logged(2);
  });
});

/** Whether bytes are a complete request to any reader. */
function isWhole(view: string): boolean {
  if (view === '') return false;
  if (/transfer-encoding/i.test(view)) return /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n/.test(view);
  return true;
}

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:http2';
import type { Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { sniff } from '../../../src/gateway/http/sniff.ts';
import { failOnLeak } from '../../support/leak.ts';
import { exchange, open, readToEnd } from '../support/client.ts';
import { until } from '../support/mesh.ts';
import { ok } from './support/recorder.ts';
import { type Stage, startStage } from './support/stage.ts';

const timeout = 60_000;
const get = 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n';
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

describe('sniff', () => {
  const cases: readonly (readonly [string, ReturnType<typeof sniff>])[] = [
    [get, 'h1'],
    ['POST /a?b=c HTTP/1.0\r\n', 'h1'],
    ['OPTIONS * HTTP/1.1\r\n', 'h1'],
    ['GET http://shop/a HTTP/1.1\r\n', 'h1'],
    [preface, 'h2'],
    [preface.slice(0, -1), 'more'],
    ['G', 'more'],
    ['GET', 'more'],
    ['GET /', 'more'],
    [`GET /${'a'.repeat(4000)}`, 'more'],
    [`GET /${'a'.repeat(4096)}`, 'other'],
    ['GET key\r\n', 'other'],
    ['GET / HTTP/1.1\n', 'other'],
    ['GET / HTTP/2.0\r\n', 'other'],
    ['GET  / HTTP/1.1\r\n', 'other'],
    ['get / HTTP/1.1\r\n', 'other'],
    ['PROPFIND / HTTP/1.1\r\n', 'other'],
    ['*1\r\n$4\r\nPING\r\n', 'other'],
    ['\x16\x03\x01\x02\0\x01', 'other'],
    ['\0\0\0\x08\x04\xd2\x16\x2f', 'other'],
    ['SSH-2.0-OpenSSH_9.6\r\n', 'other'],
    ['EHLO shop\r\n', 'other'],
    [' GET / HTTP/1.1\r\n', 'other'],
    ['\r\nGET / HTTP/1.1\r\n', 'other'],
  ];
  for (const [text, expected] of cases) {
    it(`${expected}: ${JSON.stringify(text.slice(0, 40))}`, () => {
      assert.equal(sniff(Buffer.from(text, 'latin1')), expected);
    });
  }

  it('once it has decided more bytes change nothing, and it never waits beyond its bound', () => {
    const word = fc.constantFrom('GET ', 'PUT ', '/', ' HTTP/1.1', '\r\n', 'PRI * HTTP/2.0', preface, 'x', '\0', '*');
    const text = fc.array(word, { maxLength: 30 }).map((words) => words.join(''));
    fc.assert(
      fc.property(text, (whole) => {
        const bytes = Buffer.from(whole, 'latin1');
        let decided: string | undefined;
        for (let length = 1; length <= bytes.length; length += 1) {
          const found = sniff(bytes.subarray(0, length));
          if (decided !== undefined) assert.equal(found, decided);
          else if (found !== 'more') decided = found;
        }
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4096, maxLength: 5000 }), (bytes) => {
        assert.notEqual(sniff(Buffer.from(bytes)), 'more');
      }),
    );
  });
});

describe('a port that says nothing of its protocol, where looking is allowed', { timeout }, () => {
  let serve: (socket: Socket) => void = () => undefined;
  let stage: Stage;
  const detectMs = 300;

  before(async () => {
    const more = { http: { detect: true } };
    stage = await startStage({
      serve: [(one) => serve(one)],
      protocol: undefined,
      limits: { httpDetectMs: detectMs },
      more,
    });
  });
  after(() => stage.close());
  afterEach(() => {
    stage.node.access.length = 0;
  });

  /** A server that answers with all that it got, once its client has ended. */
  const echoAll = (socket: Socket): void => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => socket.end(Buffer.concat(chunks)));
  };

  const bytes: readonly (readonly [string, Buffer])[] = [
    ['words that begin like HTTP', Buffer.from('GET key\r\nGET key HTTP\r\n')],
    ['a first line without end', Buffer.from(`GET /${'a'.repeat(100_000)}`)],
    ['half of a method, and the end', Buffer.from('DELE')],
    ['half of the preface of HTTP/2, and the end', Buffer.from(preface.slice(0, 20))],
    ['nothing', Buffer.alloc(0)],
    ['TLS', Buffer.from('\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 'latin1')],
    ['half a megabyte of anything', randomBytes(500_000)],
  ];
  for (const [name, sent] of bytes) {
    it(`carries byte for byte, end of file included: ${name}`, async (t) => {
      const leak = failOnLeak(t);
      serve = echoAll;
      const { received, end } = await exchange(stage.port, sent);
      assert.ok(received.equals(sent), `${received.length} of ${sent.length} bytes`);
      assert.equal(end, 'eof');
      assert.equal((await stage.logged(1))[0]?.protocol, 'TCP');
      await leak.check();
    });
  }

  it('does not hold back what cannot become HTTP', async () => {
    let got = '';
    serve = (socket) => {
      socket.on('data', (chunk: Buffer) => (got += chunk.toString())).on('end', () => socket.end());
    };
    const socket = await open(stage.port);
    const begun = performance.now();
    socket.write('*1\r\n');
    await until('the first word', () => got === '*1\r\n');
    const wordMs = performance.now() - begun;
    socket.destroy();
    await stage.logged(1);
    // A word that might still become HTTP waits for the rest of its line, as long as detection may wait.
    got = '';
    const slow = await open(stage.port);
    slow.write('GET k');
    await until('the half line', () => got === 'GET k');
    slow.write('ey\r\n');
    await until('the rest', () => got === 'GET key\r\n');
    slow.destroy();
    await stage.logged(1);
    assert.ok(wordMs < 5000);
  });

  it('lets a server speak first, after no more than the time for detection', async () => {
    serve = (socket) => {
      socket.write('220 hello\r\n');
      echoAll(socket);
    };
    const socket = await open(stage.port);
    const reading = readToEnd(socket);
    const begun = performance.now();
    await once(socket, 'data');
    const waited = performance.now() - begun;
    // A client of such a server speaks only now.
    socket.end('EHLO shop\r\n');
    assert.equal((await reading).received.toString(), '220 hello\r\nEHLO shop\r\n');
    assert.ok(waited > detectMs / 2 && waited < detectMs + 5000, `${waited} ms`);
    await stage.logged(1);
  });

  it('tells HTTP/1.1 and HTTP/2 byte by byte as well, and serves each as what it is', async () => {
    serve = (socket) => {
      socket.on('data', (chunk: Buffer) => void (chunk.includes('\r\n\r\n') && socket.write(ok)));
    };
    const socket = await open(stage.port);
    const reading = readToEnd(socket);
    for (const byte of Buffer.from(get)) {
      socket.write(Buffer.of(byte));
      await sleep(1);
    }
    socket.end();
    assert.equal((await reading).received.toString(), ok);
    assert.equal((await stage.logged(1))[0]?.protocol, 'HTTP/1.1');

    const session = connect(`http://127.0.0.1:${stage.port}`);
    session.on('error', () => undefined);
    const request = session.request({ ':path': '/' });
    request.on('error', () => undefined).resume();
    try {
      const [entry] = await stage.logged(1);
      assert.equal(entry?.protocol, 'HTTP/2');
    } finally {
      session.destroy();
    }
  });
});

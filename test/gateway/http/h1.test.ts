import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request as httpRequest, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { greet } from '../../support/backend.ts';
import { failOnLeak } from '../../support/leak.ts';
import { exchange, open, readToEnd } from '../support/client.ts';
import { until } from '../support/mesh.ts';
import { ok, recorder, without } from './support/recorder.ts';
import { type Stage, startStage } from './support/stage.ts';

const get = (path = '/', fields = ''): string => `GET ${path} HTTP/1.1\r\nHost: shop\r\n${fields}\r\n`;

describe('HTTP/1.1 through a gateway', () => {
  let answer: (fresh: string, socket: Socket) => string | undefined = () => ok;
  const backend = recorder((fresh, socket) => answer(fresh, socket));
  let stage: Stage;

  before(async () => {
    stage = await startStage({ serve: [backend.serve], limits: { httpHeadTimeoutMs: 300 } });
  });
  after(() => stage.close());
  afterEach(() => {
    answer = () => ok;
    backend.clear();
    stage.node.access.length = 0;
  });

  it('keeps the connection of a client, and one to the upstream, over many requests', async () => {
    const accepted = stage.backends[0]?.accepted() ?? 0;
    const socket = await open(stage.port);
    const reading = readToEnd(socket);
    for (let index = 0; index < 5; index += 1) {
      socket.write(get(`/${index}`));
      await stage.logged(1);
    }
    socket.end();
    const { received, end } = await reading;
    assert.equal(received.toString(), ok.repeat(5));
    assert.equal(end, 'eof');
    assert.ok((stage.backends[0]?.accepted() ?? 0) - accepted <= 1, 'at most one new connection');
  });

  it('tells the upstream who asks, and for what', async () => {
    await exchange(
      stage.port,
      get('/', 'X-Forwarded-For: 10.0.0.1\r\nX-Request-Id: abc\r\nX-Forwarded-Proto: https\r\n'),
    );
    const [seen = ''] = backend.seen();
    assert.match(seen, /\r\nx-forwarded-for: 10\.0\.0\.1, 127\.0\.0\.1\r\n/);
    assert.match(seen, /\r\nX-Forwarded-Proto: https\r\n/);
    assert.match(seen, /\r\nx-forwarded-host: shop\r\n/);
    assert.match(seen, /\r\nX-Request-Id: abc\r\n/);
    assert.equal(seen.match(/x-forwarded-for/gi)?.length, 1);
    backend.clear();
    await exchange(stage.port, get('/', 'X-Request-Id: two words\r\n'));
    assert.match(backend.seen()[0] ?? '', /\r\nx-request-id: [0-9a-f-]{36}\r\n/);
    assert.doesNotMatch(backend.seen()[0] ?? '', /two words/);
  });

  it('writes one line of the access log for each request, in the words of Envoy', async () => {
    await exchange(stage.port, get('/a?b', 'User-Agent: me\r\nX-Request-Id: r1\r\n'));
    const [entry] = await stage.logged(1);
    assert.ok(entry);
    const { method, path, authority, protocol, response_code: code, response_flags: flags, user_agent: agent } = entry;
    assert.deepEqual(
      { method, path, authority, protocol, code, flags, agent, id: entry.request_id },
      {
        method: 'GET',
        path: '/a?b',
        authority: 'shop',
        protocol: 'HTTP/1.1',
        code: 200,
        flags: '-',
        agent: 'me',
        id: 'r1',
      },
    );
    assert.deepEqual([entry.bytes_received, entry.bytes_sent, entry.destination_cluster], [0, 2, 'west']);
  });

  it('forwards the head of a response as it came, and takes fields of its hop out', async () => {
    answer = () =>
      'HTTP/1.1 200 Fine indeed\r\nServer: x\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nx-isthmus-load: 3\r\nContent-Length: 2\r\nX-Last: y\r\n\r\nok';
    const { received } = await exchange(stage.port, get());
    assert.equal(
      received.toString(),
      'HTTP/1.1 200 Fine indeed\r\nServer: x\r\nContent-Length: 2\r\nX-Last: y\r\n\r\nok',
    );
  });

  it('says who served it, to a client that asks', async () => {
    const { received } = await exchange(stage.port, get('/', 'x-isthmus-served-by: ?\r\n'));
    assert.match(received.toString(), /\r\nx-isthmus-served-by: west\r\n/);
    assert.equal(without(backend.seen()[0] ?? ''), get());
    const { received: other } = await exchange(stage.port, get());
    assert.doesNotMatch(other.toString(), /isthmus/);
  });

  it('passes OPTIONS * on, whichever form it came in', async () => {
    for (const target of ['*', 'http://shop']) {
      const { received } = await exchange(stage.port, `OPTIONS ${target} HTTP/1.1\r\nHost: shop\r\n\r\n`);
      assert.equal(received.toString(), ok);
    }
    assert.equal(without(backend.seen().join('')), 'OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n'.repeat(2));
    const { received } = await exchange(stage.port, 'GET * HTTP/1.1\r\nHost: shop\r\n\r\n');
    assert.match(received.toString(), /^HTTP\/1\.1 400 /);
  });

  it('answers HEAD, 204 and 304 without waiting for a body', async () => {
    for (const [method, head] of [
      ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'],
      ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
      ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n'],
    ]) {
      answer = () => head;
      const { received } = await exchange(stage.port, `${method} / HTTP/1.1\r\nHost: shop\r\n\r\n`);
      assert.equal(received.toString(), head);
    }
  });

  it('passes interim responses on, and keeps them from clients of HTTP/1.0', async () => {
    answer = () => `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}`;
    const { received } = await exchange(stage.port, get());
    assert.equal(received.toString(), `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}`);
    const { received: old } = await exchange(stage.port, 'GET / HTTP/1.0\r\n\r\n');
    assert.equal(old.toString(), ok.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'));
    assert.match(backend.seen().join(), /\r\nhost: web\.shop\.svc\.clusterset\.local:80\r\n/);
  });

  it('takes chunks apart for clients of HTTP/1.0 only', async () => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    const chunked = `${head}5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n`;
    answer = () => chunked;
    assert.equal((await exchange(stage.port, get())).received.toString(), chunked);
    const { received } = await exchange(stage.port, 'GET / HTTP/1.0\r\nHost: shop\r\n\r\n');
    assert.equal(received.toString(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello!');
  });

  it('keeps a connection of HTTP/1.0 that asks for it', async () => {
    const one = 'GET / HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n';
    const { received } = await exchange(stage.port, one + one);
    assert.equal(received.toString(), ok.replace('\r\n\r\n', '\r\nconnection: keep-alive\r\n\r\n').repeat(2));
  });

  it('ends with the connection a body without a length', async () => {
    answer = (_, socket) => {
      socket.end('HTTP/1.1 200 OK\r\n\r\nall of it');
      return undefined;
    };
    const socket = await open(stage.port);
    socket.write(get());
    const { received, end } = await readToEnd(socket);
    assert.equal(received.toString(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it');
    assert.equal(end, 'eof');
  });

  it('waits with the next pipelined request until the present one is answered', async () => {
    const sockets: Socket[] = [];
    answer = (_, socket) => {
      sockets.push(socket);
      return undefined;
    };
    const client = await open(stage.port);
    const reading = readToEnd(client);
    client.write(get('/1') + get('/2'));
    await until('the first request', () => sockets.length === 1);
    assert.equal(without(backend.seen().join('|')), get('/1'));
    sockets[0]?.write(ok);
    await until('the second request', () => sockets.length === 2);
    sockets[1]?.write(ok);
    client.end();
    assert.equal((await reading).received.toString(), ok + ok);
  });

  it('refuses a head that does not come in time with 408, and closes in silence a connection that says nothing', async () => {
    const socket = await open(stage.port);
    socket.write('GET / HTTP/1.1\r\nHost:');
    const { received } = await readToEnd(socket);
    assert.match(received.toString(), /^HTTP\/1\.1 408 Request Timeout\r\n/);
    const [entry] = await stage.logged(1);
    assert.deepEqual([entry?.response_code, entry?.response_flags, entry?.method], [408, 'DPE', null]);
  });

  it('gives up a request whose client is gone, and tells the upstream by a reset', async () => {
    let gone = false;
    answer = (_, socket) => {
      socket.on('close', () => (gone = true));
      return undefined;
    };
    const socket = await open(stage.port);
    socket.write(get());
    await until('the request', () => backend.seen().length === 1);
    socket.resetAndDestroy();
    const [entry] = await stage.logged(1);
    assert.deepEqual([entry?.response_code, entry?.response_flags], [0, 'DC']);
    await until('the upstream to be told', () => gone);
  });

  it('answers with what each broken backend comes to, and goes on', async () => {
    const cut = (text: string) => (_: string, socket: Socket) => {
      socket.write(text, () => socket.resetAndDestroy());
      return undefined;
    };
    const plain = (text: string) => () => text;
    const cases: readonly (readonly [string, typeof answer, number, string, 'eof' | 'reset'])[] = [
      ['cut before the head', cut(''), 502, 'UC', 'eof'],
      ['cut within the head', cut('HTTP/1.1 200 OK\r\nConte'), 502, 'UC', 'eof'],
      ['cut within the body', cut('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'), 200, 'UC', 'reset'],
      ['cut within chunks', cut('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab'), 200, 'UC', 'reset'],
      ['no HTTP', plain('220 mail.example ESMTP\r\n\r\n'), 502, 'UPE', 'eof'],
      ['bare LF', plain('HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok'), 502, 'UPE', 'eof'],
      ['two lengths', plain('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'), 502, 'UPE', 'eof'],
      [
        'both lengths',
        plain('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok'),
        502,
        'UPE',
        'eof',
      ],
      ['folded', plain('HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok'), 502, 'UPE', 'eof'],
      ['a head without end', plain(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(9000)}\r\n`), 502, 'UPE', 'eof'],
      [
        'bad chunks',
        plain('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n'),
        502,
        'UPE',
        'eof',
      ],
      [
        '101 that nobody asked for',
        plain('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
        502,
        'UPE',
        'eof',
      ],
    ];
    for (const [name, behaviour, code, flag, end] of cases) {
      answer = behaviour;
      const result = await exchange(stage.port, `POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n`);
      assert.equal(result.received.toString().split(' ', 2)[1], String(code), name);
      assert.equal(result.end, end, name);
      const [entry] = await stage.logged(1);
      assert.deepEqual([entry?.response_code, entry?.response_flags], [code, flag], name);
      backend.clear();
    }
    answer = () => ok;
    assert.equal((await exchange(stage.port, get())).received.toString(), ok);
  });

  it('never hands a second response on, and never uses that connection again', async () => {
    const accepted = stage.backends[0]?.accepted() ?? 0;
    answer = () => `${ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`;
    const { received } = await exchange(stage.port, get());
    assert.equal(received.toString(), ok);
    answer = () => ok;
    assert.equal((await exchange(stage.port, get('/next'))).received.toString(), ok);
    assert.ok((stage.backends[0]?.accepted() ?? 0) > accepted, 'a new connection');
  });

  it('lets an early answer through, and closes what cannot go on', async () => {
    answer = () => 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n';
    const socket = await open(stage.port);
    socket.write('POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\nonly this');
    const { received, end } = await readToEnd(socket);
    assert.equal(received.toString(), 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nconnection: close\r\n\r\n');
    assert.equal(end, 'eof');
  });

  it('joins both ends after an upgrade, whatever else was sent with it', async () => {
    answer = (fresh, socket) => {
      assert.match(fresh, /\r\nconnection: upgrade\r\nupgrade: echo\r\n/);
      socket.removeAllListeners('data');
      socket.removeAllListeners('end');
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ');
      socket.on('data', (chunk: Buffer) => socket.write(chunk));
      socket.on('end', () => socket.end(' bye'));
      return undefined;
    };
    const socket = await open(stage.port);
    const reading = readToEnd(socket);
    socket.write(get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n'));
    await until('the upgrade', () => backend.seen().length === 1);
    const big = randomBytes(3_000_000).toString('latin1');
    socket.end(Buffer.from(big, 'latin1'));
    const { received, end } = await reading;
    const text = received.toString('latin1');
    const head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n';
    assert.equal(text.slice(0, head.length), head);
    assert.ok(text.slice(head.length) === `hello ${big} bye`, 'half-close and all bytes');
    assert.equal(end, 'eof');
    const [entry] = await stage.logged(1);
    assert.deepEqual([entry?.response_code, entry?.response_flags, entry?.bytes_received], [101, '-', big.length]);
  });

  it('tells the other protocol that its client has ended, also when that was before it began', async () => {
    let ended = 0;
    answer = (_, socket) => {
      socket.removeAllListeners('data');
      socket.removeAllListeners('end');
      socket.on('end', () => {
        ended += 1;
        socket.end('bye');
      });
      socket.resume();
      return 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ';
    };
    const { received, end } = await exchange(stage.port, get('/', 'Connection: Upgrade\r\nUpgrade: echo\r\n'));
    assert.ok(received.toString().endsWith('\r\n\r\nhello bye'), received.toString());
    assert.deepEqual([ended, end], [1, 'eof']);
    const [entry] = await stage.logged(1);
    assert.deepEqual([entry?.response_code, entry?.response_flags, entry?.bytes_sent], [101, '-', 'hello bye'.length]);
  });
});

describe('HTTP/1.1 clients and servers of others', () => {
  let server: Server;
  let stage: Stage;

  before(async () => {
    server = createServer((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => {
        response.writeHead(200, { trailer: 'x-bytes' });
        response.write(Buffer.alloc(200_000, 'z'));
        response.addTrailers({ 'x-bytes': String(bytes) });
        response.end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    stage = await startStage({ serve: [] });
    const bound = server.address();
    const own = bound && typeof bound === 'object' ? bound.port : 0;
    stage.setRoute((route) => ({
      ...route,
      targets: [{ cluster: stage.node.name, tier: 0, capacity: 1, health: 1, ports: [80], stale: false }],
      endpoints: [{ id: 'node', address: '127.0.0.1', ports: new Map([[80, own]]), ready: true }],
    }));
  });
  after(async () => {
    await stage.close();
    server.closeAllConnections();
    server.close();
  });

  it('Expect, chunks and trailers, both ways', async () => {
    const sent = httpRequest({
      port: stage.port,
      host: '127.0.0.1',
      method: 'PUT',
      headers: { expect: '100-continue' },
    });
    sent.flushHeaders();
    await once(sent, 'continue');
    const body = randomBytes(700_000);
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let got = 0;
    for await (const chunk of response) got += (chunk as Buffer).length;
    assert.equal(got, 200_000);
    assert.equal(response.trailers['x-bytes'], String(body.length));
  });
});

describe('a side that does not read', () => {
  /** Writes for as long as somebody takes it; tells how much that was. */
  function flood(socket: Socket, sent: { bytes: number }): void {
    const chunk = Buffer.alloc(65_536, 'f');
    const more = (): void => {
      while (!socket.destroyed && sent.bytes < 200_000_000) {
        sent.bytes += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.on('drain', more);
    more();
  }

  /** Waits until no more is taken. */
  async function stalled(sent: { bytes: number }): Promise<number> {
    let before = -1;
    let same = 0;
    await until('the sender to be held back', () => {
      same = sent.bytes === before ? same + 1 : 0;
      before = sent.bytes;
      return same > 60;
    });
    return sent.bytes;
  }

  const bound = 30_000_000;

  it('holds back the response', async () => {
    const sent = { bytes: 0 };
    const stage = await startStage({
      serve: [
        (socket) => {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
          flood(socket, sent);
        },
      ],
    });
    try {
      const socket = await open(stage.port);
      socket.write(get());
      await once(socket, 'readable');
      assert.ok((await stalled(sent)) < bound, `${sent.bytes} bytes were taken`);
      socket.destroy();
    } finally {
      await stage.close();
    }
  });

  it('holds back the request', async () => {
    const sent = { bytes: 0 };
    const stage = await startStage({ serve: [(socket) => void socket.pause()] });
    try {
      const socket = await open(stage.port);
      socket.write('PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000000\r\n\r\n');
      flood(socket, sent);
      assert.ok((await stalled(sent)) < bound, `${sent.bytes} bytes were taken`);
      socket.destroy();
    } finally {
      await stage.close();
    }
  });
});

describe('an HTTP port', () => {
  it('with detection off carries bytes where nothing is said of it', async (t) => {
    const leak = failOnLeak(t);
    const stage = await startStage({ serve: [greet('220 hello')], protocol: undefined });
    try {
      assert.equal((await exchange(stage.port, get())).received.toString(), '220 hello\n');
    } finally {
      await stage.close();
    }
    await leak.check();
  });

  it('with detection on tells HTTP from other words, and lets the server speak first', async (t) => {
    const leak = failOnLeak(t);
    const backend = recorder(() => ok);
    const stage = await startStage({
      serve: [
        (socket) => {
          if (greeting) socket.write('220 hello\r\n');
          backend.serve(socket);
        },
      ],
      protocol: undefined,
      more: { http: { detect: true } },
    });
    let greeting = false;
    try {
      await exchange(stage.port, get('/seen'));
      assert.equal((await stage.logged(1))[0]?.protocol, 'HTTP/1.1');
      assert.match(backend.seen()[0] ?? '', /x-request-id/);
      backend.clear();
      const words = 'GET key\r\n\r\n';
      await exchange(stage.port, words);
      assert.equal((await stage.logged(1))[0]?.protocol, 'TCP');
      assert.deepEqual(backend.seen(), [words], 'byte for byte');
      greeting = true;
      const socket = await open(stage.port);
      const [first] = (await once(socket, 'data')) as [Buffer];
      assert.equal(first.toString(), '220 hello\r\n');
      socket.destroy();
      await stage.logged(1);
    } finally {
      await stage.close();
    }
    await leak.check();
  });
});

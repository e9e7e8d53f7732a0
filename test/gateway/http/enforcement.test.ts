import assert from 'node:assert/strict';
import { type ClientHttp2Session, connect, createServer } from 'node:http2';
import type { Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { exchange, open, readToEnd } from '../support/client.ts';
import { quiet, until } from '../support/mesh.ts';
import { type Pair, startPair, workload } from './support/pair.ts';
import { ok, recorder } from './support/recorder.ts';

const timeout = 60_000;
const send = (method: string, path: string, fields = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: shop\r\n${fields}\r\n`;
const get = (path: string, fields = ''): string => send('GET', path, fields);
const statusesOf = (received: Buffer): string[] =>
  [...received.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, code]) => code ?? '');
const readOpen = { requests: { methods: ['GET'], pathPrefixes: ['/open'] } };

describe('requests from another cluster, judged one by one', { timeout }, () => {
  let answer: (fresh: string, socket: Socket) => string | undefined = () => ok;
  const backend = recorder((fresh, socket) => answer(fresh, socket));
  let pair: Pair;

  before(async () => {
    pair = await startPair({ serve: [backend.serve] });
  });
  after(() => pair.close());
  afterEach(async () => {
    answer = () => ok;
    pair.speakAs(undefined);
    await endTunnels();
    pair.setAccess();
    backend.clear();
    pair.east.access.length = 0;
    pair.west.access.length = 0;
  });

  /** Those that wait for their next request, too: what is not exported is cut, and its refusal comes behind the cuts. */
  async function endTunnels(): Promise<void> {
    pair.setEast((route) => ({ ...route, exported: false }));
    assert.deepEqual(statusesOf((await exchange(pair.port, get('/'))).received), ['503']);
    pair.setEast((route) => ({ ...route, exported: true }));
    await quiet(pair.west, pair.east);
    const [server] = pair.backends;
    for (const socket of server?.connections ?? []) socket.destroy();
    await until('no connection to the backend', () => server?.connections.size === 0);
  }

  it('an allowed one passes; another is 403 with RBAC and the rule in the log, and the backend sees nothing', async () => {
    pair.setAccess(readOpen);
    const { received } = await exchange(pair.port, get('/open/a'));
    assert.equal(received.toString(), ok);
    const refused = await exchange(pair.port, send('DELETE', '/open/a'));
    assert.match(
      refused.received.toString(),
      /^HTTP\/1\.1 403 Forbidden\r\n[^]*content-length: 17\r\n[^]*\r\n\r\nAccess is denied\n$/,
    );
    const entries = await pair.logged(2);
    assert.deepEqual(
      entries.map((one) => [one.method, one.response_code, one.response_flags, one.response_code_details]),
      [
        ['GET', 200, '-', null],
        ['DELETE', 403, 'RBAC', 'rbac_access_denied'],
      ],
    );
    assert.deepEqual(
      entries.map((one) => one.access_rule),
      ['AccessPolicy shop/web of east', 'no rule allows'],
    );
    assert.doesNotMatch(backend.seen().join(), /DELETE/);
  });

  it('a deny rule names itself in the log, and what it does not concern goes on', async () => {
    pair.setAccess({
      action: 'deny',
      policy: 'AccessPolicy shop/no-admin of east',
      requests: { pathPrefixes: ['/admin'] },
    });
    const { received } = await exchange(pair.port, get('/admin/users') + get('/administration'));
    assert.deepEqual(statusesOf(received), ['403', '200']);
    const [denied] = await pair.logged(2);
    assert.deepEqual([denied?.access_rule, denied?.response_flags], ['AccessPolicy shop/no-admin of east', 'RBAC']);
    assert.doesNotMatch(backend.seen().join(), /\/admin\//);
  });

  it('each on one kept connection by itself: allowed, forbidden, allowed', async () => {
    pair.setAccess(readOpen);
    const socket = await open(pair.port);
    const reading = readToEnd(socket);
    for (const path of ['/open/1', '/shut/2', '/open/3']) {
      socket.write(get(path));
      await pair.logged(1);
    }
    socket.end();
    assert.deepEqual(statusesOf((await reading).received), ['200', '403', '200']);
    assert.match(backend.seen().join(), /\/open\/1[^]*\/open\/3/);
    assert.doesNotMatch(backend.seen().join(), /shut/);
  });

  it('pipelined in one write, and with a body that could hide the next one', async () => {
    pair.setAccess(readOpen, { requests: { methods: ['POST'], pathPrefixes: ['/open'] } });
    const hidden = get('/shut/hidden');
    const body = `POST /open/b HTTP/1.1\r\nHost: shop\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`;
    const { received } = await exchange(pair.port, get('/open/1') + get('/shut/2') + body + get('/shut/3'));
    assert.deepEqual(statusesOf(received), ['200', '403', '200', '403']);
    const entries = await pair.logged(4);
    assert.deepEqual(
      entries.map(({ path }) => path),
      ['/open/1', '/shut/2', '/open/b', '/shut/3'],
      'what is in a body is no request',
    );
    assert.doesNotMatch(backend.seen().join().replace(hidden, ''), /shut/);
  });

  for (const target of [
    '/open/../shut',
    '/open/%2e%2e/shut',
    '/open%2f..%2fshut',
    '/open/..%5cshut',
    '/open/..;/shut',
    '//open/../shut',
    '/%6fpen/%252e%252e/shut',
    '/shut?/open',
    '/opening',
    '/open\\..\\shut',
    'http://shop/shut',
  ]) {
    it(`a path that could be read as another is refused: ${target}`, async () => {
      pair.setAccess(readOpen);
      const { received } = await exchange(pair.port, get(target));
      assert.match(statusesOf(received).join(), /^(?:403|400)$/);
      assert.deepEqual(backend.seen(), []);
    });
  }

  it('methods in lower case, HEAD and OPTIONS * are none of those that are allowed', async () => {
    pair.setAccess(readOpen);
    for (const request of [
      send('get', '/open'),
      send('HEAD', '/open'),
      send('OPTIONS', '*'),
      send('PROPFIND', '/open'),
    ]) {
      const { received } = await exchange(pair.port, request);
      assert.deepEqual(statusesOf(received), ['403'], request);
    }
    assert.deepEqual(backend.seen(), []);
  });

  it('by who asks: the caller of each request is the one of its client, whatever tunnel was there before', async () => {
    pair.setAccess({
      from: [{ ids: [workload('cart')] }],
      requests: { pathPrefixes: ['/'] },
    });
    const expected = [];
    for (const [index, who] of ['cart', 'ads', 'cart', undefined, 'ads', 'cart'].entries()) {
      pair.speakAs(who);
      const { received } = await exchange(pair.port, get(`/${index}`));
      assert.deepEqual(statusesOf(received), [who === 'cart' ? '200' : '403'], `${who}`);
      if (who === 'cart') expected.push([`/${index}`, workload('cart')]);
    }
    const entries = pair.east.access.filter(({ method }) => method === 'GET');
    assert.deepEqual(
      entries.map((one) => [one.path, one.source_identity]),
      expected,
    );
  });

  it('a tunnel is never shared: each request arrives in the name of its own caller', async () => {
    // Tried out only, so that every request is looked at and allowed.
    pair.setAccess({ audit: true, ...readOpen });
    const callers = ['cart', 'ads', undefined, 'cart', 'ads', undefined];
    for (const [index, who] of callers.entries()) {
      pair.speakAs(who);
      assert.equal((await exchange(pair.port, get(`/${index}`))).received.toString(), ok);
    }
    const entries = await pair.logged(callers.length);
    assert.deepEqual(
      entries.map((one) => [one.path, one.source_identity]),
      callers.map((who, index) => [`/${index}`, who === undefined ? null : workload(who)]),
    );
  });

  it('the same where bytes are carried: one tunnel for each caller, used again by that one only', async () => {
    const callers = ['cart', 'ads', undefined, 'cart', 'ads', undefined, 'cart'];
    for (const who of callers) {
      pair.speakAs(who);
      assert.equal((await exchange(pair.port, get('/'))).received.toString(), ok);
    }
    assert.equal(pair.backends[0]?.connections.size, 3);
    for (const socket of pair.backends[0]?.connections ?? []) socket.destroy();
    const entries = await pair.logged(3);
    assert.deepEqual(
      new Set(entries.map((one) => one.source_identity)),
      new Set([null, workload('ads'), workload('cart')]),
    );
  });

  describe('when access changes', () => {
    it('a tunnel that carried bytes unseen is ended: what comes next is judged', async () => {
      const socket = await open(pair.port);
      const reading = readToEnd(socket);
      socket.write(get('/shut/before'));
      await until('the first', () => pair.west.access.length === 1);
      pair.setAccess(readOpen);
      socket.end(get('/shut/after') + get('/open/after'));
      assert.deepEqual(statusesOf((await reading).received), ['200', '403', '200']);
      assert.doesNotMatch(backend.seen().join(), /shut\/after/);
      const entries = await pair.logged(3);
      const tunnel = entries.find(({ protocol }) => protocol === 'CONNECT');
      assert.deepEqual(
        [tunnel?.response_flags, tunnel?.connection_termination_details],
        ['RBAC', 'by request: AccessPolicy shop/web of east'],
      );
    });

    it('a response in progress ends for the caller that is denied, and only for that one', async () => {
      const streams: Socket[] = [];
      answer = (_, socket) => {
        streams.push(socket);
        return 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun';
      };
      const clients: { readonly who: string; readonly reading: ReturnType<typeof readToEnd> }[] = [];
      for (const who of ['cart', 'ads']) {
        pair.speakAs(who);
        const socket = await open(pair.port);
        clients.push({ who, reading: readToEnd(socket) });
        socket.end(get('/'));
        await until('the response', () => streams.length === clients.length);
      }
      pair.setAccess({ action: 'deny', from: [{ ids: [workload('ads')] }] });
      const [cart, ads] = clients;
      const cut = await ads?.reading;
      assert.equal(cut?.end, 'reset');
      streams[0]?.write('x'.repeat(995));
      const whole = await cart?.reading;
      assert.equal(whole?.received.length, 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'.length + 1000);
    });

    it('the same for requests that were judged: also one in progress, and one that became another protocol', async () => {
      pair.setAccess(readOpen);
      const upgraded: Socket[] = [];
      answer = (fresh, socket) => {
        if (!fresh.includes('upgrade: echo')) return 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun';
        socket.removeAllListeners('data').removeAllListeners('end').resume();
        upgraded.push(socket);
        return 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n';
      };
      const [slow, echo] = [await open(pair.port), await open(pair.port)];
      const reading = [readToEnd(slow), readToEnd(echo)];
      slow.write(get('/open/slow'));
      echo.write(get('/open/echo', 'Connection: upgrade\r\nUpgrade: echo\r\n'));
      await until('both', () => upgraded.length === 1 && backend.seen().join().includes('/open/slow'));
      await until('the answers', () => slow.bytesRead > 0 && echo.bytesRead > 0);
      pair.setAccess({ requests: { methods: ['GET'], pathPrefixes: ['/other'] } });
      for (const one of await Promise.all(reading)) assert.equal(one.end, 'reset');
      const entries = await pair.logged(2);
      assert.deepEqual(
        entries.map((one) => one.response_flags),
        ['RBAC', 'RBAC'],
      );
    });

    it('what is only tried out ends nothing, nor does a change that leaves the caller allowed', async () => {
      pair.speakAs('cart');
      const socket = await open(pair.port);
      const reading = readToEnd(socket);
      socket.write(get('/1'));
      await until('the first', () => pair.west.access.length === 1);
      const [tunnel] = pair.backends[0]?.connections ?? [];
      pair.setAccess({ audit: true, ...readOpen });
      pair.setAccess({ from: [{ ids: [workload('cart')] }] });
      pair.setAccess({ action: 'deny', from: [{ ids: [workload('ads')] }] });
      socket.end(get('/2'));
      assert.deepEqual(statusesOf((await reading).received), ['200', '200']);
      assert.equal(tunnel?.destroyed, false);
      assert.equal(pair.backends[0]?.connections.size, 1, 'the same tunnel');
    });

    it('what is not exported any more is unreachable through a tunnel, too', async () => {
      const socket = await open(pair.port);
      const reading = readToEnd(socket);
      socket.write(get('/1'));
      await until('the first', () => pair.west.access.length === 1);
      pair.setEast((route) => ({ ...route, exported: false }));
      socket.end(get('/2'));
      assert.deepEqual(statusesOf((await reading).received), ['200', '503']);
      assert.doesNotMatch(backend.seen().join(), /\/2/);
      assert.equal((await pair.logged(1))[0]?.connection_termination_details, 'not exported any more');
    });
  });
});

describe('requests over HTTP/2 from another cluster', { timeout }, () => {
  const server = createServer((request, response) => {
    const { url } = request;
    seen.push(url);
    if (url.endsWith('/slow')) response.write('begun');
    else response.end('ok');
  });
  const seen: string[] = [];
  let pair: Pair;

  before(async () => {
    pair = await startPair({ serve: [(socket) => void server.emit('connection', socket)], protocol: 'http2' });
  });
  after(() => pair.close());
  afterEach(() => {
    pair.setAccess();
    seen.length = 0;
    pair.east.access.length = 0;
  });

  async function withClient<T>(who: string | undefined, use: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
    pair.speakAs(who);
    const session = connect(`http://127.0.0.1:${pair.port}`);
    session.on('error', () => undefined);
    try {
      return await use(session);
    } finally {
      session.destroy();
    }
  }

  function ask(session: ClientHttp2Session, path: string, method = 'GET'): Promise<number> {
    return new Promise((resolve) => {
      const request = session.request({ ':path': path, ':method': method });
      request.on('error', () => resolve(0)).resume();
      request.once('response', ({ ':status': status }) => resolve(Number(status)));
    });
  }

  it('each is judged by itself, many at a time', async () => {
    pair.setAccess(readOpen);
    const statuses = await withClient('cart', (session) =>
      Promise.all([
        ask(session, '/open/1'),
        ask(session, '/shut'),
        ask(session, '/open/1', 'POST'),
        ask(session, '/open/../shut'),
        ask(session, '/open/2'),
      ]),
    );
    assert.deepEqual(statuses, [200, 403, 403, 403, 200]);
    assert.deepEqual(seen.toSorted(), ['/open/1', '/open/2']);
    const entries = await pair.logged(5);
    const refusals = entries.filter((one) => one.response_code === 403);
    assert.ok(refusals.length === 3 && refusals.every((one) => one.response_flags === 'RBAC'));
  });

  it('a session through a tunnel is one caller’s: each arrives in the name of its own', async () => {
    pair.setAccess({ audit: true, ...readOpen });
    const callers = ['cart', 'ads', undefined, 'cart', 'ads'];
    for (const [index, who] of callers.entries()) {
      assert.equal(await withClient(who, (session) => ask(session, `/${index}`)), 200);
    }
    const entries = await pair.logged(callers.length);
    assert.deepEqual(
      new Map(entries.map((one) => [one.path, one.source_identity])),
      new Map(callers.map((who, index) => [`/${index}`, who === undefined ? null : workload(who)])),
    );
  });

  it('when access changes, what is in progress ends, and what comes next is judged', async () => {
    pair.setAccess(readOpen);
    await withClient('cart', async (session) => {
      const request = session.request({ ':path': '/open/slow' });
      const ended = new Promise<string>((resolve) => {
        request.on('error', () => resolve('error')).on('end', () => resolve('end'));
      });
      await new Promise((resolve) => void request.once('data', resolve));
      pair.setAccess({ requests: { pathPrefixes: ['/other'] } });
      assert.equal(await ended, 'error');
      assert.equal(await ask(session, '/open/next'), 403);
    });
    const entries = await pair.logged(2);
    assert.deepEqual(
      entries.map((one) => [one.path, one.response_flags]),
      [
        ['/open/slow', 'RBAC'],
        ['/open/next', 'RBAC'],
      ],
    );
    assert.ok(!seen.includes('/open/next'));
  });

  it('bytes that went by unseen end, and with them the session that they were', async () => {
    await withClient('cart', async (session) => {
      assert.equal(await ask(session, '/shut'), 200);
      pair.setAccess(readOpen);
      // The first may still be on the session that was cut.
      let status = await ask(session, '/shut/again');
      for (let tries = 0; tries < 50 && status > 500; tries += 1) status = await ask(session, '/shut/again');
      assert.equal(status, 403);
      assert.equal(await ask(session, '/open'), 200);
    });
    assert.ok(!seen.includes('/shut/again'));
  });
});

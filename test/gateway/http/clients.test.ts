import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createH2Server, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type ServiceError, status } from '@grpc/grpc-js';
import { type Nginx, startNginx } from '../../support/nginx.ts';
import { serviceRoute, until } from '../support/mesh.ts';
import { type EchoServer, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';
import { type Stage, startStage } from './support/stage.ts';

/** Clients and servers that are not ours. `npm run setup` brings them; without one of them this fails. */

/** A hang fails soon, and says where. */
const each = { timeout: 60_000 } as const;
const run = promisify(execFile);
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const portOf = (server: Server | Http2Server): number => (server.address() as AddressInfo).port;

/** What the server of Node's own was asked last. */
interface Asked {
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  readonly sha: string;
  readonly connection: number;
}

/** The gateway before one server on this machine. */
async function gatewayBefore(appProtocol: string): Promise<{ stage: Stage; lead: (port: number) => void }> {
  const stage = await startStage({ serve: [], protocol: appProtocol });
  return {
    stage,
    lead: (port) => {
      const { targets, endpoints } = serviceRoute({ self: 'west', local: [port] });
      stage.setRoute((route) => ({ ...route, targets, endpoints }));
    },
  };
}

describe('clients of HTTP that are not ours, before a service of HTTP/1.1', () => {
  const asked: Asked[] = [];
  let dir: string;
  let file: string;
  let body: Buffer;
  let stage: Stage;
  let lead: (port: number) => void;
  let node: Server;
  let nginx: Nginx;
  let url: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-clients-'));
    body = randomBytes(1_000_000);
    file = join(dir, 'body');
    writeFileSync(file, body);
    let connections = 0;
    const numbers = new WeakMap<object, number>();
    node = createServer((request, response) => {
      const hash = createHash('sha256');
      const { socket } = request;
      if (!numbers.has(socket)) numbers.set(socket, (connections += 1));
      request
        .on('data', (chunk: Buffer) => hash.update(chunk))
        .on('end', () => {
          const { method, url: target, headers } = request;
          const line = `${method} ${target}`;
          asked.push({ line, headers, sha: hash.digest('hex'), connection: numbers.get(socket) ?? 0 });
          response.setHeader('x-line', line);
          response.end('hello\n');
        });
    }).listen(0, '127.0.0.1');
    await once(node, 'listening');
    nginx = await startNginx({ server: 'root files; location /none { return 204; } location /gone { return 410; }' });
    writeFileSync(join(nginx.files, 'body'), body);
    writeFileSync(join(nginx.files, 'small'), 'small\n');
    ({ stage, lead } = await gatewayBefore('http'));
    url = `http://127.0.0.1:${stage.port}`;
  });

  after(async () => {
    await stage.close();
    await nginx.close();
    node.closeAllConnections();
    node.close();
    rmSync(dir, { recursive: true, force: true });
  });

  beforeEach(() => {
    lead(portOf(node));
    asked.length = 0;
    stage.node.access.length = 0;
  });

  const curl = async (...args: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
    run('curl', ['-sS', '--max-time', '30', ...args]);
  const last = (): Asked => {
    const one = asked.at(-1);
    assert.ok(one, 'the server was asked');
    return one;
  };

  it('curl: two requests over one connection, one connection behind', each, async () => {
    const { stdout } = await curl('-w', '%{http_version} %{http_code} %{num_connects}\n', `${url}/a`, `${url}/b?c=d`);
    assert.equal(stdout, 'hello\n1.1 200 1\nhello\n1.1 200 0\n');
    assert.deepEqual(
      asked.map(({ line }) => line),
      ['GET /a', 'GET /b?c=d'],
    );
    assert.equal(new Set(asked.map(({ connection }) => connection)).size, 1);
    assert.equal(last().headers['x-forwarded-for'], '127.0.0.1');
  });

  it('curl: HTTP/1.0', each, async () => {
    const { stdout } = await curl('-0', '-w', '%{http_version} %{http_code}', `${url}/old`);
    assert.match(stdout, /^hello\n1\.[01] 200$/);
  });

  it('curl: HEAD', each, async () => {
    const { stdout } = await curl('-I', `${url}/head`);
    assert.match(stdout, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(stdout, /x-line: HEAD \/head\r\n/i);
  });

  it('curl: an upload with its length, and one in chunks', each, async () => {
    await curl('-T', file, `${url}/upload`);
    assert.deepEqual(
      [last().line, last().sha, last().headers['content-length']],
      ['PUT /upload', sha(body), '1000000'],
    );
    await curl('-T', file, '-H', 'Transfer-Encoding: chunked', '-H', 'Expect:', `${url}/chunked`);
    assert.deepEqual([last().line, last().sha], ['PUT /chunked', sha(body)]);
    assert.equal(last().headers['transfer-encoding'], 'chunked');
  });

  it('curl: Expect: 100-continue is met before the body', each, async () => {
    const { stderr } = await curl('-v', '-H', 'Expect: 100-continue', '--data-binary', `@${file}`, `${url}/expect`);
    assert.match(stderr, /< HTTP\/1\.1 100 Continue/);
    assert.match(stderr, /< HTTP\/1\.1 200 OK/);
    assert.equal(last().sha, sha(body));
  });

  it('curl: HTTP/2 by prior knowledge, translated', each, async () => {
    const { stdout } = await curl('--http2-prior-knowledge', '-w', '%{http_version} %{http_code}', `${url}/two`);
    assert.equal(stdout, 'hello\n2 200');
    await curl('--http2-prior-knowledge', '-T', file, `${url}/up`);
    assert.deepEqual([last().line, last().sha], ['PUT /up', sha(body)]);
    const { stdout: head } = await curl('--http2-prior-knowledge', '-I', `${url}/head`);
    assert.match(head, /^HTTP\/2 200 /);
    await until('the log', () => stage.node.access.length === 3);
    assert.ok(stage.node.access.every(({ protocol, response_flags: flags }) => protocol === 'HTTP/2' && flags === '-'));
  });

  it('curl: the upgrade to h2c (RFC 7540 §3.2, given up by RFC 9113) is passed over', each, async () => {
    const { stdout } = await curl('--http2', '-w', '%{http_version} %{http_code}', `${url}/upgrade`);
    assert.equal(stdout, 'hello\n1.1 200');
    for (const name of ['upgrade', 'http2-settings']) assert.equal(last().headers[name], undefined);
  });

  it('curl: a range, a whole file, 204 and 410 of nginx', each, async () => {
    lead(nginx.port);
    const part = await curl('-r', '1-3', '-w', ' %{http_code}', `${url}/small`);
    assert.equal(part.stdout, 'mal 206');
    for (const how of ['--http1.1', '--http2-prior-knowledge']) {
      const got = join(dir, 'got');
      await curl(how, '-o', got, `${url}/body`);
      assert.equal(sha(readFileSync(got)), sha(body));
      // One each: curl 7.88 cannot use a connection of HTTP/2 by prior knowledge twice, whoever is behind it.
      for (const [path, code] of [
        ['none', '204'],
        ['gone', '410'],
      ]) {
        const { stdout } = await curl(how, '-o', '/dev/null', '-w', '%{http_code}', `${url}/${path}`);
        assert.equal(stdout, code);
      }
    }
  });

  it('wrk: a second of load, kept connections and new ones, without an error', each, async () => {
    lead(nginx.port);
    for (const fields of [[], ['-H', 'Connection: close']]) {
      const { stdout } = await run('wrk', ['-t1', '-c16', '-d1s', '--timeout', '20s', ...fields, `${url}/small`]);
      assert.match(stdout, /Requests\/sec: +[1-9]/);
      assert.doesNotMatch(stdout, /Socket errors|Non-2xx/);
    }
    assert.ok(stage.node.access.every((entry) => entry.response_code === 200 || entry.response_flags === 'DC'));
  });

  it('h2load: 2000 requests, ten at a time in each of four connections', each, async () => {
    lead(nginx.port);
    const { stdout } = await run('h2load', ['-n2000', '-c4', '-m10', `${url}/small`]);
    assert.match(stdout, /2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout/);
    assert.match(stdout, /status codes: 2000 2xx/);
  });

  it('h2load: the same in HTTP/1.1', each, async () => {
    lead(nginx.port);
    const { stdout } = await run('h2load', ['--h1', '-n1000', '-c4', '-m1', `${url}/small`]);
    assert.match(stdout, /1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout/);
  });

  it('nghttp: several at a time over one connection, with an upload', each, async () => {
    const urls = Array.from({ length: 10 }, (_, index) => `${url}/${index}`);
    const { stdout } = await run('nghttp', ['-nv', ...urls]);
    assert.equal(stdout.match(/:status: 200/g)?.length, 10);
    const { stdout: sent } = await run('nghttp', ['-nv', '-d', file, `${url}/posted`]);
    assert.match(sent, /:status: 200/);
    assert.deepEqual([last().line, last().sha], ['POST /posted', sha(body)]);
  });
});

describe('clients of HTTP that are not ours, before a service of HTTP/2', () => {
  let stage: Stage;
  let server: Http2Server;
  let url: string;
  let dir: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-clients-'));
    server = createH2Server((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => response.end(`${request.method} ${request.url} ${bytes}\n`));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const started = await gatewayBefore('kubernetes.io/h2c');
    stage = started.stage;
    started.lead(portOf(server));
    url = `http://127.0.0.1:${stage.port}`;
  });

  after(async () => {
    await stage.close();
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('curl by prior knowledge; HTTP/1.1 and the upgrade are told that only HTTP/2 is spoken', each, async () => {
    const curl = (...args: readonly string[]): Promise<{ stdout: string }> =>
      run('curl', ['-sS', '--max-time', '30', '-w', '%{http_code}', ...args]);
    const file = join(dir, 'body');
    writeFileSync(file, randomBytes(500_000));
    assert.equal((await curl('--http2-prior-knowledge', `${url}/a`)).stdout, 'GET /a 0\n200');
    assert.equal((await curl('--http2-prior-knowledge', '-T', file, `${url}/b`)).stdout, 'PUT /b 500000\n200');
    for (const how of ['--http1.1', '--http2']) {
      assert.equal((await curl(how, `${url}/c`)).stdout, 'This service speaks HTTP/2\n505');
    }
  });

  it('h2load: 5000 requests, a hundred at a time, without an error', each, async () => {
    const { stdout } = await run('h2load', ['-n5000', '-c2', '-m100', `${url}/`]);
    assert.match(stdout, /5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout/);
  });
});

describe('gRPC through nginx (grpc_pass) behind the gateway, clients and server of grpc-js', () => {
  let stage: Stage;
  let nginx: Nginx;
  let server: EchoServer;
  let client: ReturnType<typeof echoClient>;
  const seen = { cancelled: 0 };

  before(async () => {
    server = await startEcho({
      unary(call, callback) {
        call.on('cancelled', () => (seen.cancelled += 1));
        if (call.request.length > 0) callback(null, call.request);
      },
      down(call) {
        for (let index = 0; index < 500; index += 1) call.write(Buffer.from(String(index)));
        call.end();
      },
      up(call, callback) {
        let bytes = 0;
        call
          .on('data', (chunk: Buffer) => (bytes += chunk.length))
          .on('end', () => callback(null, Buffer.from(`${bytes}`)));
      },
      both: (call) => void call.on('data', (chunk: Buffer) => call.write(chunk)).on('end', () => call.end()),
    });
    nginx = await startNginx({
      listen: 'http2',
      server: `location / { grpc_pass grpc://127.0.0.1:${server.port}; } location /test.Echo/Nowhere { grpc_pass grpc://127.0.0.1:1; }`,
    });
    const started = await gatewayBefore('grpc');
    stage = started.stage;
    started.lead(nginx.port);
    client = echoClient(stage.port);
  });

  after(async () => {
    client.close();
    await stage.close();
    await nginx.close();
    server.kill();
  });

  const unary = (path: string, message: Buffer, ms: number): Promise<{ code: number; text: string | undefined }> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path, same, same, message, { deadline: Date.now() + ms }, (error, value) =>
        resolve({ code: error?.code ?? status.OK, text: value?.toString() }),
      );
    });

  it('calls of all four kinds', each, async () => {
    assert.deepEqual(await unary(paths.unary, Buffer.from('one'), 20_000), { code: status.OK, text: 'one' });
    const down: string[] = [];
    for await (const chunk of client.makeServerStreamRequest(paths.down, same, same, Buffer.alloc(1)))
      down.push(String(chunk));
    assert.deepEqual(
      down,
      Array.from({ length: 500 }, (_, index) => String(index)),
    );
    const up = await new Promise<string>((resolve, reject) => {
      const call = client.makeClientStreamRequest(paths.up, same, same, (error: ServiceError | null, value?: Buffer) =>
        error ? reject(error) : resolve(String(value)),
      );
      for (let index = 0; index < 100; index += 1) call.write(Buffer.alloc(1000));
      call.end();
    });
    assert.equal(up, '100000');
    const both = client.makeBidiStreamRequest(paths.both, same, same);
    const back: string[] = [];
    for (let index = 0; index < 100; index += 1) both.write(Buffer.from(String(index)));
    both.end();
    for await (const chunk of both) back.push(String(chunk));
    assert.equal(back.join(' '), Array.from({ length: 100 }, (_, index) => index).join(' '));
  });

  it('a deadline: the client is told in time, the server that nobody waits any more', each, async () => {
    const { code } = await unary(paths.unary, Buffer.alloc(0), 500);
    assert.equal(code, status.DEADLINE_EXCEEDED);
    await until('the server to be told', () => seen.cancelled > 0);
  });

  it('what nginx says in plain HTTP is a status of gRPC for the client: 502 is UNAVAILABLE', each, async () => {
    assert.equal((await unary('/test.Echo/Nowhere', Buffer.from('x'), 20_000)).code, status.UNAVAILABLE);
  });
});

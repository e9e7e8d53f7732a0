import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http2';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ServiceError, status } from '@grpc/grpc-js';
import { freePort } from '../../support/ports.ts';
import { createTestCa, type TestCa } from '../support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from '../support/mesh.ts';
import { failures, grpcLoad, unary } from './support/grpc-load.ts';
import { type EchoServer, echoClient, paths, same, startEcho } from './support/grpc-peer.ts';

const run = promisify(execFile);
type Client = ReturnType<typeof echoClient>;

describe('HTTP/2 and gRPC from a client here to a service in another cluster', () => {
  let ca: TestCa;
  let east: Node;
  let west: Node;
  let importPort: number;
  const servers: EchoServer[] = [];
  const client = (): Client => echoClient(importPort);
  let route: (endpoints: readonly number[]) => void;

  before(async () => {
    ca = createTestCa();
    const clusters = ['east', 'west'];
    [east, west] = await Promise.all([
      startNode('east', { ca, clusters, limits: { httpTunnelAgeMs: 300 } }),
      startNode('west', { ca, clusters }),
    ]);
    for (let index = 0; index < 3; index += 1) {
      servers.push(
        await startEcho({
          unary: (call, callback) => callback(null, call.request),
          down: (call) => void call.write(Buffer.from('first')),
        }),
      );
    }
    importPort = await freePort();
    const ports = [{ port: 80, importPort: undefined, appProtocol: 'grpc' }];
    route = (endpoints) => {
      west.table.set(tableOf(west, [{ ...serviceRoute({ self: 'west', local: endpoints }), ports }], []));
    };
    route(servers.map(({ port }) => port));
    const imported = {
      ...serviceRoute({ self: 'east', remote: ['west'] }),
      ports: [{ ...ports[0], port: 80, importPort }],
    };
    east.table.set(tableOf(east, [imported], [clusterRoute([west])]));
    await linksUp(east, 1);
    await until('the import listener', () => east.gateway.importPorts().size === 1);
  });

  after(async () => {
    for (const server of servers) server.kill();
    await east.gateway.close();
    await west.gateway.close();
    ca.close();
  });

  it('unary calls, one line each in the log of the gateway here; the other one carries bytes', async () => {
    const calls = client();
    try {
      for (let index = 0; index < 20; index += 1) assert.equal((await unary(calls, `n${index}`)).text, `n${index}`);
    } finally {
      calls.close();
    }
    await until('20 lines', () => east.access.length === 20);
    assert.ok(east.access.every((entry) => entry.grpc_response_status === 0 && entry.destination_cluster === 'west'));
    assert.ok(west.access.every((entry) => entry.protocol === 'CONNECT'));
  });

  it('a backend killed in the middle of a call: UNAVAILABLE for the caller, UC in the log', async () => {
    const lone = await startEcho({ down: (call) => void call.write(Buffer.from('first')) });
    route([lone.port]);
    const calls = client();
    try {
      // Tunnels to the others may still be in use for a moment.
      await until('old tunnels to end', () =>
        west.gateway.report().services.every(({ endpoints }) => endpoints.length === 1),
      );
      east.access.length = 0;
      const call = calls.makeServerStreamRequest(paths.down, same, same, Buffer.alloc(1));
      const error = await new Promise<ServiceError>((resolve) => {
        call.on('error', resolve);
        call.once('data', () => {
          for (const server of servers) server.kill();
          lone.kill();
        });
      });
      assert.equal(error.code, status.UNAVAILABLE);
      await until('the log', () => east.access.length === 1);
      assert.equal(east.access[0]?.response_flags, 'UC');
      assert.equal(east.access[0]?.grpc_response_status, status.UNAVAILABLE);
    } finally {
      calls.close();
      lone.kill();
      servers.length = 0;
    }
  });

  it('a rolling restart of every backend under load: no call fails', async () => {
    const asked = new Map<EchoServer, number>();
    const start = async (): Promise<EchoServer> => {
      const server: EchoServer = await startEcho({
        unary(call, callback) {
          asked.set(server, (asked.get(server) ?? 0) + 1);
          callback(null, call.request);
        },
      });
      return server;
    };
    let ends: EchoServer[] = await Promise.all([start(), start(), start()]);
    servers.push(...ends);
    route(ends.map(({ port }) => port));
    const load = grpcLoad(importPort, 8);
    try {
      for (const old of ends) {
        const fresh = await start();
        servers.push(fresh);
        ends = [...ends.filter((one) => one !== old), fresh];
        route(ends.map(({ port }) => port));
        // As in any rolling restart an endpoint leaves first; tunnels that end at it are replaced within their age.
        let mark = { asked: -1, done: 0 };
        await until('the old one to be left alone', () => {
          const now = { asked: asked.get(old) ?? 0, done: load.calls.length };
          if (now.asked !== mark.asked) mark = now;
          return now.done > mark.done + 800;
        });
        await old.drain();
      }
    } finally {
      assert.deepEqual(failures(await load.stop()), []);
    }
  });

  it('clients that are not ours: curl and nghttp by prior knowledge', async () => {
    const plain = createServer((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => response.end(`${request.method} ${request.url} ${bytes}`));
    });
    await new Promise<void>((resolve) => void plain.listen(0, '127.0.0.1', resolve));
    try {
      const bound = plain.address();
      route([bound && typeof bound === 'object' ? bound.port : 0]);
      const url = `http://127.0.0.1:${importPort}/a?b=c`;
      const curl = (...args: string[]): Promise<{ stdout: string }> =>
        run('curl', ['-sS', '--max-time', '20', ...args, url]);
      // A tunnel ends at one endpoint and is replaced from time to time: until then the old ones answer.
      for (let tries = 0; (await curl('--http2-prior-knowledge')).stdout !== 'GET /a?b=c 0'; tries += 1) {
        assert.ok(tries < 100, 'the new endpoint answers in the end');
        await sleep(100);
      }
      assert.equal((await curl('--http2-prior-knowledge', '-d', 'x'.repeat(100_000))).stdout, 'POST /a?b=c 100000');
      // Only HTTP/2 is spoken behind this port, and HTTP/1.1 is told so; so is the upgrade of RFC 7540.
      for (const args of [['--http1.1'], ['--http2']]) {
        const { stdout } = await curl(...args, '-o', '/dev/null', '-w', '%{http_code}');
        assert.equal(stdout, '505');
      }
      const nghttp = await run('nghttp', ['-nv', url]);
      assert.match(nghttp.stdout, /:status: 200/);
    } finally {
      plain.close();
      route([]);
    }
  });

  it('nothing to go to: UNAVAILABLE and UH or UF', async () => {
    route([]);
    const calls = client();
    try {
      east.access.length = 0;
      let { error } = await unary(calls, 'x');
      for (let tries = 0; tries < 100 && error?.code !== status.UNAVAILABLE; tries += 1) {
        await sleep(100);
        ({ error } = await unary(calls, 'x'));
      }
      assert.equal(error?.code, status.UNAVAILABLE);
      assert.match(error?.details ?? '', /service/i);
      await until('the log', () => east.access.some((entry) => /^(UH|UF|URX)$/.test(entry.response_flags)));
    } finally {
      calls.close();
    }
  });
});

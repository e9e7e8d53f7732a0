import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type Client,
  credentials,
  makeClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { accepts } from '../bench/program.ts';
import { nginx } from '../bench/tunnel/contestants.ts';
import { wrk } from '../bench/tunnel/wrk.ts';
import { createTestCa } from '../test/gateway/support/identities.ts';
import { clusterRoute, linksUp, serviceRoute, startNode, tableOf, until } from '../test/gateway/support/mesh.ts';
import { freePort } from '../test/support/ports.ts';
import { startRedis } from '../test/support/redis.ts';
import type { Proof } from './prove.ts';

/** Clients and servers that are not ours, through two gateways. Those whose programs are missing say so. */
const run = promisify(execFile);

/** How much of everything. */
export interface Size {
  readonly bulkBytes: number;
  readonly seconds: number;
  readonly redisCommands: number;
  /** Messages of each gRPC stream, 1000 bytes each. */
  readonly messages: number;
  readonly rows: number;
}

const long: Size = { bulkBytes: 50 << 20, seconds: 3, redisCommands: 100_000, messages: 1000, rows: 5000 };

// Debian keeps the server's programs out of the way.
process.env['PATH'] = [process.env['PATH'], ...globSync('/usr/lib/postgresql/*/bin')].join(':');

/** Runs `use` with the local port of an import whose endpoint, in the other cluster, is `backendPort`. */
async function through<T>(backendPort: number, use: (port: number) => Promise<T>): Promise<T> {
  const ca = createTestCa();
  const options = { ca, clusters: ['west', 'east'] };
  const [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
  try {
    const importPort = await freePort();
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backendPort] })], []));
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
    await until('import port', () => west.gateway.importPorts().size > 0);
    const result = await use(importPort);
    assert.equal(west.access.filter((entry) => entry.destination_cluster !== 'east').length, 0, 'all went through');
    return result;
  } finally {
    await Promise.all([west.gateway.close(), east.gateway.close()]);
    ca.close();
  }
}

const needs =
  (programs: readonly string[], proof: Proof): Proof =>
  async () => {
    const missing = programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
    return missing.length > 0 ? { left_out: `${missing.join(', ')} missing: npm run setup -- bench` } : proof();
  };

async function inDir<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-prove-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Down and up; the server tells what it got. */
const curl = ({ bulkBytes }: Size): Promise<object> =>
  inDir(async (dir) => {
    const body = randomBytes(bulkBytes);
    const path = join(dir, 'body');
    writeFileSync(path, body);
    const server = createHttpServer((request, response) => {
      if (request.method === 'GET') return void response.end(body);
      const hash = createHash('sha256');
      request.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    assert.ok(bound && typeof bound === 'object');
    try {
      return await through(bound.port, async (port) => {
        const url = `http://127.0.0.1:${port}/`;
        const got = join(dir, 'got');
        await run('curl', ['-sS', '--fail', '--max-time', '60', '-o', got, url]);
        assert.equal(sha(readFileSync(got)), sha(body), 'what came down is what was sent');
        const { stdout } = await run('curl', ['-sS', '--fail', '--max-time', '60', '-T', path, url]);
        assert.equal(stdout, sha(body), 'what went up is what was sent');
        return { downBytes: body.length, upBytes: body.length };
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

/** wrk against nginx: kept connections, then a new one for each request. */
const wrkNginx = ({ seconds }: Size): Promise<object> =>
  inDir(async (dir) => {
    const backend = await nginx(dir);
    try {
      return await through(backend.port, async (port) => {
        const common = { url: `http://127.0.0.1:${port}/`, connections: 32, seconds };
        const kept = await wrk(common);
        const fresh = await wrk({ ...common, close: true });
        assert.deepEqual([kept.errors, fresh.errors], [0, 0], 'no request failed');
        return { keptPerS: Math.round(kept.requestsPerS), freshPerS: Math.round(fresh.requestsPerS) };
      });
    } finally {
      await backend.close();
    }
  });

/** HAProxy in HTTP mode as the backend, with nginx behind it. */
const haproxy = (): Promise<object> =>
  inDir(async (dir) => {
    const behind = await nginx(dir);
    const front = await freePort();
    const config = join(dir, 'haproxy.cfg');
    const timeouts = 'timeout connect 5s\ntimeout client 30s\ntimeout server 30s';
    const server = `listen in\nbind 127.0.0.1:${front}\nserver web 127.0.0.1:${behind.port}\n`;
    writeFileSync(config, `global\nnbthread 1\ndefaults\nmode http\n${timeouts}\n${server}`);
    const child = spawn('haproxy', ['-db', '-q', '-f', config], { stdio: 'ignore' });
    try {
      await accepts(front);
      return await through(front, async (port) => {
        const path = join(dir, 'got');
        await run('curl', ['-sS', '--fail', '--max-time', '30', '-o', path, `http://127.0.0.1:${port}/bulk`]);
        assert.equal(sha(readFileSync(path)), sha(readFileSync(join(dir, 'bulk'))));
        return { bytes: readFileSync(path).length };
      });
    } finally {
      child.kill('SIGKILL');
      await behind.close();
    }
  });

/** redis-cli --pipe: all commands in one go, all answered. */
const redis = async ({ redisCommands: count }: Size): Promise<object> => {
  const server = await startRedis();
  try {
    return await through(server.port, async (port) => {
      const input = Array.from({ length: count }, (_, index) => `SET key:${index} value:${index}\r\n`).join('');
      const cli = spawn('redis-cli', ['-p', String(port), '--pipe'], { stdio: ['pipe', 'pipe', 'inherit'] });
      let said = '';
      cli.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      cli.stdin.end(input);
      await once(cli, 'close');
      assert.match(said, new RegExp(`errors: 0, replies: ${count}`));
      const { stdout } = await run('redis-cli', ['-p', String(port), 'GET', `key:${count - 1}`]);
      assert.equal(stdout.trim(), `value:${count - 1}`);
      return { commands: count };
    });
  } finally {
    await server.stop();
  }
};

/** psql against PostgreSQL; as another user, since the server refuses to run as root. */
const psql = ({ rows }: Size): Promise<object> =>
  inDir(async (dir) => {
    const nobody = 65_534;
    const root = process.getuid?.() === 0;
    const data = join(dir, 'data');
    mkdirSync(data);
    if (root) {
      chmodSync(dir, 0o755);
      chownSync(data, nobody, nobody);
    }
    const as = root ? { uid: nobody, gid: nobody } : {};
    chmodSync(data, 0o700);
    await run('initdb', ['-D', data, '-U', 'isthmus', '-A', 'trust'], as);
    const port = await freePort();
    const options = ['-D', data, '-p', String(port), '-k', data, '-h', '127.0.0.1'];
    const server = spawn('postgres', options, { ...as, stdio: 'ignore' });
    try {
      return await through(port, async (local) => {
        const query = ['-h', '127.0.0.1', '-p', String(local), '-U', 'isthmus', '-d', 'postgres', '-Atc'];
        const sql = `select count(*), sum(length(repeat('x', n))) from generate_series(1, ${rows}) n`;
        let said = '';
        // It may still be starting.
        for (const deadline = performance.now() + 30_000; said === '' && performance.now() < deadline; ) {
          said = await run('psql', [...query, sql]).then(
            ({ stdout }) => stdout.trim(),
            () => sleep(200, ''),
          );
        }
        assert.equal(said, `${rows}|${(rows * (rows + 1)) / 2}`);
        const { stdout } = await run('psql', [...query, "select repeat('y', 5000000)"], { maxBuffer: 16 << 20 });
        assert.equal(stdout.trim(), 'y'.repeat(5_000_000));
        return { bytes: stdout.length };
      });
    } finally {
      const gone = once(server, 'exit');
      server.kill('SIGKILL');
      await gone;
    }
  });

const bytes = (value: Buffer): Buffer => value;
const method = (name: string, requestStream: boolean, responseStream: boolean): ServiceDefinition[string] => ({
  path: `/prove.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const echoService = {
  Unary: method('Unary', false, false),
  Down: method('Down', false, true),
  Up: method('Up', true, false),
  Both: method('Both', true, true),
};

/** One gRPC call of each kind. */
const grpc = async ({ messages }: Size): Promise<object> => {
  const server = new Server();
  server.addService(echoService, {
    Unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, call.request),
    Down: (call: ServerWritableStream<Buffer, Buffer>) => {
      for (let index = 0; index < messages; index += 1) call.write(call.request);
      call.end();
    },
    Up: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      let total = 0;
      call.on('data', (chunk: Buffer) => (total += chunk.length)).on('end', () => done(null, Buffer.from(`${total}`)));
    },
    Both: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (chunk: Buffer) => call.write(chunk)).on('end', () => call.end());
    },
  });
  const backend = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  try {
    return await through(backend, (port) => callAll(port, messages));
  } finally {
    server.forceShutdown();
  }
};

async function callAll(port: number, messages: number): Promise<object> {
  const total = messages * 1000;
  const Constructor = makeClientConstructor(echoService, 'Echo');
  const client: Client = new Constructor(`127.0.0.1:${port}`, credentials.createInsecure());
  const { Unary, Down, Up, Both } = echoService;
  const path = ({ path: of }: { path: string }): string => of;
  try {
    const unary = await new Promise<Buffer | undefined>((resolve, reject) => {
      client.makeUnaryRequest(path(Unary), bytes, bytes, Buffer.from('one'), (error, value) =>
        error ? reject(error) : resolve(value),
      );
    });
    assert.equal(unary?.toString(), 'one');
    let down = 0;
    const stream = client.makeServerStreamRequest(path(Down), bytes, bytes, Buffer.alloc(1000));
    for await (const chunk of stream) down += (chunk as Buffer).length;
    assert.equal(down, total);
    const up = await new Promise<Buffer | undefined>((resolve, reject) => {
      const call = client.makeClientStreamRequest(path(Up), bytes, bytes, (error, value) =>
        error ? reject(error) : resolve(value),
      );
      for (let index = 0; index < messages; index += 1) call.write(Buffer.alloc(1000));
      call.end();
    });
    assert.equal(up?.toString(), String(total));
    let both = 0;
    const duplex = client.makeBidiStreamRequest(path(Both), bytes, bytes);
    for (let index = 0; index < messages; index += 1) duplex.write(Buffer.alloc(1000));
    duplex.end();
    for await (const chunk of duplex) both += (chunk as Buffer).length;
    assert.equal(both, total);
    return { unary: 1, downBytes: down, upBytes: total, bothBytes: both };
  } finally {
    client.close();
  }
}

export const clientProofsOf = (size: Size): Readonly<Record<string, Proof>> => ({
  curl: needs(['curl'], () => curl(size)),
  wrk: needs(['wrk', 'nginx'], () => wrkNginx(size)),
  haproxy: needs(['haproxy', 'nginx', 'curl'], haproxy),
  redis: needs(['redis-server', 'redis-cli'], () => redis(size)),
  psql: needs(['psql', 'postgres', 'initdb'], () => psql(size)),
  grpc: () => grpc(size),
});

export const clientProofs: Readonly<Record<string, Proof>> = clientProofsOf(long);

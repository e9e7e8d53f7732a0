import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { agentRoutes } from '../../src/admin/agent-api.ts';
import { adminClient } from '../../src/admin/io/client.ts';
import { startAdmin } from '../../src/admin/io/server.ts';
import { get, type Routes } from '../../src/admin/routes.ts';
import { IsthmusError } from '../../src/model/error.ts';
import { adminPaths, type ServiceDetail } from '../../src/model/status.ts';
import { agentStatus, fixedAgent, recordingLog, web } from './fixture.ts';

function failsWith(code: string, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert(error instanceof IsthmusError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

suite('startAdmin', () => {
  let folder = '';
  let count = 0;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-admin-'));
  });
  after(() => rm(folder, { recursive: true }));
  const fresh = (): string => join(folder, `${(count += 1)}.sock`);

  const serving = async (routes: Routes, use: (socketPath: string) => Promise<void>): Promise<string[]> => {
    const log = recordingLog();
    const admin = await startAdmin({ socketPath: fresh(), routes, log });
    try {
      await use(admin.socketPath);
    } finally {
      await admin.close();
    }
    return log.errors;
  };

  test('the socket is the owner’s alone, and gone after close', async () => {
    let path = '';
    const mask = process.umask(0);
    try {
      await serving([], async (socketPath) => {
        path = socketPath;
        assert.equal((await stat(socketPath)).mode & 0o777, 0o600);
      });
    } finally {
      process.umask(mask);
    }
    await assert.rejects(access(path));
  });

  test('answers every route of an agent', async () => {
    await serving(agentRoutes(fixedAgent()), async (path) => {
      const client = adminClient(path);
      assert.deepEqual(await client.get(adminPaths.status), agentStatus);
      assert.deepEqual(await client.get<ServiceDetail>(`${adminPaths.services}/shop/web`), web);
      assert.deepEqual(await client.get(adminPaths.links), []);
      const explained = await client.get<{ from: string; to: string }>(
        `${adminPaths.explain}?from=south&to=shop/web:80`,
      );
      assert.equal(explained.from, 'south');
      assert.equal(explained.to, 'shop/web:80');
      assert.deepEqual(await client.post(adminPaths.tokens, { gateway: 'gw-1', ttlMs: 60_000 }), {
        token: 'token-of-gw-1',
        expiresAt: 60_000,
      });
      await client.close();
    });
  });

  test('errors cross with their code, message and hint', async () => {
    const errors = await serving(agentRoutes(fixedAgent()), async (path) => {
      const client = adminClient(path);
      const refused: readonly (readonly [Promise<unknown>, string, RegExp])[] = [
        [client.get(`${adminPaths.services}/shop/none`), 'not-found', /No cluster exports a service 'shop\/none'/],
        [client.get(`${adminPaths.services}/shop/..%2f..`), 'invalid', /must be 1 to 63/],
        [client.get(`${adminPaths.explain}?to=shop/web`), 'invalid', /<namespace>\/<name>:<port>/],
        [client.get(`${adminPaths.explain}?from=East&to=shop/web:80`), 'invalid', /cluster name/],
        [client.get('/v1/nothing'), 'not-found', /There is no GET \/v1\/nothing/],
        [client.post(adminPaths.status, {}), 'not-found', /There is no POST/],
        [client.post(adminPaths.tokens, {}), 'invalid', /'gateway' must be text/],
        [client.post(adminPaths.tokens, { gateway: 'a', root: 1 }), 'invalid', /there is 'root'/],
        [client.post(adminPaths.tokens, { gateway: 'a', ttlMs: 1e12 }), 'invalid', /'ttlMs' must be from 1000/],
        [client.post(adminPaths.tokens, [1]), 'invalid', /must be a JSON object/],
        [client.post(adminPaths.tokens, { gateway: 'x'.repeat(100_000) }), 'invalid', /too large/],
      ];
      for (const [answer, code, message] of refused) await assert.rejects(answer, failsWith(code, message));
      await client.close();
    });
    assert.deepEqual(errors, [], 'what a caller did wrong is not the operator’s error');
  });

  test('a route that breaks is an internal error, logged, and the server goes on', async () => {
    const routes = [
      get('/v1/broken', () => {
        throw new TypeError('oops');
      }),
      get('/v1/fine', () => ({ ok: true })),
    ];
    const errors = await serving(routes, async (path) => {
      const client = adminClient(path);
      await assert.rejects(client.get('/v1/broken'), failsWith('internal', /oops/));
      assert.deepEqual(await client.get('/v1/fine'), { ok: true });
      await client.close();
    });
    assert.deepEqual(errors, ['admin request failed']);
  });

  test('garbage on the socket does not stop it', async () => {
    await serving(agentRoutes(fixedAgent()), async (path) => {
      for (const bytes of [
        '\0\u0001\u0002',
        'GET / HTTP/9.9\r\n\r\n',
        'POST /v1/tokens HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
        'G'.repeat(100_000),
      ]) {
        const socket = connect({ path });
        // A reset is as good an answer as a reply.
        socket.on('error', () => undefined);
        socket.end(bytes);
        await new Promise((resolve) => socket.resume().once('close', resolve));
      }
      const client = adminClient(path);
      assert.deepEqual(await client.get(adminPaths.status), agentStatus);
      await client.close();
    });
  });

  test('a live server is not replaced', async () => {
    await serving([get('/v1/first', () => 1)], async (path) => {
      await assert.rejects(
        startAdmin({ socketPath: path, routes: [], log: recordingLog() }),
        failsWith('conflict', /another process does/),
      );
      const client = adminClient(path);
      assert.equal(await client.get('/v1/first'), 1);
      await client.close();
    });
  });

  test('the socket of a killed process is replaced', async () => {
    const path = fresh();
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert((await stat(path)).isSocket(), 'the dead process left its socket');
    const admin = await startAdmin({ socketPath: path, routes: [get('/v1/new', () => 2)], log: recordingLog() });
    const client = adminClient(path);
    assert.equal(await client.get('/v1/new'), 2);
    await client.close();
    await admin.close();
  });

  test('a file in its place is not removed', async () => {
    const path = fresh();
    await writeFile(path, 'precious');
    await assert.rejects(
      startAdmin({ socketPath: path, routes: [], log: recordingLog() }),
      failsWith('conflict', /not a socket/),
    );
    assert.equal((await stat(path)).size, 8);
  });
});

suite('adminClient', () => {
  test('says which socket is not there', async () => {
    const client = adminClient('/nowhere/admin.sock');
    await assert.rejects(client.get('/'), failsWith('unavailable', /\/nowhere\/admin\.sock: there is no such socket/));
    await client.close();
  });

  const against = async (answer: string, check: (error: unknown) => true): Promise<void> => {
    const folder = await mkdtemp(join(tmpdir(), 'isthmus-client-'));
    const path = join(folder, 's');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => answer !== '' && socket.end(answer));
    });
    server.listen(path);
    await once(server, 'listening');
    const client = adminClient(path, { timeoutMs: 200 });
    try {
      await assert.rejects(client.get('/'), check);
    } finally {
      await client.close();
      server.close();
      await once(server, 'close');
      await rm(folder, { recursive: true });
    }
  };

  test('gives up on a server that is silent', () => against('', failsWith('timeout', /within 200 ms/)));
  test('refuses what is no JSON', () =>
    against('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi', failsWith('corrupt', /no Isthmus server/)));
  test('refuses what is no HTTP', () => against('hello\r\n\r\n', failsWith('unavailable', /Cannot reach/)));
  test('refuses an error without a reason', () =>
    against('HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}', failsWith('internal', /status 500 and no reason/)));
});

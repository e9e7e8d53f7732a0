import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, suite, test } from 'node:test';
import { agentRoutes } from '../../src/admin/agent-api.ts';
import { type ReadOnly, startReadOnly } from '../../src/admin/io/read-only.ts';
import { IsthmusError } from '../../src/model/error.ts';
import { adminPaths } from '../../src/model/status.ts';
import { agentStatus, fixedAgent, recordingLog } from './fixture.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

suite('startReadOnly', () => {
  let issued = 0;
  const api = fixedAgent({
    issueGatewayToken: () => {
      issued += 1;
      return { token: 't', expiresAt: 0 };
    },
  });
  let server: ReadOnly;
  before(async () => {
    server = await startReadOnly({
      listen: { host: '127.0.0.1', port: 0 },
      routes: agentRoutes(api),
      log: recordingLog(),
    });
  });
  after(() => server.close());

  const ask = (
    method: string,
    headers: Record<string, string> = {},
    path: string = adminPaths.status,
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port: server.port, method, path, headers, agent: false },
        (answer) => {
          let body = '';
          answer.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
        },
      );
      outgoing.on('error', reject).end();
    });
  const own = (name: string): string => `${name}:${server.port}`;

  test('answers under its own names', async () => {
    for (const name of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]']) {
      const { status, body } = await ask('GET', { host: own(name) });
      assert.equal(status, 200, name);
      assert.deepEqual(JSON.parse(body), agentStatus);
    }
  });

  test('answers its own pages, without CORS', async () => {
    const { status, headers } = await ask('GET', { origin: `http://${own('127.0.0.1')}` });
    assert.equal(status, 200);
    assert.equal(headers['access-control-allow-origin'], undefined);
    assert.equal(headers['cache-control'], 'no-store');
  });

  const strangers: Readonly<Record<string, Record<string, string>>> = {
    'a rebound host name': { host: 'evil.example' },
    'a rebound host name with our port': { host: 'evil.example:PORT' },
    'our name with another port': { host: '127.0.0.1:1' },
    'a foreign origin': { origin: 'http://evil.example' },
    'an origin that only begins like ours': { origin: 'http://127.0.0.1:PORT.evil.example' },
    'our origin over another scheme': { origin: 'https://127.0.0.1:PORT' },
    'our origin over a scheme as long as ours': { origin: 'file://127.0.0.1:PORT' },
    'a sandboxed origin': { origin: 'null' },
  };
  for (const [what, headers] of Object.entries(strangers)) {
    test(`refuses ${what}`, async () => {
      const filled = Object.entries(headers).map(([name, value]) => [name, value.replace('PORT', String(server.port))]);
      const { status, body } = await ask('GET', Object.fromEntries(filled));
      assert.equal(status, 403);
      assert.match(body, /"code":"denied"/);
      assert.doesNotMatch(body, /mesh\.example/);
    });
  }

  test('HEAD has the headers of GET and no body', async () => {
    const { status, body, headers } = await ask('HEAD');
    assert.equal(status, 200);
    assert.equal(body, '');
    assert.equal(Number(headers['content-length']), Buffer.byteLength(JSON.stringify(agentStatus)));
  });

  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'QUERY']) {
    test(`refuses ${method}`, async () => {
      const { status, headers } = await ask(method, {}, adminPaths.tokens);
      assert.equal(status, 405);
      assert.equal(headers['allow'], 'GET, HEAD');
      assert.equal(issued, 0);
    });
  }

  test('a port in use is a conflict that names it', async () => {
    const listen = { host: '127.0.0.1', port: server.port };
    await assert.rejects(startReadOnly({ listen, routes: [], log: recordingLog() }), (error) => {
      assert(error instanceof IsthmusError);
      assert.equal(error.code, 'conflict');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${server.port}: the port is in use`));
      return true;
    });
  });
});

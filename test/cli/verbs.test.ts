import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { agentRoutes } from '../../src/admin/agent-api.ts';
import { demoRoutes } from '../../src/admin/demo-api.ts';
import { startAdmin } from '../../src/admin/io/server.ts';
import { IsthmusError } from '../../src/model/error.ts';
import type { DemoStatus } from '../../src/model/status.ts';
import { agentStatus, fixedAgent, recordingLog } from '../admin/fixture.ts';
import { type Ended, ended } from './ended.ts';
import { each, isthmusIn } from './isthmus.ts';

suite('verbs that ask a server', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-verbs-'));
  });
  after(() => rm(folder, { recursive: true }));
  const { start, run } = isthmusIn(() => folder);

  suite('without a server', () => {
    test('a named socket that is not there: exit 4, its path, and what to do', async () => {
      const verbs = [['status'], ['links'], ['services', 'a/b'], ['explain', 'a/b:1'], ['gateways'], ['clusters']];
      await each(verbs, async (verb) => {
        const { status, stdout, stderr } = await run([...verb, '--server', join(folder, 'none.sock')]);
        assert.equal(status, 4, verb.join(' '));
        assert.equal(stdout, '');
        assert.match(stderr, /none\.sock \(--server or ISTHMUS_SERVER\): there is no such socket/);
        assert.match(stderr, /→ Start one with 'isthmus agent -f agent\.yaml'/);
      });
    });

    test('none named: exit 4, and every place that was looked at', async () => {
      const { status, stderr } = await run(['token', 'issue', 'east']);
      assert.equal(status, 4);
      assert.match(stderr, /\/var\/lib\/isthmus\/authority\/admin\.sock/);
      assert.match(stderr, /isthmus-demo-/);
      assert.equal((await run(['demo', 'status'])).status, 4);
    });

    test('status --wait gives up after --timeout', async () => {
      const { status, stderr } = await run(['status', '--wait', '--timeout', '300ms', '--server', 'none.sock']);
      assert.equal(status, 4);
      assert.match(stderr, /Not ready within 300 ms; it waits for .*none\.sock/);
    });
  });

  suite('with a server', () => {
    const socketPath = (): string => join(folder, 'agent.sock');
    let close = async (): Promise<void> => undefined;
    let waitingFor: readonly string[] = [];
    before(async () => {
      const api = fixedAgent({ status: () => ({ ...agentStatus, waitingFor }) });
      const admin = await startAdmin({ socketPath: socketPath(), routes: agentRoutes(api), log: recordingLog() });
      close = () => admin.close();
    });
    after(() => close());
    const ask = (...args: readonly string[]): Promise<Ended> => run(args, { ISTHMUS_SERVER: socketPath() });

    test('data is on stdout, plain when nobody watches', async () => {
      const { status, stdout, stderr } = await ask('status');
      assert.deepEqual([status, stderr], [0, '']);
      assert.match(stdout, /\nReady: west is linked with 2 other clusters; all are live\.\n$/);
      assert(!stdout.includes('\u001b'));
    });

    test('every form of answer', async () => {
      assert.deepEqual(JSON.parse((await ask('status', '-o', 'json')).stdout), agentStatus);
      assert.equal((await ask('services', '-o', 'name')).stdout, 'service/shop/web\n');
      assert.match((await ask('services', '-o', 'yaml')).stdout, /^- service: shop\/web$/m);
      assert.match((await ask('services', 'shop/web', '--no-headers')).stdout, /^east {2}3\/3/);
      assert.match((await ask('services', 'shop/web', '-o', 'wide')).stdout, /CONNECTIONS/);
      assert.match(
        (await run(['services'], { ISTHMUS_SERVER: socketPath(), ISTHMUS_OUTPUT: 'name' })).stdout,
        /^service\//,
      );
    });

    test('--server wins over its variable, and the configuration tells the socket too', async () => {
      assert.equal((await ask('status', '--server', join(folder, 'none.sock'))).status, 4);
      await writeFile(
        join(folder, 'agent.yaml'),
        `stateDir: s\ncluster: c\nhub: { url: memory }\nadvertise: ['h:1']\nadmin: agent.sock\n`,
      );
      assert.equal((await run(['status', '--config', 'agent.yaml'])).status, 0);
    });

    test('explain exits 1 when there is nowhere to go', async () => {
      const good = await ask('explain', 'south', 'shop/web:80');
      assert.equal(good.status, 0);
      assert.match(good.stdout, /^south → shop\/web:80\n {2}√ name/);
      const bad = await ask('explain', 'shop/web:81');
      assert.equal(bad.status, 1);
      assert.match(bad.stdout, /nowhere to go\n$/);
    });

    test('explain is about a workload and a request when asked', async () => {
      const id = 'spiffe://south.mesh.example/ns/shop/sa/web';
      const asked = await ask('explain', 'south', 'shop/web:80', '--as', id, '--method', 'PUT', '--path', '/x?y=1');
      assert.equal(asked.status, 0);
      assert.match(asked.stdout, /spiffe:\/\/south\.mesh\.example\/ns\/shop\/sa\/web PUT \/x\?y=1/);
      const wrong = await ask('explain', 'shop/web:80', '--as', 'shop/web');
      assert.equal(wrong.status, 2);
      assert.match(wrong.stderr, /spiffe:\/\//);
      const two = await ask('explain', id, 'shop/web:80', '--as', id);
      assert.equal(two.status, 2);
      assert.match(two.stderr, /One caller can be explained at a time/);
    });

    test('what the server refuses: exit 1, or 2 when the question was wrong', async () => {
      const missing = await ask('services', 'shop/none');
      assert.equal(missing.status, 1);
      assert.match(missing.stderr, /^isthmus: No cluster exports a service 'shop\/none'\n {2}→ 'isthmus services'/);
      assert.equal((await ask('services', 'Shop/web')).status, 2);
    });

    test('token issue writes a private file, or stdout alone', async () => {
      const printed = await ask('token', 'issue', '--gateway', 'gw-0', '--ttl', '1m');
      assert.equal(printed.stdout, 'token-of-gw-0\n');
      assert.match(printed.stderr, /Valid once, until 1970-01-01T00:01:00/);
      const out = join(folder, 'gw.token');
      const written = await ask('token', 'issue', '--gateway', 'gw-0', '--out', out);
      assert.deepEqual([written.status, written.stdout], [0, '']);
      assert.equal((await stat(out)).mode & 0o777, 0o600);
      assert.equal(await readFile(out, 'utf8'), 'token-of-gw-0\n');
    });

    test('status --wait returns when it is ready', async () => {
      waitingFor = ['the hub'];
      const waiting = ask('status', '--wait', '--timeout', '20s');
      const other = await ask('status');
      assert.match(other.stdout, /Not ready: west waits for the hub\.\n$/);
      waitingFor = [];
      const { status, stdout } = await waiting;
      assert.equal(status, 0);
      assert.match(stdout, /Ready: west/);
    });

    test('--watch goes on until it is interrupted, then exits 0', async () => {
      const child = start(['services', '-o', 'name', '--watch'], { ISTHMUS_SERVER: socketPath() });
      const end = ended(child);
      await new Promise<void>((resolve) => {
        let lines = 0;
        child.stdout?.on('data', (chunk: string) => {
          lines += chunk.split('\n').length - 1;
          if (lines >= 2) resolve();
        });
      });
      child.kill('SIGINT');
      assert.equal((await end).status, 0);
    });

    test('a reader that goes away early is no failure', async () => {
      const child = start(['services', '-o', 'json', '--watch'], { ISTHMUS_SERVER: socketPath() });
      await once(child.stdout ?? child, 'data');
      child.stdout?.destroy();
      let stderr = '';
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
      const [status] = (await once(child, 'exit')) as [number];
      assert.deepEqual([status, stderr], [0, '']);
    });
  });

  test('demo fail and restore reach the running demo of this user', async () => {
    const failed = new Set<string>();
    const status = (): DemoStatus => ({
      kind: 'demo',
      service: 'shop/web',
      hub: 'memory',
      uptimeMs: 1,
      requests: { sent: 1, failed: 0, interrupted: 0 },
      clusters: [
        {
          cluster: 'east',
          instances: { ready: 1, total: 1 },
          failed: failed.has('east'),
          adminSocket: 's',
          gateway: 'g',
        },
      ],
    });
    const change = async (cluster: string, apply: () => void): Promise<void> => {
      if (cluster !== 'east') throw new IsthmusError('not-found', `There is no cluster '${cluster}'`);
      apply();
    };
    const dir = join(folder, `isthmus-demo-${process.getuid?.() ?? 'user'}`);
    await mkdir(dir, { mode: 0o700 });
    const routes = demoRoutes({
      status,
      fail: (cluster) => change(cluster, () => failed.add(cluster)),
      restore: (cluster) => change(cluster, () => failed.delete(cluster)),
    });
    const admin = await startAdmin({ socketPath: join(dir, 'demo.sock'), routes, log: recordingLog() });
    try {
      const gone = await run(['demo', 'fail', 'east', '-o', 'json']);
      assert.equal(gone.status, 0, gone.stderr);
      assert.match(gone.stderr, /Undo with: isthmus demo restore east/);
      assert((JSON.parse(gone.stdout) as DemoStatus).clusters[0]?.failed);
      assert.equal((await run(['demo', 'restore', 'east'])).status, 0);
      assert.equal(failed.size, 0);
      assert.equal((await run(['demo', 'fail', 'north'])).status, 1);
      assert.match((await run(['demo', 'status'])).stdout, /running for/);
    } finally {
      await admin.close();
    }
  });
});

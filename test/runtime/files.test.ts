import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { ensurePrivateDir, readFileIfPresent, readSecretFile, writeFileDurably } from '../../src/runtime/io/files.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'isthmus-files-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

suite('writeFileDurably', () => {
  test('writes with mode 0600, replaces, and leaves no temporary file', async () => {
    const path = join(dir, 'a');
    await writeFileDurably(path, 'one');
    await writeFileDurably(path, 'two');
    assert.equal(readFileSync(path, 'utf8'), 'two');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dir), ['a']);
  });

  test('names the path when it cannot', async () => {
    await assert.rejects(writeFileDurably(join(dir, 'no', 'such'), 'x'), /Cannot write .*no\/such/);
  });
});

suite('ensurePrivateDir', () => {
  test('makes it 0700, and accepts it again', async () => {
    await ensurePrivateDir(join(dir, 'x', 'y'));
    await ensurePrivateDir(join(dir, 'x', 'y'));
    assert.equal(statSync(join(dir, 'x', 'y')).mode & 0o777, 0o700);
  });

  test('refuses one that others can enter, and says how to mend it', async () => {
    chmodSync(dir, 0o755);
    await assert.rejects(ensurePrivateDir(dir), (error: Error & { hint?: string }) => {
      assert.match(error.message, /open to others \(mode 755\)/);
      return error.hint === `chmod 700 ${dir}`;
    });
  });
});

suite('readSecretFile', () => {
  test('reads a private file and refuses one that others can read', async () => {
    const path = join(dir, 's');
    writeFileSync(path, 'secret', { mode: 0o600 });
    assert.equal((await readSecretFile(path)).toString(), 'secret');
    chmodSync(path, 0o644);
    await assert.rejects(readSecretFile(path), /readable by others/);
  });

  test('readFileIfPresent tells absence from failure', async () => {
    assert.equal(await readFileIfPresent(join(dir, 'none')), undefined);
    await assert.rejects(readFileIfPresent(dir), /Cannot read/);
  });
});

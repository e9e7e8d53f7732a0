import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { watchFile } from '../../src/runtime/io/watch-file.ts';

suite('watchFile', () => {
  let dir: string;
  let file: string;
  let changes: number;
  let end: () => void = () => undefined;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'isthmus-watch-'));
    file = join(dir, 'file.yaml');
    changes = 0;
  });

  afterEach(async () => {
    end();
    await rm(dir, { recursive: true });
  });

  async function watching(pollMs = 5000): Promise<void> {
    end = watchFile(file, { clock: systemClock, onChange: () => (changes += 1), pollMs });
    await delay(60);
  }

  async function changed(times: number): Promise<void> {
    for (let turn = 0; turn < 200 && changes < times; turn += 1) await delay(10);
    assert.equal(changes, times);
  }

  test('tells writes in place, renames, removals and returns; not what happens beside it', async () => {
    await writeFile(file, 'one');
    await watching();
    await writeFile(join(dir, 'other'), 'x');
    await delay(100);
    assert.equal(changes, 0);
    await writeFile(file, 'two!');
    await changed(1);
    await writeFile(`${file}.tmp`, 'three');
    await rename(`${file}.tmp`, file);
    await changed(2);
    await rm(file);
    await changed(3);
    await writeFile(file, 'four');
    await changed(4);
  });

  test('tells that a symbolic link in the folder was turned', async () => {
    for (const name of ['a', 'b']) {
      await mkdir(join(dir, name));
      await writeFile(join(dir, name, 'file.yaml'), name);
    }
    await symlink('a', join(dir, 'data'));
    await symlink('data/file.yaml', file);
    await watching();
    await symlink('b', join(dir, 'next'));
    await rename(join(dir, 'next'), join(dir, 'data'));
    await changed(1);
  });

  test('finds out by itself where nothing is told: the folder is not there yet', async () => {
    file = join(dir, 'later', 'file.yaml');
    await watching(20);
    await mkdir(join(dir, 'later'));
    await writeFile(file, 'one');
    await changed(1);
  });

  test('is silent once ended', async () => {
    await writeFile(file, 'one');
    await watching(20);
    end();
    await writeFile(file, 'two!');
    await delay(120);
    assert.equal(changes, 0);
  });
});

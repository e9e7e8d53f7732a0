import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { createStateLock } from '../../src/federation/io/state-lock.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { tempDir } from './support/federation.ts';

const never = new AbortController().signal;

function lockIn(stateDir: string, onWait?: () => void): ReturnType<typeof createStateLock> {
  return createStateLock({
    directory: stateDir,
    name: 'lock',
    clock: systemClock,
    retryMs: 10,
    ...(onWait && { onWait }),
  });
}

test('createStateLock: one leads, the next one takes over when it is released', async () => {
  await using dir = await tempDir();
  const first = await lockIn(dir.path).acquire(never);
  const waited = Promise.withResolvers<void>();
  const second = lockIn(dir.path, waited.resolve).acquire(never);
  await waited.promise;
  assert.equal(first.lost.aborted, false);
  await first.release();
  assert.equal(first.lost.aborted, true);
  const next = await second;
  assert.equal(next.lost.aborted, false);
  await next.release();
  await next.release();
});

test('createStateLock: stops waiting when told to', async () => {
  await using dir = await tempDir();
  const held = await lockIn(dir.path).acquire(never);
  const stop = new AbortController();
  const waiting = lockIn(dir.path, () => stop.abort()).acquire(stop.signal);
  await assert.rejects(waiting, { code: 'cancelled' });
  await held.release();
});

test('createStateLock: a process killed without warning leaves no lock behind', async () => {
  await using dir = await tempDir();
  const lockModule = new URL('../../src/federation/io/state-lock.ts', import.meta.url).href;
  const clockModule = new URL('../../src/runtime/io/clock.ts', import.meta.url).href;
  const script = `
    const { createStateLock } = await import(${JSON.stringify(lockModule)});
    const { systemClock } = await import(${JSON.stringify(clockModule)});
    const lock = createStateLock({ directory: ${JSON.stringify(dir.path)}, name: 'lock', clock: systemClock });
    globalThis.held = await lock.acquire(new AbortController().signal);
    process.stdout.write('held');
    setInterval(() => undefined, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    const waited = Promise.withResolvers<void>();
    const next = lockIn(dir.path, waited.resolve).acquire(never);
    await waited.promise;
    child.kill('SIGKILL');
    const led = await next;
    await led.release();
  } finally {
    child.kill('SIGKILL');
  }
});

test('createStateLock: a directory that others can enter is refused', async () => {
  await using dir = await tempDir();
  const { chmod } = await import('node:fs/promises');
  await chmod(dir.path, 0o755);
  await assert.rejects(lockIn(dir.path).acquire(never), { code: 'denied' });
});

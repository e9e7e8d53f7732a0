import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Clock, Timer } from '../../../src/model/ports/clock.ts';
import type { Log } from '../../../src/model/ports/log.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';

/** Says nothing. */
export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/** A private directory that goes away with the test. */
export async function temporaryDir(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'isthmus-trust-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** The machine's clock, with hands that can be moved. */
export class ShiftedClock implements Clock {
  offsetMs = 0;
  monotonicOffsetMs = 0;

  /** Lets time pass, as against a wall clock that is set. */
  pass(ms: number): void {
    this.offsetMs += ms;
    this.monotonicOffsetMs += ms;
  }

  now(): number {
    return systemClock.now() + this.offsetMs;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.monotonicOffsetMs;
  }

  random(): number {
    return 0.5;
  }

  schedule(delayMs: number, task: () => void): Timer {
    return systemClock.schedule(delayMs, task);
  }
}

/** Looks every few ms until `look` is true. */
export async function eventually(what: string, look: () => boolean, timeoutMs: number = 4000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!look()) {
    if (Date.now() > end) throw new Error(`Not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

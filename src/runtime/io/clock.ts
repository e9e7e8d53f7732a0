import { uptime } from 'node:os';
import type { Clock, Timer } from '../../model/ports/clock.ts';

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  schedule(delayMs: number, task: () => void): Timer {
    // setTimeout fires at once beyond 2^31-1 ms; nothing here waits longer than that on purpose.
    const timer = setTimeout(task, Math.min(delayMs, 2_147_483_647)).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Ms since the machine was started, its sleep included (to 10 ms); the monotonic clock stands still meanwhile. */
export function bootMs(): number {
  return uptime() * 1000;
}

import type { Clock } from '../model/ports/clock.ts';

/** Resolves after `ms`, or at once when `signal` aborts: look at the signal afterwards. Never rejects. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.schedule(ms, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}

import { messageOf } from '../model/error.ts';
import type { Log } from '../model/ports/log.ts';

/** What was started, in order, to be ended in reverse. */
export class Started {
  readonly #log: Log;
  readonly #ends: { readonly what: string; readonly end: () => void | Promise<void> }[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** Keeps `end` for later. */
  add(what: string, end: () => void | Promise<void>): void {
    this.#ends.push({ what, end });
  }

  /** Ends everything, the youngest first; one that fails does not keep the others alive. */
  async end(): Promise<void> {
    for (const { what, end } of this.#ends.splice(0).reverse()) {
      try {
        await end();
      } catch (thrown) {
        this.#log.error({ what, reason: messageOf(thrown) }, 'could not end cleanly');
      }
    }
  }
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Keeps the process alive while everything else waits: pending timers of a `Clock` do not. */
export function keepAlive(): () => void {
  const timer = setInterval(() => undefined, 2_147_483_647);
  return () => clearInterval(timer);
}

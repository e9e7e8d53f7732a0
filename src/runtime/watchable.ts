import type { Watch } from '../model/ports/watch.ts';

/** A value with listeners. Setting the very same value (by `Object.is`) is no change. */
export class Watchable<T> implements Watch<T> {
  #current: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#current = initial;
  }

  get current(): T {
    return this.#current;
  }

  set(value: T): void {
    if (Object.is(value, this.#current)) return;
    this.#current = value;
    // A copy, so that a listener may end its own or another subscription.
    for (const listener of Array.from(this.#listeners)) {
      if (this.#listeners.has(listener)) listener(value);
    }
  }

  subscribe(listener: (value: T) => void): () => void {
    // A wrapper, so that one function subscribed twice is two subscriptions.
    const own = (value: T): void => listener(value);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }
}

/** Resolves with the first value, present or future, that `accept` likes; rejects with the signal's reason. */
export function waitFor<T, U extends T>(
  source: Watch<T>,
  accept: (value: T) => value is U,
  signal?: AbortSignal,
): Promise<U> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const present = source.current;
    if (accept(present)) return resolve(present);
    const abort = (): void => {
      end();
      reject(signal?.reason as Error);
    };
    const end = source.subscribe((value) => {
      if (!accept(value)) return;
      end();
      signal?.removeEventListener('abort', abort);
      resolve(value);
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** For `waitFor`: anything but undefined. */
export function isPresent<T>(value: T | undefined): value is T {
  return value !== undefined;
}

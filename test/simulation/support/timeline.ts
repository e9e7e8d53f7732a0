import { setImmediate as turn } from 'node:timers/promises';
import type { Clock, Timer } from '../../../src/model/ports/clock.ts';
import type { Random } from './random.ts';

interface Entry {
  readonly at: number;
  /** Order among those due at the same time. */
  readonly order: number;
  readonly task: () => void;
}

/** Simulated time: nothing happens but what was scheduled, one thing after the other, each to its end. */
export class Timeline {
  readonly #random: Random;
  #entries: Entry[] = [];
  #now = 0;
  #order = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Simulated ms. */
  get now(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): Timer {
    this.#order += 1;
    const entry = { at: this.#now + Math.max(0, delayMs), order: this.#order, task };
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#entries[middle] as Entry;
      if (other.at < entry.at || (other.at === entry.at && other.order < entry.order)) low = middle + 1;
      else high = middle;
    }
    this.#entries.splice(low, 0, entry);
    return { cancel: () => void (this.#entries = this.#entries.filter((other) => other !== entry)) };
  }

  /** Lets so much time pass. */
  async run(ms: number): Promise<void> {
    const end = this.#now + ms;
    await turn();
    for (;;) {
      const next = this.#entries[0];
      if (!next || next.at > end) break;
      this.#entries.shift();
      this.#now = Math.max(this.#now, next.at);
      next.task();
      // All that follows from it in this instant: promises, and promises of promises.
      await turn();
    }
    this.#now = end;
  }

  /** So much time passes at once, as if all machines had slept. */
  leap(ms: number): void {
    this.#now += ms;
  }

  /** The clock of a machine whose wall clock is off by `skewMs`. `isAlive` false: nothing of it fires any more. */
  clock(skewMs: number, isAlive: () => boolean): Clock {
    return {
      now: () => 1_800_000_000_000 + Math.floor(this.#now) + skewMs,
      monotonic: () => this.#now,
      random: () => this.#random.next(),
      schedule: (delayMs, task) =>
        this.after(delayMs, () => {
          if (isAlive()) task();
        }),
    };
  }
}

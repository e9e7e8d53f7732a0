import type { Clock, Timer } from '../../../src/model/ports/clock.ts';

/** Time that moves only when told to. */
export class FakeClock implements Clock {
  #now = 0;
  #timers: { at: number; task: () => void }[] = [];
  draw = 0;

  now(): number {
    return 1_700_000_000_000 + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  random(): number {
    return this.draw;
  }

  schedule(delayMs: number, task: () => void): Timer {
    const entry = { at: this.#now + delayMs, task };
    this.#timers.push(entry);
    return { cancel: () => void (this.#timers = this.#timers.filter((timer) => timer !== entry)) };
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on, running what falls due at its time. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.at);
      next.task();
    }
    this.#now = until;
  }

  /** The process is held up: everything that fell due runs late, at the end. */
  stall(ms: number): void {
    this.#now += ms;
    this.advance(0);
  }
}

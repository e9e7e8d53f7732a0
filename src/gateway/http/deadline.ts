import type { Clock, Timer } from '../../model/ports/clock.ts';

/**
 * A moment that moves with every request. Its timer is left alone while it is early enough, so that a connection has a
 * timer now and then and not one for each request.
 */
export class Deadline {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  #due: number | undefined;
  #timer: Timer | undefined;
  #firesAt = 0;

  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** `at`: monotonic ms; undefined: never. */
  set(at: number | undefined): void {
    this.#due = at;
    if (at === undefined || (this.#timer && this.#firesAt <= at)) return;
    this.#timer?.cancel();
    this.#arm(at);
  }

  /** No timer is left. */
  cancel(): void {
    this.#due = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(at: number): void {
    this.#firesAt = at;
    this.#timer = this.#clock.schedule(Math.max(0, at - this.#clock.monotonic()), () => this.#fired());
  }

  #fired(): void {
    this.#timer = undefined;
    const due = this.#due;
    if (due === undefined) return;
    if (this.#clock.monotonic() < due) return this.#arm(due);
    this.#due = undefined;
    this.#onDue();
  }
}

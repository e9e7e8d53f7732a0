import { IsthmusError } from '../../model/error.ts';

/** Clocks are set by small steps all the time. */
const toleranceMs = 5 * 60_000;

/**
 * Notices a wall clock that goes back behind what the journal has seen: certificates and tokens of then would be valid
 * again, and the journal would lie about the order of things. Times are wall clock in ms.
 */
export class ClockGuard {
  #latest: number;

  constructor(latest: number) {
    this.#latest = latest;
  }

  /** The latest time that was seen. */
  get latest(): number {
    return this.#latest;
  }

  /** Why nothing may be decided at `now`; undefined: it may. */
  problem(now: number): string | undefined {
    if (now >= this.#latest - toleranceMs) return undefined;
    const [here, there] = [now, this.#latest].map((at) => new Date(at).toISOString());
    return `the wall clock says ${here}, but the journal has an entry of ${there}`;
  }

  /** @throws IsthmusError `unavailable` */
  check(now: number): void {
    const problem = this.problem(now);
    if (problem === undefined) return;
    throw new IsthmusError('unavailable', `Nothing is decided while ${problem}`, {
      hint: `Set the clock right, or run 'isthmus authority accept-clock' if it is.`,
    });
  }

  note(now: number): void {
    this.#latest = Math.max(this.#latest, now);
  }

  /** An operator says that `now` is right. */
  accept(now: number): void {
    this.#latest = now;
  }
}

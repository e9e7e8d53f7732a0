import { IsthmusError } from '../../model/error.ts';

/** Clocks are set by small steps all the time: in ms. */
export const toleranceMs: number = 5 * 60_000;
/** …and run up to 500 ppm too fast or too slow while they are corrected (adjtime(3), NTP). */
const maxDrift = 500e-6;

/** One look at the time. */
export interface Moment {
  /** Wall clock in ms. */
  readonly now: number;
  /** Ms since an arbitrary start, whatever is done to the wall clock, the sleep of the machine included. */
  readonly elapsed: number;
}

/**
 * Notices a wall clock that jumps, against what the journal has seen and against a clock that nobody sets. Back:
 * certificates and tokens of then would be valid again, and the journal would lie about the order of things. Ahead:
 * members would be dropped as expired and certificates made that nobody can use yet. At the start of a process only the
 * first can be told. Times are wall clock in ms.
 */
export class ClockGuard {
  #latest: number;
  /** When wall clock and elapsed time agreed. */
  #agreed: Moment;

  constructor(latest: number, begin: Moment) {
    this.#latest = latest;
    this.#agreed = begin;
  }

  /** The latest time that was seen. */
  get latest(): number {
    return this.#latest;
  }

  /** Why nothing may be decided at this moment; undefined: it may. */
  problem(moment: Moment): string | undefined {
    const { now } = moment;
    if (now < this.#latest - toleranceMs) {
      return `the wall clock says ${textOf(now)}, but the journal has an entry of ${textOf(this.#latest)}`;
    }
    const expected = this.#expected(moment);
    const slackMs = toleranceMs + (moment.elapsed - this.#agreed.elapsed) * maxDrift;
    if (Math.abs(now - expected) <= slackMs) return undefined;
    const way = now > expected ? 'ahead' : 'back';
    return `the wall clock says ${textOf(now)}, but by the time that has passed it is ${textOf(expected)}: it jumped ${way}`;
  }

  /** The time to write down while the wall clock is not believed: never before the last entry. */
  believed(moment: Moment): number {
    return Math.max(this.#latest, Math.round(this.#expected(moment)));
  }

  note(now: number): void {
    this.#latest = Math.max(this.#latest, now);
  }

  /** An operator says that this moment is right. */
  accept(moment: Moment): void {
    this.#latest = moment.now;
    this.#agreed = moment;
  }

  #expected({ elapsed }: Moment): number {
    return this.#agreed.now + (elapsed - this.#agreed.elapsed);
  }
}

/** What a decision is refused with while there is a problem. */
export function clockRefusal(problem: string, hint: string): IsthmusError {
  return new IsthmusError('unavailable', `Nothing is decided while ${problem}`, { hint });
}

function textOf(at: number): string {
  return new Date(at).toISOString();
}

/** How connections went during the last ten to twenty seconds. */
export interface Tally {
  readonly good: number;
  readonly bad: number;
}

const halfMs = 10_000;

/** Counts outcomes and forgets the old ones. */
export class OutcomeWindow {
  #half = 0;
  #present = { good: 0, bad: 0 };
  #before = { good: 0, bad: 0 };

  note(good: boolean, now: number): void {
    this.#turn(now);
    if (good) this.#present.good += 1;
    else this.#present.bad += 1;
  }

  tally(now: number): Tally {
    this.#turn(now);
    return { good: this.#present.good + this.#before.good, bad: this.#present.bad + this.#before.bad };
  }

  clear(): void {
    this.#present = { good: 0, bad: 0 };
    this.#before = { good: 0, bad: 0 };
  }

  #turn(now: number): void {
    const half = Math.floor(now / halfMs);
    if (half === this.#half) return;
    this.#before = half === this.#half + 1 ? this.#present : { good: 0, bad: 0 };
    this.#present = { good: 0, bad: 0 };
    this.#half = half;
  }
}

/** Fewer outcomes say nothing. */
const leastVolume = 20;
/** A difference in success that people would act on. */
const leastDifference = 0.15;
/** Standard errors: once in seven hundred by chance. */
const certainty = 3;

/**
 * Whether one succeeds clearly less often than its siblings together: a difference that matters, and that is not chance
 * (two-proportion z-test, pooled). It adapts to the volume and needs two of them, not five.
 */
export function isOutlier(own: Tally, siblings: Tally): boolean {
  const [n, m] = [own.good + own.bad, siblings.good + siblings.bad];
  if (n < leastVolume || m < leastVolume) return false;
  const difference = siblings.good / m - own.good / n;
  if (difference < leastDifference) return false;
  const pooled = (own.good + siblings.good) / (n + m);
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m));
  return difference > certainty * error;
}

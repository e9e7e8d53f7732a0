/** Half of what was known counts after 0.7 of this. */
const decayMs = 10_000;

/**
 * A moving average that takes a bad value at once and forgets it slowly: an endpoint that became slow is avoided after
 * one connection, not after ten (as in Finagle's and linkerd's balancers).
 */
export class PeakEwma {
  #value = 0;
  #at = 0;

  /** `ms`: one duration; `now`: monotonic ms. */
  observe(ms: number, now: number): void {
    const present = this.#decayed(now);
    if (ms >= present) this.#value = ms;
    else {
      const kept = Math.exp(-Math.max(1, now - this.#at) / decayMs);
      this.#value = present * kept + ms * (1 - kept);
    }
    this.#at = now;
  }

  /** Expected ms; falls while nothing is observed, so that what was slow is tried again. 0 before the first one. */
  value(now: number): number {
    return this.#decayed(now);
  }

  #decayed(now: number): number {
    return this.#value * Math.exp(-Math.max(0, now - this.#at) / decayMs);
  }
}

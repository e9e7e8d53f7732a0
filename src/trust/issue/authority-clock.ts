/** How far this machine's wall clock is from the authority's. */
export interface ClockSkew {
  /** Ours minus the authority's, in ms, to about half a second. */
  readonly skewMs: number;
  /** Our wall clock in ms when it was seen. */
  readonly at: number;
}

/**
 * Estimates the authority's clock from what it says and signs while we listen: the time with its answers, and that of a
 * roster that is pushed. What was signed while nobody listened proves one thing only: our clock is behind if it comes
 * from our future.
 */
export class AuthorityClock {
  #skew: ClockSkew | undefined;

  /** Undefined: nothing was seen yet. */
  get skew(): ClockSkew | undefined {
    return this.#skew;
  }

  /** `signedAt`: what the authority's clock said; `now`: ours. `fresh`: it was signed just now. */
  note(signedAt: number, now: number, fresh: boolean): void {
    if (signedAt <= 0) return;
    if (fresh || signedAt > now) this.#skew = { skewMs: Math.round(now - signedAt), at: now };
  }
}

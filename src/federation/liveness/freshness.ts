import type { Freshness } from '../../model/view.ts';

/** Ages on the reader's own monotonic clock; a cluster's self-declared times play no part. */
export interface LivenessTimings {
  /** No sign of life for so long: `suspect`. Default 15 s. */
  readonly suspectMs: number;
  /** …and for so long: `dead`. Default 45 s. */
  readonly deadMs: number;
}

/** Three and nine renewals of the default lease interval of 5 s. */
export const defaultLiveness: LivenessTimings = { suspectMs: 15_000, deadMs: 45_000 };

export interface SignsOfLife {
  /** Monotonic ms at which lease or data last advanced; undefined = not since this process started. */
  readonly advancedAt: number | undefined;
  /** Monotonic ms since which the hub answers without interruption; undefined = it does not answer. */
  readonly hubUpSince: number | undefined;
}

/**
 * How fresh a cluster's data is. While the hub is silent nobody is declared dead: that is our loss, not theirs
 * (architecture.md, decision 5), and once it is back everyone has the whole time again to show life.
 */
export function freshnessOf(signs: SignsOfLife, now: number, timings: LivenessTimings): Freshness {
  const { advancedAt, hubUpSince } = signs;
  if (advancedAt === undefined) {
    return hubUpSince !== undefined && now - hubUpSince >= timings.deadMs ? 'dead' : 'unknown';
  }
  if (now - advancedAt < timings.suspectMs) return 'live';
  if (hubUpSince === undefined) return 'suspect';
  return now - Math.max(advancedAt, hubUpSince) < timings.deadMs ? 'suspect' : 'dead';
}

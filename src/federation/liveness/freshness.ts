import type { Freshness } from '../../model/view.ts';

/** Ages on the reader's own monotonic clock; a cluster's self-declared times play no part. */
export interface LivenessTimings {
  /** No sign of life for so long: `suspect`. Default 15 s. */
  readonly suspectMs: number;
  /** …and for so long: `dead`. Default 45 s. */
  readonly deadMs: number;
  /** Once dead, it is `live` again only after it has shown life for so long. Default 10 s. */
  readonly recoverMs: number;
}

/** Three and nine renewals of the default lease interval of 5 s; two to come back. */
export const defaultLiveness: LivenessTimings = { suspectMs: 15_000, deadMs: 45_000, recoverMs: 10_000 };

export interface SignsOfLife {
  /** Monotonic ms at which lease or data last advanced; undefined = not since this process started. */
  readonly advancedAt: number | undefined;
  /** Monotonic ms since which the hub answers without interruption; undefined = it does not answer. */
  readonly hubUpSince: number | undefined;
  /** It said good-bye. */
  readonly left?: boolean;
  /** Monotonic ms since which it has shown life after it was dead; undefined = it was not, or is over it. */
  readonly backSince?: number | undefined;
}

/**
 * How fresh a cluster's data is. While the hub is silent nobody is declared dead: that is our loss, not theirs
 * (architecture.md, decision 5), and once it is back everyone has the whole time again to show life.
 */
export function freshnessOf(signs: SignsOfLife, now: number, timings: LivenessTimings): Freshness {
  const { advancedAt, hubUpSince, left, backSince } = signs;
  if (left) return 'dead';
  if (advancedAt === undefined) {
    return hubUpSince !== undefined && now - hubUpSince >= timings.deadMs ? 'dead' : 'unknown';
  }
  if (now - advancedAt < timings.suspectMs) {
    return backSince !== undefined && now - backSince < timings.recoverMs ? 'suspect' : 'live';
  }
  if (hubUpSince === undefined) return 'suspect';
  return now - Math.max(advancedAt, hubUpSince) < timings.deadMs ? 'suspect' : 'dead';
}

/** A span of monotonic time in ms, both ends included. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * When most of the clusters that ever showed life stopped within `suspectMs` of each other: then it is the hub that
 * stopped telling, though it answers, and those clusters are not to be blamed (architecture.md, decision 5). Undefined:
 * nothing of the kind; one cluster alone proves nothing.
 */
export function silenceOfMost(advancedAt: readonly number[], now: number, timings: LivenessTimings): Span | undefined {
  const { suspectMs } = timings;
  const silent = advancedAt.filter((at) => now - at >= suspectMs).toSorted((a, b) => a - b);
  const most = Math.max(2, Math.floor(advancedAt.length / 2) + 1);
  for (let last = silent.length - 1; last >= most - 1; last -= 1) {
    const from = silent[last - most + 1] as number;
    const to = silent[last] as number;
    if (to - from <= suspectMs) return { from: to - suspectMs, to: from + suspectMs };
  }
  return undefined;
}

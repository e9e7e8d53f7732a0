import type { RecordKey } from '../../model/record.ts';

/** How many deletions at once are too many to be meant (wire.md, "Tombstones"). */
export interface GuardRule {
  /** Deletions that fall within so long of each other are one burst, in ms. */
  readonly windowMs: number;
  /** Fewer are never held back. */
  readonly atLeast: number;
  /** 0 to 1: a burst that takes more than this part of the exports there were is held back. */
  readonly fraction: number;
}

export const defaultGuard: GuardRule = { windowMs: 60_000, atLeast: 5, fraction: 0.3 };

/** An export that is to go. */
export interface Deletion {
  readonly key: RecordKey;
  /** When its owner deleted it, by the owner's wall clock in ms. */
  readonly at: number;
}

export interface BurstFacts {
  /** Exports that stay. */
  readonly remaining: number;
  /** Times of undeclared deletions before these, held back or not. */
  readonly earlier: readonly number[];
}

/**
 * Which deletions are part of a burst. They are judged by when they were made, not by when they were noticed, so that a
 * reader which slept through a day of ordinary changes does not take them for one.
 */
export function burstOf(
  deletions: readonly Deletion[],
  { remaining, earlier }: BurstFacts,
  rule: GuardRule,
): ReadonlySet<RecordKey> {
  const before = earlier.map((at): { readonly at: number; readonly key?: RecordKey } => ({ at }));
  const all = [...before, ...deletions].toSorted((a, b) => a.at - b.at);
  const held = new Set<RecordKey>();
  let end = 0;
  let marked = 0;
  for (const [start, { at }] of all.entries()) {
    while (end < all.length && (all[end]?.at ?? 0) - at < rule.windowMs) end += 1;
    const size = end - start;
    const exportsThen = remaining + all.length - start;
    if (size < rule.atLeast || size <= rule.fraction * exportsThen) continue;
    for (marked = Math.max(marked, start); marked < end; marked += 1) {
      const key = all[marked]?.key;
      if (key !== undefined) held.add(key);
    }
  }
  return held;
}

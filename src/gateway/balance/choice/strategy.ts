import type { PeakEwma } from './peak-ewma.ts';

/** One of several that can serve: an endpoint, or a gateway of another cluster. */
export interface Choosable {
  /** Stable: the same process keeps it. */
  readonly id: string;
  /** Connections being made or open. */
  readonly active: number;
  /** How long a connection to it takes. */
  readonly latency: PeakEwma;
  /** Monotonic ms since which it is in use; `-Infinity` when it has always been. */
  readonly since: number;
}

/** One choice to be made. */
export interface Choice<T extends Choosable> {
  /** All of them, also those out of use. The same array as long as they are the same. */
  readonly items: readonly T[];
  readonly usable: (item: T) => boolean;
  /** At most so many are wanted. */
  readonly limit: number;
  /** Monotonic ms. */
  readonly now: number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  /** The client's address without its port; undefined when it is not known. */
  readonly source: string | undefined;
  /** See `LoadBalancingPlan`. */
  readonly slowStartMs: number;
}

/**
 * Decides which of several is tried first, and which next if that fails. The result holds usable items only, each at
 * most once, and all of them if `limit` allows: whoever is left out of the first place is still a way out.
 */
export interface Strategy {
  order<T extends Choosable>(choice: Choice<T>): T[];
}

const leastWeight = 0.1;

/** 0.1 to 1: how much of its part an item gets while it is warming up, rising linearly. */
export function warmth({ since }: Choosable, { now, slowStartMs }: Pick<Choice<never>, 'now' | 'slowStartMs'>): number {
  if (slowStartMs <= 0) return 1;
  return Math.min(1, Math.max(leastWeight, (now - since) / slowStartMs));
}

/** The usable items from position `first` of `items` on, round the end, at most `limit`. */
export function from<T extends Choosable>({ items, usable, limit }: Choice<T>, first: number): T[] {
  const order: T[] = [];
  for (let step = 0; step < items.length && order.length < limit; step += 1) {
    const item = items[(first + step) % items.length];
    if (item && usable(item)) order.push(item);
  }
  return order;
}

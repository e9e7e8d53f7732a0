import type { Target } from '../../model/route.ts';
import type { SharesResult } from '../../model/shares.ts';

/**
 * The order in which the targets of one connection are tried: the first by lot according to the shares, then the rest
 * of those that have a share (largest first), then those without one (better tier, more capacity first), so that a
 * connection is lost only when everything was tried. What an operator has taken out is not among them. Made once a
 * step; asking it costs no allocation.
 */
export class TargetOrder {
  readonly size: number;
  readonly #targets: readonly Target[];
  /** Sum of the shares up to and with each target. */
  readonly #sums: Float64Array;

  constructor(targets: readonly Target[], { shares, barred }: Pick<SharesResult, 'shares' | 'barred'>) {
    const shareOf = (target: Target): number => shares.get(target.cluster) ?? 0;
    this.#targets = targets
      .filter(({ cluster }) => !barred.has(cluster))
      .sort(
        (a, b) =>
          shareOf(b) - shareOf(a) || a.tier - b.tier || b.capacity - a.capacity || compare(a.cluster, b.cluster),
      );
    this.size = this.#targets.length;
    this.#sums = new Float64Array(this.size);
    let sum = 0;
    for (const [index, target] of this.#targets.entries()) {
      sum += shareOf(target);
      this.#sums[index] = sum;
    }
  }

  /** Whom to try first, drawn in proportion to the shares. `random`: 0 ≤ x < 1. For `at`. */
  draw(random: number): number {
    const wanted = random * (this.#sums[this.size - 1] ?? 0);
    for (let index = 0; index < this.size; index += 1) if (wanted < (this.#sums[index] ?? 0)) return index;
    return 0;
  }

  /** The target to be tried as number `index` (from 0) when `first` was drawn; undefined behind the last. */
  at(first: number, index: number): Target | undefined {
    if (index === 0) return this.#targets[first];
    return this.#targets[index <= first ? index - 1 : index];
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

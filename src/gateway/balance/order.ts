import type { Target } from '../../model/route.ts';
import type { SharesResult } from '../../model/shares.ts';

/**
 * The order in which the targets of one connection are tried: the first by lot according to the shares, then the rest
 * of those that have a share (largest first), then those without one (better tier, more capacity first), so that a
 * connection is lost only when everything was tried. What an operator has taken out is not among them.
 */
export function targetOrder(
  targets: readonly Target[],
  { shares, barred }: Pick<SharesResult, 'shares' | 'barred'>,
  random: number,
): readonly Target[] {
  const shareOf = (target: Target): number => shares.get(target.cluster) ?? 0;
  const rest = targets
    .filter(({ cluster }) => !barred.has(cluster))
    .sort(
      (a, b) => shareOf(b) - shareOf(a) || a.tier - b.tier || b.capacity - a.capacity || compare(a.cluster, b.cluster),
    );
  const first = draw(rest, shareOf, random);
  if (first > 0) rest.unshift(...rest.splice(first, 1));
  return rest;
}

/** Index drawn in proportion to the shares; 0 when none has any. */
function draw(targets: readonly Target[], shareOf: (target: Target) => number, random: number): number {
  const total = targets.reduce((sum, target) => sum + shareOf(target), 0);
  let left = random * total;
  for (let index = 0; index < targets.length; index += 1) {
    left -= shareOf(targets[index] as Target);
    if (left < 0) return index;
  }
  return 0;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

import type { ClusterName } from '../model/names.ts';
import type { ServiceRoute, Target } from '../model/route.ts';
import type { ServiceFacts, SharesResult, SharesState, TargetState } from '../model/shares.ts';

/** How often shares are looked at while a target's traffic is returning. */
const rampStepMs = 250;
/** Less health than this is none: one endpoint in a million, and no arithmetic on denormal numbers. */
const leastHealth = 1e-6;

/** One target as this step sees it. */
interface Weighed {
  readonly target: Target;
  /** 0 to 1, the worse of what its owner says and what this gateway finds. */
  readonly health: number;
  /** 0 to 1: how much of its normal share it may have yet after an outage. */
  readonly ramp: number;
  readonly state: TargetState;
  readonly changesAt: number | undefined;
  readonly why: string;
}

/**
 * Plan + facts → shares (policy.md). The share of tier i is min(what is left, its health / threshold); after the last
 * tier all is scaled to sum to 1. A target that was out stays out for `holdMs` after it became healthy and returns
 * linearly over `returnOverMs`. Hold never leaves traffic with nowhere to go: if nothing else serves, it is lifted.
 */
export function step(route: ServiceRoute, facts: ServiceFacts, state: SharesState, now: number): SharesResult {
  const weighed = route.targets.map((target) => weigh(target, { route, facts, state, now }));
  let shares = divide(weighed, route.failover.healthyThreshold, (w) => w.ramp);
  const lifted = shares.size === 0 && weighed.some((w) => w.health > 0);
  if (lifted) shares = divide(weighed, route.failover.healthyThreshold, () => 1);
  const changes = weighed.flatMap((w) => (w.changesAt === undefined ? [] : [w.changesAt]));
  return {
    shares,
    state: new Map(weighed.map((w) => [w.target.cluster, w.state])),
    reasons: new Map(weighed.map((w) => [w.target.cluster, reason(w, shares, lifted)])),
    changesAt: changes.length === 0 ? undefined : Math.min(...changes),
  };
}

interface WeighContext {
  readonly route: ServiceRoute;
  readonly facts: ServiceFacts;
  readonly state: SharesState;
  readonly now: number;
}

function weigh(target: Target, { route, facts, state, now }: WeighContext): Weighed {
  const fact = facts.get(target.cluster);
  const reachable = fact?.reachable ?? true;
  const health = reachable && target.capacity > 0 ? Math.min(target.health, fact?.health ?? 1) : 0;
  const before = state.get(target.cluster);
  if (health < leastHealth) {
    return {
      target,
      health: 0,
      ramp: 0,
      state: { out: true, healthySince: undefined },
      changesAt: undefined,
      why: !reachable ? 'unreachable' : target.capacity > 0 ? 'no healthy endpoint' : 'no endpoint',
    };
  }
  // Never out, or seen for the first time: no hold.
  if (!before?.out) {
    return { target, health, ramp: 1, state: { out: false, healthySince: undefined }, changesAt: undefined, why: '' };
  }
  const { holdMs, returnOverMs } = route.failover;
  const since = before.healthySince ?? now;
  const returning = now - since - holdMs;
  if (returning >= returnOverMs) {
    return { target, health, ramp: 1, state: { out: false, healthySince: undefined }, changesAt: undefined, why: '' };
  }
  const held = returning < 0;
  return {
    target,
    health,
    ramp: held ? 0 : returning / returnOverMs,
    state: { out: true, healthySince: since },
    changesAt: held ? since + holdMs : now + rampStepMs,
    why: held ? 'healthy again, held' : 'returning',
  };
}

/** Shares by tier; empty = nothing has any health (under `ramp`). */
function divide(
  weighed: readonly Weighed[],
  threshold: number,
  ramp: (w: Weighed) => number,
): ReadonlyMap<ClusterName, number> {
  const shares = new Map<ClusterName, number>();
  let left = 1;
  for (const tier of [...new Set(weighed.map((w) => w.target.tier))].sort((a, b) => a - b)) {
    const members = weighed.filter((w) => w.target.tier === tier);
    const rated = sum(members, (w) => w.target.capacity);
    const serving = sum(members, (w) => w.target.capacity * w.health);
    const admitted = sum(members, (w) => w.target.capacity * w.health * ramp(w));
    if (admitted === 0 || left <= 0) continue;
    // The threshold judges the tier's health; the return only scales what health would give.
    const wanted = threshold > 0 ? Math.min(1, serving / rated / threshold) : 1;
    const share = Math.min(left, wanted * (admitted / serving));
    for (const w of members) {
      const part = (share * w.target.capacity * w.health * ramp(w)) / admitted;
      if (part > 0) shares.set(w.target.cluster, part);
    }
    left -= share;
  }
  const total = sum([...shares.values()], (share) => share);
  if (total === 0) return shares;
  return new Map([...shares].map(([cluster, share]) => [cluster, share / total]));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function reason(w: Weighed, shares: ReadonlyMap<ClusterName, number>, lifted: boolean): string {
  const parts: string[] = [];
  if (w.why !== '') parts.push(w.why);
  if (w.health > 0 && w.health < 1) parts.push(`${Math.round(w.health * 100)}% healthy`);
  if (w.target.stale) parts.push('data stale');
  const share = shares.get(w.target.cluster) ?? 0;
  if (parts.length === 0 || lifted) {
    if (lifted && share > 0) parts.push('nothing else serves');
    else if (share === 0) parts.push(`standby: better tier serves`);
    else parts.push(w.target.tier === 0 ? 'local preferred' : 'by capacity');
  }
  return parts.join(', ');
}

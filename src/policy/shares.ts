import type { ClusterName } from '../model/names.ts';
import type { FailoverPlan, ServiceRoute } from '../model/route.ts';
import type { ServiceFacts, SharesResult, SharesState, SharesStep, TargetState } from '../model/shares.ts';
import { defaultPanicThreshold } from './defaults.ts';
import { reasonOf } from './reason.ts';
import { type Moment, type Weighed, weigh } from './weigh.ts';

/** Less than this of the traffic is nobody's. */
const leastShare = 1e-18;

/** Makes the step that gateways run: `wallNow` is asked at each one. */
export function sharesStep(wallNow: () => number): SharesStep {
  return (route, facts, state, now) => stepAt(route, { facts, state }, { now, wallNow: wallNow() });
}

/** Plan + facts → shares, where the two clocks need not be told apart: without drains. */
export function step(route: ServiceRoute, facts: ServiceFacts, state: SharesState, now: number): SharesResult {
  return stepAt(route, { facts, state }, { now, wallNow: now });
}

/**
 * Plan + facts → shares (policy.md). The share of tier i is min(what is left, its health / threshold); after the last
 * tier all is scaled to sum to 1. Worse facts count at once, better ones after the hold and gradually; a hold never
 * keeps traffic from the only place that could carry it. Nothing ever goes where a drain has ended.
 */
export function stepAt(
  route: ServiceRoute,
  known: { readonly facts: ServiceFacts; readonly state: SharesState },
  moment: Moment,
): SharesResult {
  const plan = route.failover;
  const weighed = route.targets.map((target) => weigh(target, { plan, ...known, moment }));
  const { shares, lifted } = divide(weighed, plan);
  const state = new Map<ClusterName, TargetState>();
  const reasons = new Map<ClusterName, string>();
  const barred = new Set<ClusterName>();
  let changesAt: number | undefined;
  for (const each of weighed) {
    const { cluster } = each.target;
    const level = lifted.has(each) ? { level: each.level.health, betterSince: undefined } : each.level.state;
    state.set(cluster, { ...level, admitted: each.admitted.part, at: moment.now });
    reasons.set(cluster, reasonOf(each, shares.get(cluster) ?? 0, plan));
    if (each.left === 0 && each.target.drain?.drained) barred.add(cluster);
    if (each.changesAt !== undefined) changesAt = Math.min(changesAt ?? each.changesAt, each.changesAt);
  }
  return { shares, state, reasons, barred, panic: panics(weighed, plan), changesAt };
}

/** What of a target's health counts: what it had before it got better, that and what was granted since, or all. */
type Counted = 'firm' | 'granted' | 'all';

/** How much of what stands against targets counts. */
interface Strictness {
  readonly counted: (each: Weighed) => Counted;
  /** Load above `spillAt`. */
  readonly load: boolean;
}

type Tiers = readonly (readonly Weighed[])[];

interface Division {
  /** By cluster; empty = nothing has any health that may be used. */
  readonly shares: ReadonlyMap<ClusterName, number>;
  /** Whose hold or return is over before its time. */
  readonly lifted: ReadonlySet<Weighed>;
}

function divide(weighed: readonly Weighed[], plan: FailoverPlan): Division {
  const tiers = [...new Set(weighed.map((each) => each.target.tier))]
    .sort((a, b) => a - b)
    .map((tier) => weighed.filter((each) => each.target.tier === tier && each.left > 0));
  // What else there is could not carry it: traffic does not wait for a hold to end. How well a cluster is has no say in
  // whether its own is lifted, or it would lose by getting better.
  const lifted = new Set(
    weighed.filter(
      (each) => isHeld(each) && totalOf(tiers, plan, (other) => (other === each ? 'firm' : 'granted')) < panicOf(plan),
    ),
  );
  const filled = new Filled();
  filled.pass(tiers, plan, { counted: (each) => (lifted.has(each) ? 'all' : 'granted'), load: true });
  // Nor for load to fall.
  if (filled.total <= leastShare) filled.pass(tiers, plan, { counted: () => 'all', load: false });
  return { shares: filled.scaled(), lifted };
}

function isHeld({ level }: Weighed): boolean {
  return level.state.betterSince !== undefined;
}

function totalOf(tiers: Tiers, plan: FailoverPlan, counted: Strictness['counted']): number {
  const filled = new Filled();
  filled.pass(tiers, plan, { counted, load: true });
  return filled.total;
}

function panicOf({ panicThreshold = defaultPanicThreshold }: FailoverPlan): number {
  return panicThreshold;
}

/** Shares while they are handed out, tier by tier. */
class Filled {
  total: number = 0;
  readonly #shares = new Map<ClusterName, number>();
  readonly #byTier: number[] = [];

  /** Gives each tier, in order, what it asks for beyond what it has, as far as there is something left. */
  pass(tiers: Tiers, plan: FailoverPlan, strict: Strictness): void {
    for (const [index, members] of tiers.entries()) {
      const has = this.#byTier[index] ?? 0;
      const share = Math.min(1 - this.total, wanted(members, plan.healthyThreshold, strict) - has);
      if (share <= leastShare) continue;
      this.#byTier[index] = has + share;
      this.total += share;
      const parts = sum(members, (each) => partOf(each, strict));
      for (const each of members) {
        const part = (share * partOf(each, strict)) / parts;
        const { cluster } = each.target;
        if (part > 0) this.#shares.set(cluster, (this.#shares.get(cluster) ?? 0) + part);
      }
    }
  }

  scaled(): ReadonlyMap<ClusterName, number> {
    if (this.total <= leastShare) return new Map();
    return new Map([...this.#shares].map(([cluster, share]) => [cluster, share / this.total]));
  }
}

/** What a tier asks for, 0 to 1. */
function wanted(members: readonly Weighed[], threshold: number, strict: Strictness): number {
  const rated = sum(members, capacity);
  // While it returns, a target counts for what it is given: a tier does not shrink when one of it gets better.
  const serving = sum(members, (each) => capacity(each) * healthOf(each, strict));
  const usable = sum(members, (each) => partOf(each, strict));
  if (rated === 0 || serving === 0 || usable === 0) return 0;
  const whole = threshold > 0 ? Math.min(1, serving / rated / threshold) : 1;
  // A drained member leaves its part to its siblings; when all of them go, the tier goes.
  const present = Math.max(...members.filter((each) => each.level.health > 0).map((each) => each.left));
  return whole * present * (usable / sum(members, (each) => partOf(each, { ...strict, load: false })));
}

function capacity({ target, left }: Weighed): number {
  return target.capacity * left;
}

function healthOf(each: Weighed, { counted }: Strictness): number {
  const { health, granted, firm } = each.level;
  const what = counted(each);
  return what === 'all' ? health : what === 'granted' ? granted : firm;
}

/** Its part among its siblings. */
function partOf(each: Weighed, strict: Strictness): number {
  const { target, level, left, admitted } = each;
  const health = strict.counted(each) === 'granted' ? level.health * level.ramp : healthOf(each, strict);
  return (target.weight ?? target.capacity) * left * health * (strict.load ? admitted.part : 1);
}

/** Whether health says so little that choosing by it would overload the few that look good. */
function panics(weighed: readonly Weighed[], plan: FailoverPlan): boolean {
  const rated = sum(weighed, capacity);
  const serving = sum(weighed, (each) => capacity(each) * each.level.health);
  return rated > 0 && serving / rated < panicOf(plan);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

import type { ClusterName, ReplicaName } from '../model/names.ts';
import type { DrainRecord } from '../model/record.ts';
import type { DrainPlan } from '../model/route.ts';

/** A drain record with the cluster in whose partition it stands. */
export interface PublishedDrain {
  readonly publisher: ClusterName;
  readonly record: DrainRecord;
}

/** A drain that was not accepted, and why. */
export interface RefusedDrain extends PublishedDrain {
  readonly why: string;
}

/** What operators have taken out of use. */
export interface Drains {
  readonly clusters: ReadonlyMap<ClusterName, PublishedDrain>;
  /** By `<cluster>/<instance>`. */
  readonly gateways: ReadonlyMap<string, PublishedDrain>;
  readonly refused: readonly RefusedDrain[];
}

export const noDrains: Drains = { clusters: new Map(), gateways: new Map(), refused: [] };

/** A record from further in the future is refused, for good: its clock is wrong, or it means to win for ever. */
const maxSkewMs = 30_000;

export interface DrainRules {
  readonly mayOperate: (cluster: ClusterName) => boolean;
  /** Wall clock in ms. */
  readonly now: number;
  /** What was refused before stays refused. */
  readonly before: Drains;
}

/** The word that counts about each target: the last (`issuedAt`, publisher) of those who may speak (policy.md). */
export function resolveDrains(published: readonly PublishedDrain[], rules: DrainRules): Drains {
  const clusters = new Map<ClusterName, PublishedDrain>();
  const gateways = new Map<string, PublishedDrain>();
  const refused: RefusedDrain[] = [];
  for (const drain of published) {
    const why = refusal(drain, rules);
    if (why !== undefined) {
      refused.push({ ...drain, why });
      continue;
    }
    const { cluster, gateway } = drain.record.target;
    if (gateway === undefined) keepLater(clusters, cluster, drain);
    else keepLater(gateways, gatewayKey(cluster, gateway), drain);
  }
  return { clusters, gateways, refused };
}

/** `<cluster>/<instance>` */
export function gatewayKey(cluster: ClusterName, instance: ReplicaName): string {
  return `${cluster}/${instance}`;
}

function refusal({ publisher, record }: PublishedDrain, { mayOperate, now, before }: DrainRules): string | undefined {
  // What a cluster does to itself it could do in other ways too.
  if (publisher !== record.target.cluster && !mayOperate(publisher)) {
    return `${publisher} may not operate on other clusters (mayOperate)`;
  }
  const known = before.refused.find((each) => each.record === record && each.publisher === publisher);
  if (known) return known.why;
  const accepted = [...before.clusters.values(), ...before.gateways.values()].some((each) => each.record === record);
  if (accepted || record.issuedAt <= now + maxSkewMs) return undefined;
  return `it was issued ${Math.round((record.issuedAt - now) / 1000)} s in the future: the clock of ${publisher} is wrong`;
}

function keepLater<K>(kept: Map<K, PublishedDrain>, key: K, drain: PublishedDrain): void {
  const before = kept.get(key);
  const later =
    !before ||
    drain.record.issuedAt > before.record.issuedAt ||
    (drain.record.issuedAt === before.record.issuedAt && drain.publisher > before.publisher);
  if (later) kept.set(key, drain);
}

/** What gateways carry out. */
export function drainPlan({ publisher, record }: PublishedDrain): DrainPlan {
  const drained = record.state === 'drained';
  return {
    drained,
    issuedAt: record.issuedAt,
    overMs: record.overMs,
    from: record.from ?? (drained ? 1 : 0),
    by: publisher,
  };
}

/** Less of a share than this is none. */
const leastLeft = 1e-6;

/** 0 to 1: the part of its normal share that is left at `wallNow`, and whether it still moves. */
export function drainLeft(plan: DrainPlan, wallNow: number): { readonly left: number; readonly moving: boolean } {
  const goal = plan.drained ? 0 : 1;
  const elapsed = wallNow - plan.issuedAt;
  if (elapsed >= plan.overMs) return { left: goal, moving: false };
  const progress = Math.max(0, elapsed) / plan.overMs;
  const left = plan.from + (goal - plan.from) * progress;
  return { left: left < leastLeft ? 0 : left, moving: true };
}

import type { ClusterName } from './names.ts';
import type { ServiceRoute } from './route.ts';

/** What a gateway knows by itself of one target of one service, now. */
export interface TargetFacts {
  /** Whether the target can be reached at all: for the own cluster whether any endpoint is up, else the tunnel. */
  readonly reachable: boolean;
  /** 0 to 1: the share of the target's endpoints (or attempts) that work. */
  readonly health: number;
  /** Connections of the service that its endpoints carry there now, whoever sent them; absent = not known. */
  readonly load?: number;
}

/** Facts by cluster; a target without an entry was never tried and counts as healthy. */
export type ServiceFacts = ReadonlyMap<ClusterName, TargetFacts>;

/** What `step` remembers between calls for one target. Local to a gateway and lost on restart. */
export interface TargetState {
  /** 0 to 1: the health that was last granted in full; more is granted only after the hold, and gradually. */
  readonly level: number;
  /** Monotonic ms since which it has been better than `level`; undefined = it is not. */
  readonly betterSince: number | undefined;
  /** 0 to 1: what load leaves of its share. */
  readonly admitted: number;
  /** Monotonic ms of the step that made this. */
  readonly at: number;
}

export type SharesState = ReadonlyMap<ClusterName, TargetState>;

export interface SharesResult {
  /** Sums to 1, or is empty: nowhere to go. Only clusters with a share above 0. */
  readonly shares: ReadonlyMap<ClusterName, number>;
  readonly state: SharesState;
  /** One short sentence per target: why it has the share it has. */
  readonly reasons: ReadonlyMap<ClusterName, string>;
  /** Targets that must not be tried, not even when everything else has failed: an operator has taken them out. */
  readonly barred: ReadonlySet<ClusterName>;
  /** So much is broken that a target's endpoints are picked whatever their health (never one target for another). */
  readonly panic: boolean;
  /** Monotonic ms at which the result may change without a new fact; undefined = it will not. */
  readonly changesAt: number | undefined;
}

/** The pure step that turns a plan and facts into shares; lives in `policy/`, runs in every gateway. */
export type SharesStep = (route: ServiceRoute, facts: ServiceFacts, state: SharesState, now: number) => SharesResult;

/** `Active`: all goes to the best tier; `Spill`: partly elsewhere; `Failover`: all elsewhere; `Down`: nowhere to go. */
export type ServiceStanding = 'Active' | 'Spill' | 'Failover' | 'Down';

/** Less than this of the traffic elsewhere is rounding. */
const spillShare = 0.005;

/** Where the traffic of a service stands, by the shares of its targets. */
export function standingOf(route: ServiceRoute, shareOf: (cluster: ClusterName) => number): ServiceStanding {
  const best = Math.min(...route.targets.map((target) => target.tier));
  let total = 0;
  let preferred = 0;
  for (const { cluster, tier } of route.targets) {
    total += shareOf(cluster);
    if (tier === best) preferred += shareOf(cluster);
  }
  if (total === 0) return 'Down';
  if (preferred === 0) return 'Failover';
  return preferred < total * (1 - spillShare) ? 'Spill' : 'Active';
}

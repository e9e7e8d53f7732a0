/** How a gateway carries the connections of one service: the part of a policy that is not about where (policy.md). */

/** How one of several endpoints is chosen inside a target. */
export type BalanceAlgorithm = 'leastRequest' | 'roundRobin' | 'random' | 'consistentHash';

export interface LoadBalancingPlan {
  /** `consistentHash` goes by the client's source address. Default `leastRequest`. */
  readonly algorithm: BalanceAlgorithm;
  /** A new or returning endpoint gets its full part only after so long; 0 = at once. Default 5 s. */
  readonly slowStartMs: number;
}

/** What is absent is the gateway's own limit of that name. */
export interface ConnectionPlan {
  /** For one candidate, until it is connected. */
  readonly connectTimeoutMs?: number;
  /** The next candidate starts beside a silent one after this; absent = by the measured round trip. */
  readonly raceAfterMs?: number;
  /** Connections of the service in one gateway; more are answered at once. */
  readonly maxConnections: number;
  /** Of these, connections that are still being made. */
  readonly maxPending: number;
  /** A connection without a byte in either direction for so long is cut. */
  readonly idleTimeoutMs?: number;
}

/** When an endpoint, or the service in one other cluster, is taken out of use for what its connections came to. */
export interface OutlierPlan {
  /** Failures in a row. */
  readonly consecutiveFailures: number;
  /** `auto`: out when it succeeds clearly less often than its siblings, given enough connections to say so. */
  readonly successRate: 'auto' | 'off';
  /** Length of the first ejection; the n-th in short order lasts n times as long. */
  readonly baseEjectionMs: number;
  /** 0 to 1: never more than this part of a service's endpoints, but always at least one. */
  readonly maxEjected: number;
}

/** What a service may carry of all this; absent = the defaults below. */
export interface TrafficPlan {
  readonly loadBalancing?: LoadBalancingPlan;
  readonly connection?: ConnectionPlan;
  readonly outlier?: OutlierPlan;
}

export const defaultLoadBalancing: LoadBalancingPlan = { algorithm: 'leastRequest', slowStartMs: 5000 };
export const defaultConnection: ConnectionPlan = { maxConnections: 4096, maxPending: 1024 };
export const defaultOutlier: OutlierPlan = {
  consecutiveFailures: 5,
  successRate: 'auto',
  baseEjectionMs: 10_000,
  maxEjected: 0.5,
};

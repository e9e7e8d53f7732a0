/** How a gateway carries the connections of one service: the part of a policy that is not about where (policy.md). */

/** How one of several endpoints is chosen inside a target. */
export type BalanceAlgorithm = 'leastRequest' | 'roundRobin' | 'random' | 'consistentHash';

/** What `consistentHash` goes by. A request without that header or cookie goes by the client's source address. */
export type HashKey =
  | { readonly by: 'sourceIP' }
  /** `name` is in lower case. */
  | { readonly by: 'header'; readonly name: string }
  /** `name` is as written: cookie names are case-sensitive (RFC 6265 §4.1). */
  | { readonly by: 'cookie'; readonly name: string };

export interface LoadBalancingPlan {
  /** Default `leastRequest`. */
  readonly algorithm: BalanceAlgorithm;
  /** Absent: by source address. Connections that are not HTTP go by that whatever this says. */
  readonly hash?: HashKey;
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

/**
 * Statuses of gRPC on which a call may be tried again, by the names that Envoy's `retry_on` gives them: those that tell
 * of the server or the way to it. None tells of the call itself, which would fail again.
 */
export const grpcRetryConditions = [
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;
export type GrpcRetryCondition = (typeof grpcRetryConditions)[number];

/**
 * When a request is tried again elsewhere. `connect`: nothing of it was processed (no connection, a refused stream, a
 * pooled connection found dead), whatever its method; `reset`: the connection broke before the response began; a
 * number: that status, 500 to 599. Both of these concern idempotent methods only (RFC 9110 §9.2.2). A status of gRPC: the
 * server's whole answer is that status, without a message before it (as in gRFC A6); whoever names one says that calls
 * may be repeated then.
 */
export type RetryCondition = 'connect' | 'reset' | GrpcRetryCondition | number;

/** Whether a word, or a status, is a condition. */
export function isRetryCondition(word: string | number): word is RetryCondition {
  if (typeof word === 'number') return Number.isInteger(word) && word >= 500 && word <= 599;
  return word === 'connect' || word === 'reset' || isGrpcCondition(word);
}

/** Whether it is one that only calls of gRPC meet. */
export function isGrpcCondition(word: string | number): word is GrpcRetryCondition {
  return grpcRetryConditions.some((each) => each === word);
}

export interface RetryPlan {
  /** Tries after the first; 0 = none. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  /** Until a try's response begins; absent = only the time-out of the whole. */
  readonly perTryMs?: number;
  /** 0 to 1: retries are never more than this part of a service's active requests, a few always being allowed. */
  readonly budget: number;
}

/** How the requests of one service are carried, where its ports say HTTP or gRPC. */
export interface HttpPlan {
  /**
   * From when a request was read until its response begins, all tries together; 0 = no limit. A response that has begun
   * is bounded by `idleTimeoutMs` only. Absent: 15 s, and for gRPC calls nothing but the deadline that their client
   * states.
   */
  readonly timeoutMs?: number;
  /** A request without a byte in either direction for so long is cut; absent = as for connections. */
  readonly idleTimeoutMs?: number;
  readonly retries: RetryPlan;
}

/** What a service may carry of all this; absent = the defaults below. */
export interface TrafficPlan {
  readonly loadBalancing?: LoadBalancingPlan;
  readonly connection?: ConnectionPlan;
  readonly outlier?: OutlierPlan;
  readonly http?: HttpPlan;
}

export const defaultLoadBalancing: LoadBalancingPlan = { algorithm: 'leastRequest', slowStartMs: 5000 };
export const defaultConnection: ConnectionPlan = { maxConnections: 4096, maxPending: 1024 };
export const defaultOutlier: OutlierPlan = {
  consecutiveFailures: 5,
  successRate: 'auto',
  baseEjectionMs: 10_000,
  maxEjected: 0.5,
};
/** Time-out of a request that is no gRPC call, where no policy says otherwise. */
export const defaultRequestTimeoutMs = 15_000;
/** Nothing is sent twice unless a policy asks for it. */
export const defaultRetries: RetryPlan = { attempts: 2, on: ['connect'], budget: 0.2 };
export const defaultHttp: HttpPlan = { retries: defaultRetries };

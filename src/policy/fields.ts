import type { ClusterName } from '../model/names.ts';
import type { BalanceAlgorithm, HashKey, RetryCondition } from '../model/traffic.ts';

/** Which clusters a tier is made of; everything that is said must hold. */
export interface ClusterMatch {
  /** `same`: where the own cluster is; else the name of a region. */
  readonly region?: string;
  readonly clusters?: readonly ClusterName[];
  /** Labels that a cluster must bear, as the authority admitted them. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** One tier as written. */
export interface TierSpec {
  readonly match: ClusterMatch;
  /** Parts of the tier's traffic by cluster, in any unit; absent: by capacity. */
  readonly weights?: ReadonlyMap<ClusterName, number>;
}

/**
 * What a TrafficPolicy or FederationPolicy may say, flat: precedence goes field by field. Names are the paths below
 * `spec`; durations are in ms, shares 0 to 1.
 */
export interface TrafficFields {
  /** The own cluster is a tier before all others. Default true. */
  readonly 'locality.preferLocal': boolean;
  /** Default none: all other clusters are one tier, by `fallback`. */
  readonly 'locality.tiers': readonly TierSpec[];
  /** Whether clusters that no tier names make a last tier. Default `any`. */
  readonly 'locality.fallback': 'any' | 'none';
  /** Default 70 %. */
  readonly 'failover.healthyThreshold': number;
  /** Default 30 %. */
  readonly 'failover.panicThreshold': number;
  /** Default 30 s. */
  readonly 'failover.hold': number;
  /** Default 60 s. */
  readonly 'failover.returnOver': number;
  /** Of rated capacity; undefined = load moves nothing, the default. */
  readonly 'failover.spillAt': number | undefined;
  /** Labels that a cluster must bear to serve at all. Default none. */
  readonly 'placement.require': Readonly<Record<string, string>>;
  /** Default `leastRequest`. */
  readonly 'loadBalancing.algorithm': BalanceAlgorithm;
  /** For `consistentHash`. Default by source address. */
  readonly 'loadBalancing.hash': HashKey;
  /** Default 5 s. */
  readonly 'loadBalancing.slowStart': number;
  /** Undefined = the gateway's limit, the default. */
  readonly 'connection.connectTimeout': number | undefined;
  /** Default `auto`: by the measured round trip. */
  readonly 'connection.raceAfter': number | 'auto';
  /** Default 4096. */
  readonly 'connection.maxConnections': number;
  /** Default 1024. */
  readonly 'connection.maxPending': number;
  /** Undefined = the gateway's limit, the default. */
  readonly 'connection.idleTimeout': number | undefined;
  /** Default 5. */
  readonly 'outlier.consecutiveFailures': number;
  /** Default `auto`. */
  readonly 'outlier.successRate': 'auto' | 'off';
  /** Default 10 s. */
  readonly 'outlier.baseEjection': number;
  /** Default 50 %. */
  readonly 'outlier.maxEjected': number;
  /** Until a response begins; 0 = no limit. Undefined = 15 s, and none for gRPC calls, the default. */
  readonly 'http.timeout': number | undefined;
  /** Undefined = as `connection.idleTimeout`, the default. */
  readonly 'http.idleTimeout': number | undefined;
  /** Default 2. */
  readonly 'http.retries.attempts': number;
  /** Default `connect` only. */
  readonly 'http.retries.on': readonly RetryCondition[];
  /** Undefined = bounded by `http.timeout` alone, the default. */
  readonly 'http.retries.perTry': number | undefined;
  /** Of active requests. Default 20 %. */
  readonly 'http.retries.budget': number;
  /** Every service needs an AccessPolicy to be called at all. Default false. */
  readonly 'access.requirePolicy': boolean;
}

/** The path of one field below `spec`. */
export type TrafficField = keyof TrafficFields;

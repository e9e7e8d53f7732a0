import type { FailoverPlan } from '../model/route.ts';
import {
  defaultConnection,
  defaultHttp,
  defaultLoadBalancing,
  defaultOutlier,
  type TrafficPlan,
} from '../model/traffic.ts';
import type { TrafficFields } from './fields.ts';

/** What applies where no policy says otherwise (policy.md). */
export const defaultFailover: FailoverPlan = { healthyThreshold: 0.7, holdMs: 30_000, returnOverMs: 60_000 };

/** Below this health of everything together, gateways stop to pick endpoints by health. */
export const defaultPanicThreshold = 0.3;

/** What a cluster's own configuration says, where no policy does. */
export interface PolicyBase {
  readonly failover: FailoverPlan;
  readonly traffic?: TrafficPlan;
}

/** Every field as it is without any policy. */
export function baseFields({ failover, traffic }: PolicyBase): TrafficFields {
  const loadBalancing = traffic?.loadBalancing ?? defaultLoadBalancing;
  const connection = traffic?.connection ?? defaultConnection;
  const outlier = traffic?.outlier ?? defaultOutlier;
  const http = traffic?.http ?? defaultHttp;
  return {
    'locality.preferLocal': true,
    'locality.tiers': [],
    'locality.fallback': 'any',
    'failover.healthyThreshold': failover.healthyThreshold,
    'failover.panicThreshold': failover.panicThreshold ?? defaultPanicThreshold,
    'failover.hold': failover.holdMs,
    'failover.returnOver': failover.returnOverMs,
    'failover.spillAt': failover.spillAt,
    'placement.require': {},
    'loadBalancing.algorithm': loadBalancing.algorithm,
    'loadBalancing.hash': loadBalancing.hash ?? { by: 'sourceIP' },
    'loadBalancing.slowStart': loadBalancing.slowStartMs,
    'connection.connectTimeout': connection.connectTimeoutMs,
    'connection.raceAfter': connection.raceAfterMs ?? 'auto',
    'connection.maxConnections': connection.maxConnections,
    'connection.maxPending': connection.maxPending,
    'connection.idleTimeout': connection.idleTimeoutMs,
    'outlier.consecutiveFailures': outlier.consecutiveFailures,
    'outlier.successRate': outlier.successRate,
    'outlier.baseEjection': outlier.baseEjectionMs,
    'outlier.maxEjected': outlier.maxEjected,
    'http.timeout': http.timeoutMs,
    'http.idleTimeout': http.idleTimeoutMs,
    'http.retries.attempts': http.retries.attempts,
    'http.retries.on': http.retries.on,
    'http.retries.perTry': http.retries.perTryMs,
    'http.retries.budget': http.retries.budget,
    'access.requirePolicy': false,
  };
}

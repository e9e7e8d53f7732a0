import { z } from 'zod';
import {
  type ConnectionPlan,
  defaultConnection,
  defaultLoadBalancing,
  defaultOutlier,
  defaultRetries,
  type HttpPlan,
  type LoadBalancingPlan,
  type OutlierPlan,
} from '../model/traffic.ts';
import { parseDuration } from '../runtime/duration.ts';
import { count, scalar, section, share } from '../wire/schema.ts';
import { hashKey, retryConditions } from '../wire/traffic-words.ts';
import { duration } from './scalars.ts';

const hour = 3_600_000;

const loadBalancing: z.ZodType<LoadBalancingPlan> = section({
  algorithm: z.enum(['leastRequest', 'roundRobin', 'random', 'consistentHash']).default(defaultLoadBalancing.algorithm),
  hash: z.exactOptional(hashKey),
  slowStart: duration(0, hour).default(defaultLoadBalancing.slowStartMs),
}).transform(({ algorithm, hash, slowStart }) => ({ algorithm, ...(hash && { hash }), slowStartMs: slowStart }));

const raceAfter: z.ZodType<number | 'auto'> = scalar(
  `'auto' (by the measured round trip) or a duration such as '250ms', from 10ms to 1m`,
  (value) => {
    if (value === 'auto') return value;
    const ms = typeof value === 'string' ? parseDuration(value) : undefined;
    return ms !== undefined && ms >= 10 && ms <= 60_000 ? ms : undefined;
  },
);

const connection: z.ZodType<ConnectionPlan> = section({
  connectTimeout: z.exactOptional(duration(10, 60_000)),
  raceAfter: z.exactOptional(raceAfter),
  maxConnections: count(1, 1_000_000).default(defaultConnection.maxConnections),
  maxPending: count(1, 1_000_000).default(defaultConnection.maxPending),
  idleTimeout: z.exactOptional(duration(1000, 7 * 24 * hour)),
}).transform(({ connectTimeout, raceAfter, idleTimeout, ...counts }) => ({
  ...counts,
  ...(connectTimeout !== undefined && { connectTimeoutMs: connectTimeout }),
  ...(raceAfter !== undefined && raceAfter !== 'auto' && { raceAfterMs: raceAfter }),
  ...(idleTimeout !== undefined && { idleTimeoutMs: idleTimeout }),
}));

const outlier: z.ZodType<OutlierPlan> = section({
  consecutiveFailures: count(1, 10_000).default(defaultOutlier.consecutiveFailures),
  successRate: z.enum(['auto', 'off']).default(defaultOutlier.successRate),
  baseEjection: duration(10, hour).default(defaultOutlier.baseEjectionMs),
  maxEjected: share.default(defaultOutlier.maxEjected),
}).transform(({ baseEjection, ...rest }) => ({ ...rest, baseEjectionMs: baseEjection }));

const http: z.ZodType<HttpPlan> = section({
  timeout: z.exactOptional(duration(0, 24 * hour)),
  idleTimeout: z.exactOptional(duration(1000, 7 * 24 * hour)),
  retries: section({
    attempts: count(0, 10).default(defaultRetries.attempts),
    on: retryConditions.default(defaultRetries.on),
    perTry: z.exactOptional(duration(1, hour)),
    budget: share.default(defaultRetries.budget),
  }).prefault({}),
}).transform(({ timeout, idleTimeout, retries: { perTry, ...retries } }) => ({
  ...(timeout !== undefined && { timeoutMs: timeout }),
  ...(idleTimeout !== undefined && { idleTimeoutMs: idleTimeout }),
  retries: { ...retries, ...(perTry !== undefined && { perTryMs: perTry }) },
}));

/** Keys of `policy` that say how connections and requests are carried, with the names of TrafficPolicy (policy.md). */
export const trafficSections: {
  readonly loadBalancing: z.ZodExactOptional<typeof loadBalancing>;
  readonly connection: z.ZodExactOptional<typeof connection>;
  readonly outlier: z.ZodExactOptional<typeof outlier>;
  readonly http: z.ZodExactOptional<typeof http>;
} = {
  loadBalancing: z.exactOptional(loadBalancing),
  connection: z.exactOptional(connection),
  outlier: z.exactOptional(outlier),
  http: z.exactOptional(http),
};

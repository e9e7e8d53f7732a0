import { z } from 'zod';
import type { ClusterName } from '../model/names.ts';
import { formatDuration, parseDuration } from '../runtime/duration.ts';
import { count, judge, type Judged, scalar, section, share } from '../wire/schema.ts';
import { hashKey, retryConditions } from '../wire/traffic-words.ts';
import type { ClusterMatch, TierSpec, TrafficFields } from './fields.ts';
import { cluster, duration, labels, serviceName } from './words.ts';

const second = 1000;
const hour = 3_600_000;
const day = 24 * hour;

const maxTiers = 16;
const maxClusters = 256;
const maxWeight = 1_000_000;

const match: z.ZodType<ClusterMatch> = section(
  {
    region: z.exactOptional(z.string().min(1).max(253)),
    clusters: z.exactOptional(z.array(cluster).min(1).max(maxClusters)),
    labels: z.exactOptional(labels),
  },
  'a mapping with region, clusters or labels',
).superRefine((given, context) => {
  if (Object.keys(given).length > 0) return;
  const message = 'must say which clusters: region (same, or its name), clusters or labels';
  context.addIssue({ code: 'custom', message });
});

const weight = count(0, maxWeight);

const weights = z.record(z.string(), weight).transform((given, context): ReadonlyMap<ClusterName, number> => {
  const entries = Object.entries(given).map(([name, part]): [ClusterName, number] => {
    const parsed = cluster.safeParse(name);
    if (!parsed.success) {
      const message = `must have cluster names as keys, such as { west: 70 }: '${name.slice(0, 80)}' is none`;
      context.addIssue({ code: 'custom', path: [name], message });
    }
    return [parsed.data ?? (name as ClusterName), part];
  });
  if (!entries.some(([, part]) => part > 0)) {
    const message = 'must give at least one cluster a weight above 0: nothing could go there otherwise';
    context.addIssue({ code: 'custom', message });
  }
  return new Map(entries);
});

const tier: z.ZodType<TierSpec> = section({
  match,
  weight: z.exactOptional(z.literal('byCapacity')),
  weights: z.exactOptional(weights),
}).transform(({ match: matched, weight: byCapacity, weights: parts }, context): TierSpec => {
  if (byCapacity && parts) {
    context.addIssue({ code: 'custom', path: ['weights'], message: `must not stand beside 'weight: byCapacity'` });
  }
  for (const name of parts?.keys() ?? []) {
    if (!matched.clusters || matched.clusters.includes(name)) continue;
    const message = `must be of clusters that the tier matches (${matched.clusters.join(', ')}): '${name}' is none`;
    context.addIssue({ code: 'custom', path: ['weights', name], message });
  }
  return { match: matched, ...(parts && { weights: parts }) };
});

/** Where two tiers name one cluster, the second can never have it. */
const tiers = z
  .array(tier)
  .min(1)
  .max(maxTiers)
  .superRefine((given, context) => {
    const first = new Map<ClusterName, number>();
    for (const [index, { match: matched }] of given.entries()) {
      if (matched.region !== undefined || matched.labels) continue;
      for (const [at, name] of (matched.clusters ?? []).entries()) {
        const before = first.get(name);
        if (before === undefined) first.set(name, index);
        else {
          const message = `must be in one tier: '${name}' is in tiers[${before}] already`;
          context.addIssue({ code: 'custom', path: [index, 'match', 'clusters', at], message });
        }
      }
    }
  });

const raceAfter: z.ZodType<number | 'auto'> = scalar(
  `'auto' (by the measured round trip) or a duration such as '250ms', from 10ms to 1m`,
  (value) => {
    if (value === 'auto') return value;
    const ms = typeof value === 'string' ? parseDuration(value) : undefined;
    return ms !== undefined && ms >= 10 && ms <= 60_000 ? ms : undefined;
  },
);

const retries = section({
  attempts: z.exactOptional(count(0, 10)),
  on: z.exactOptional(retryConditions),
  perTry: z.exactOptional(duration(1, hour)),
  budget: z.exactOptional(share),
});

/** What both kinds may say. */
const trafficShape = {
  locality: z.exactOptional(
    section({
      preferLocal: z.exactOptional(z.boolean()),
      tiers: z.exactOptional(tiers),
      fallback: z.exactOptional(z.enum(['any', 'none'])),
    }),
  ),
  failover: z.exactOptional(
    section({
      healthyThreshold: z.exactOptional(share),
      panicThreshold: z.exactOptional(share),
      hold: z.exactOptional(duration(0, day)),
      returnOver: z.exactOptional(duration(0, day)),
      spillAt: z.exactOptional(
        scalar(`a share such as '80%', from 1% to 100%, of rated capacity`, (value) => {
          const parsed = share.safeParse(value);
          return parsed.success && parsed.data >= 0.01 ? parsed.data : undefined;
        }),
      ),
    }).superRefine(({ healthyThreshold, panicThreshold }, context) => {
      if (healthyThreshold === undefined || panicThreshold === undefined || panicThreshold <= healthyThreshold) return;
      const message = `must not be above healthyThreshold, which is ${percent(healthyThreshold)}: current value is ${percent(panicThreshold)}`;
      context.addIssue({ code: 'custom', path: ['panicThreshold'], message });
    }),
  ),
  placement: z.exactOptional(section({ require: labels })),
  loadBalancing: z.exactOptional(
    section({
      algorithm: z.exactOptional(z.enum(['leastRequest', 'roundRobin', 'random', 'consistentHash'])),
      hash: z.exactOptional(hashKey),
      slowStart: z.exactOptional(duration(0, hour)),
    }),
  ),
  connection: z.exactOptional(
    section({
      connectTimeout: z.exactOptional(duration(10, 60 * second)),
      raceAfter: z.exactOptional(raceAfter),
      maxConnections: z.exactOptional(count(1, 1_000_000)),
      maxPending: z.exactOptional(count(1, 1_000_000)),
      idleTimeout: z.exactOptional(duration(second, 7 * day)),
    }),
  ),
  outlier: z.exactOptional(
    section({
      consecutiveFailures: z.exactOptional(count(1, 10_000)),
      successRate: z.exactOptional(z.enum(['auto', 'off'])),
      baseEjection: z.exactOptional(duration(10, hour)),
      maxEjected: z.exactOptional(share),
    }),
  ),
  http: z.exactOptional(
    section({
      /** `0s` is no limit. */
      timeout: z.exactOptional(duration(0, day)),
      idleTimeout: z.exactOptional(duration(second, 7 * day)),
      retries: z.exactOptional(retries),
    }).superRefine(({ timeout = 0, retries: given }, context) => {
      if (timeout === 0 || given?.perTry === undefined || given.perTry <= timeout) return;
      const message = `must not be above http.timeout, which is ${formatDuration(timeout)}: current value is ${formatDuration(given.perTry)}`;
      context.addIssue({ code: 'custom', path: ['retries', 'perTry'], message });
    }),
  ),
};

function percent(part: number): string {
  return `${Number((part * 100).toFixed(3))}%`;
}

const trafficSpec = section({
  spec: section({
    target: z.exactOptional(section({ service: z.exactOptional(serviceName) })),
    ...trafficShape,
  }),
});

const federationSpec = section({
  spec: section({
    ...trafficShape,
    access: z.exactOptional(section({ requirePolicy: z.boolean() })),
  }),
});

/** What a TrafficPolicy or FederationPolicy states. */
export interface TrafficStatement {
  /** Name of the service in the policy's namespace; undefined: all of them. */
  readonly service: string | undefined;
  readonly fields: Partial<TrafficFields>;
}

/** Reads the `spec` of a TrafficPolicy. */
export function judgeTraffic(spec: unknown): Judged<TrafficStatement> {
  const judged = judge(trafficSpec, { spec });
  if (!judged.ok) return judged;
  const { target, ...sections } = judged.value.spec;
  return { ok: true, value: { service: target?.service, fields: fieldsOf(sections) } };
}

/** Reads the `spec` of a FederationPolicy. */
export function judgeFederation(spec: unknown): Judged<TrafficStatement> {
  const judged = judge(federationSpec, { spec });
  if (!judged.ok) return judged;
  return { ok: true, value: { service: undefined, fields: fieldsOf(judged.value.spec) } };
}

/** The fields that the sections of a `spec` state, by their paths. `retries` is a section inside one. */
function fieldsOf(sections: Readonly<Record<string, object | undefined>>): Partial<TrafficFields> {
  const fields: [string, unknown][] = [];
  const add = (path: string, part: object): void => {
    for (const [key, value] of Object.entries(part)) {
      if (value === undefined) continue;
      if (path === 'http' && key === 'retries') add('http.retries', value as object);
      else fields.push([`${path}.${key}`, value]);
    }
  };
  for (const [name, part] of Object.entries(sections)) add(name, part ?? {});
  return Object.fromEntries(fields) as Partial<TrafficFields>;
}

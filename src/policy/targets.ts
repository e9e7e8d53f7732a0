import type { LocalService } from '../model/ports/service-source.ts';
import type { ClusterName } from '../model/names.ts';
import type { ExportRecord } from '../model/record.ts';
import type { FailoverPlan, Target } from '../model/route.ts';
import {
  defaultConnection,
  defaultLoadBalancing,
  defaultOutlier,
  type HttpPlan,
  type TrafficPlan,
} from '../model/traffic.ts';
import type { ClusterView, MeshView, ServiceView } from '../model/view.ts';
import { baseFields, type PolicyBase } from './defaults.ts';
import { type Drains, drainPlan } from './drain.ts';
import type { TrafficFields } from './fields.ts';
import type { StatedPolicy } from './policy-set.ts';
import { type Seat, seatsOf } from './seats.ts';

/** One cluster that exports a service: where policies seat it, and what it would be as a target. */
export interface Candidate {
  readonly seat: Seat;
  /** Its tier is that of its seat; of no meaning when it has none. */
  readonly target: Target;
}

export interface CandidatesInput {
  readonly view: MeshView;
  readonly seen: ServiceView | undefined;
  readonly own: LocalService | undefined;
  readonly seats: ReadonlyMap<ClusterName, Seat>;
  readonly drains: Drains;
}

/** Every member that exports a service, the own cluster first, then by name. */
export function candidatesOf({ view, seen, own, seats, drains }: CandidatesInput): readonly Candidate[] {
  const found: Candidate[] = [];
  const add = (facts: Omit<Target, 'tier'>): void => {
    const seat = seats.get(facts.cluster) ?? { kind: 'in', tier: 0, weight: undefined, why: 'own cluster' };
    const drain = drains.clusters.get(facts.cluster);
    const tier = seat.kind === 'in' ? seat.tier : 0;
    const weight = seat.kind === 'in' ? seat.weight : undefined;
    const { cluster, ...rest } = facts;
    found.push({
      seat,
      target: {
        cluster,
        tier,
        ...rest,
        ...(weight !== undefined && { weight }),
        ...(drain && { drain: drainPlan(drain) }),
      },
    });
  };
  if (own?.exported) add(localFacts(view.self, own));
  for (const [cluster, record] of [...(seen?.exports ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // A cluster that the roster no longer lists is not in the view: nothing goes there, whatever its records say.
    const known = view.clusters.get(cluster);
    if (cluster !== view.self && known) add(remoteFacts(cluster, record, known));
  }
  return found;
}

function localFacts(self: ClusterName, own: LocalService): Omit<Target, 'tier'> {
  const { length } = own.endpoints;
  const ready = own.endpoints.filter((endpoint) => endpoint.ready).length;
  return {
    cluster: self,
    capacity: ratedCapacity(length, own.capacity),
    health: length === 0 ? 0 : ready / length,
    ports: own.ports.map(({ port }) => port),
    stale: false,
    ...ratedConnections(length, own.capacity),
  };
}

function remoteFacts(cluster: ClusterName, record: ExportRecord, known: ClusterView): Omit<Target, 'tier'> {
  const { ready, total } = record.endpoints;
  return {
    cluster,
    capacity: ratedCapacity(total, record.capacity),
    health: total === 0 ? 0 : ready / total,
    ports: record.ports.map(({ port }) => port),
    stale: known.freshness !== 'live',
    ...ratedConnections(total, record.capacity),
  };
}

function ratedCapacity(endpoints: number, capacity: ExportRecord['capacity']): number {
  return endpoints * (capacity?.concurrent ?? capacity?.rps ?? 1);
}

/** Load is told in open connections: only a capacity in those can be compared with it. */
function ratedConnections(endpoints: number, capacity: ExportRecord['capacity']): { readonly rated?: number } {
  return capacity?.concurrent === undefined ? {} : { rated: endpoints * capacity.concurrent };
}

/** What one stated policy comes to in a route. */
export interface RoutePolicy {
  readonly failover: FailoverPlan;
  readonly traffic: TrafficPlan;
  readonly seats: ReadonlyMap<ClusterName, Seat>;
}

/** Turns what policies state into the plan of a route; what they do not state is as in `base`. */
export function routePolicy({ fields }: StatedPolicy, base: PolicyBase, view: MeshView): RoutePolicy {
  const all: TrafficFields = { ...baseFields(base), ...fields };
  return {
    failover: failoverOf(fields, base.failover),
    traffic: trafficOf(fields, all, base),
    seats: seatsOf(all, view.self, view.clusters),
  };
}

function failoverOf(fields: Partial<TrafficFields>, base: FailoverPlan): FailoverPlan {
  const panicThreshold = fields['failover.panicThreshold'] ?? base.panicThreshold;
  const spillAt = fields['failover.spillAt'] ?? base.spillAt;
  return {
    healthyThreshold: fields['failover.healthyThreshold'] ?? base.healthyThreshold,
    holdMs: fields['failover.hold'] ?? base.holdMs,
    returnOverMs: fields['failover.returnOver'] ?? base.returnOverMs,
    ...(panicThreshold !== undefined && { panicThreshold }),
    ...(spillAt !== undefined && { spillAt }),
  };
}

/** A section that nobody states is left out: then the gateways' own defaults hold. */
function trafficOf(fields: Partial<TrafficFields>, all: TrafficFields, { traffic }: PolicyBase): TrafficPlan {
  const states = (section: string): boolean => Object.keys(fields).some((field) => field.startsWith(`${section}.`));
  const connectTimeoutMs = all['connection.connectTimeout'];
  const raceAfter = all['connection.raceAfter'];
  const idleTimeoutMs = all['connection.idleTimeout'];
  return {
    ...traffic,
    ...(states('loadBalancing') && {
      loadBalancing: {
        ...defaultLoadBalancing,
        algorithm: all['loadBalancing.algorithm'],
        ...(all['loadBalancing.hash'].by !== 'sourceIP' && { hash: all['loadBalancing.hash'] }),
        slowStartMs: all['loadBalancing.slowStart'],
      },
    }),
    ...(states('connection') && {
      connection: {
        ...defaultConnection,
        ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
        ...(raceAfter !== 'auto' && { raceAfterMs: raceAfter }),
        maxConnections: all['connection.maxConnections'],
        maxPending: all['connection.maxPending'],
        ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
      },
    }),
    ...(states('outlier') && {
      outlier: {
        ...defaultOutlier,
        consecutiveFailures: all['outlier.consecutiveFailures'],
        successRate: all['outlier.successRate'],
        baseEjectionMs: all['outlier.baseEjection'],
        maxEjected: all['outlier.maxEjected'],
      },
    }),
    ...(states('http') && { http: httpOf(all) }),
  };
}

function httpOf(all: TrafficFields): HttpPlan {
  const timeoutMs = all['http.timeout'];
  const idleTimeoutMs = all['http.idleTimeout'];
  const perTryMs = all['http.retries.perTry'];
  return {
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
    retries: {
      attempts: all['http.retries.attempts'],
      on: all['http.retries.on'],
      ...(perTryMs !== undefined && { perTryMs }),
      budget: all['http.retries.budget'],
    },
  };
}

import type { ClusterName } from '../../model/names.ts';
import type { LocalEndpoint, ServiceRoute } from '../../model/route.ts';
import type { ServiceFacts, TargetFacts } from '../../model/shares.ts';

/** What the gateway's tunnels and outcomes say at this moment. */
export interface Observations {
  readonly self: ClusterName;
  /** Ready by its source and not ejected by outcomes. */
  endpointUp(endpoint: LocalEndpoint): boolean;
  /** `unknown`: no attempt has ended yet. */
  reach(cluster: ClusterName): 'up' | 'down' | 'unknown';
  /** Whether that cluster has kept refusing this service. */
  ejected(cluster: ClusterName): boolean;
  /** Connections of the service that are carried there; undefined: not known. */
  load(cluster: ClusterName): number | undefined;
}

/** The facts of one service for `step`: reachability by our own probes, health by outcomes. Pure. */
export function factsOf(route: ServiceRoute, seen: Observations): ServiceFacts {
  const facts = new Map<ClusterName, TargetFacts>();
  for (const { cluster } of route.targets) {
    const fact = cluster === seen.self ? localFacts(route, seen) : remoteFacts(cluster, seen);
    // Only where a policy moves traffic by load does a new connection change the facts.
    const load = fact && route.failover.spillAt !== undefined ? seen.load(cluster) : undefined;
    if (fact) facts.set(cluster, load === undefined ? fact : { ...fact, load });
  }
  return facts;
}

function localFacts(route: ServiceRoute, seen: Observations): TargetFacts {
  const up = route.endpoints.filter((endpoint) => seen.endpointUp(endpoint)).length;
  return { reachable: up > 0, health: route.endpoints.length === 0 ? 0 : up / route.endpoints.length };
}

function remoteFacts(cluster: ClusterName, seen: Observations): TargetFacts | undefined {
  const reach = seen.reach(cluster);
  if (reach === 'unknown') return undefined;
  return { reachable: reach === 'up', health: reach === 'up' && !seen.ejected(cluster) ? 1 : 0 };
}

/** Whether two sets of facts would lead `step` to the same result. */
export function sameFacts(a: ServiceFacts, b: ServiceFacts): boolean {
  if (a.size !== b.size) return false;
  for (const [cluster, fact] of a) {
    const other = b.get(cluster);
    if (!other || other.reachable !== fact.reachable || other.health !== fact.health) return false;
    if (other.load !== fact.load) return false;
  }
  return true;
}

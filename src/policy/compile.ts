import type { LocalService } from '../model/ports/service-source.ts';
import type { ClusterName, ReplicaName, ServiceKey } from '../model/names.ts';
import type { GatewayRecord, ServicePort } from '../model/record.ts';
import type { ClusterRoute, GatewayTarget, RoutePort, RouteTable, ServiceRoute } from '../model/route.ts';
import type { ClusterView, ServiceView } from '../model/view.ts';
import { SharedValues } from '../runtime/shared-values.ts';
import { SortedMap } from '../runtime/sorted-map.ts';
import { affectedClusters, affectedServices } from './affected.ts';
import type { CompileInput } from './compile-input.ts';
import { type Drains, gatewayKey, noDrains } from './drain.ts';
import { PolicySet, type StatedPolicy } from './policy-set.ts';
import { sameValue } from './same-value.ts';
import { candidatesOf, type RoutePolicy, routePolicy } from './targets.ts';

/** The key of an import listener: `<namespace>/<name>:<service port>`. */
export function importKey(service: ServiceKey, port: number): string {
  return `${service}:${port}`;
}

/** Which input a table was compiled from. Only a memory: without it everything is compiled anew, with an equal result. */
const origins = new WeakMap<RouteTable, CompileInput>();

/**
 * Turns what is known of the federation into the plan that this cluster's gateways carry out. Deterministic: equal
 * inputs give equal tables. `previous`, a table that this function made, only saves work: then what changed in the
 * input is compiled, whatever else there is. A route that did not change is the same object as in `previous`.
 */
export function compile(input: CompileInput, previous?: RouteTable): RouteTable {
  const before = previous && origins.get(previous);
  const plans = plansFor(input);
  const services = SortedMap.from(previous?.services ?? noServices);
  const clusters = SortedMap.from(previous?.clusters ?? noClusters);
  const next = {
    self: input.view.self,
    services: services.with(
      map(affectedServices(input, before, services.keys()), (key) =>
        settled(services.get(key), compileService(key, input, plans)),
      ),
    ),
    clusters: clusters.with(
      map(affectedClusters(input, before, clusters.keys()), (name) =>
        settled(clusters.get(name), clusterRoute(name, input)),
      ),
    ),
  };
  const same = previous && next.services === previous.services && next.clusters === previous.clusters;
  const table = same ? previous : next;
  origins.set(table, input);
  return table;
}

const noServices: SortedMap<ServiceKey, ServiceRoute> = SortedMap.from<ServiceKey, ServiceRoute>([]);
const noClusters: SortedMap<ClusterName, ClusterRoute> = SortedMap.from<ClusterName, ClusterRoute>([]);

const noEndpoints: ServiceRoute['endpoints'] = [];
/** Only a memory: most services of one cluster have the very same targets. */
const shared = new SharedValues(4096);

function* map<K, V>(keys: Iterable<K>, valueOf: (key: K) => V): Generator<readonly [K, V]> {
  for (const key of keys) yield [key, valueOf(key)];
}

/** The route known before when it says the same. */
function settled<T>(before: T | undefined, now: T | undefined): T | undefined {
  return before !== undefined && now !== undefined && sameValue(before, now) ? before : now;
}

function clusterRoute(name: ClusterName, { view, drains }: CompileInput): ClusterRoute | undefined {
  const cluster = view.clusters.get(name);
  const route = cluster && compileCluster(cluster, drains ?? noDrains);
  if (!route || name !== view.self) return route;
  // The own gateways are there so that they can agree on who of them does what only one needs to do, and know their
  // operators' word.
  const drained = drainedGateways(name, drains ?? noDrains);
  if (drained.length > 0) return { ...route, drained };
  return route.gateways.length === 0 ? undefined : route;
}

/** The ports of a service for which this cluster needs a listener; none when nobody exports it. */
export function wantedPorts(seen: ServiceView | undefined, own: LocalService | undefined): readonly number[] {
  const wanted = new Set<number>();
  if (seen && seen.exports.size > 0) for (const { port } of seen.ports) wanted.add(port);
  if (own?.exported) for (const { port } of own.ports) wanted.add(port);
  return [...wanted];
}

/** What policies come to, worked out once for all services that they say the same of. */
type Plans = (stated: StatedPolicy) => RoutePolicy;

function plansFor(input: CompileInput): Plans {
  const plans = new Map<StatedPolicy, RoutePolicy>();
  return (stated) => {
    let plan = plans.get(stated);
    if (!plan) {
      plan = routePolicy(stated, input, input.view);
      plans.set(stated, plan);
    }
    return plan;
  };
}

function compileService(key: ServiceKey, input: CompileInput, plans: Plans): ServiceRoute | undefined {
  const { view, policies = PolicySet.empty, drains = noDrains } = input;
  const seen = view.services.get(key);
  const own = input.local.services.get(key);
  const { failover, traffic, seats } = plans(policies.stated(key));
  const candidates = candidatesOf({ view, seen, own, seats, drains });
  if (candidates.length === 0) return undefined;
  const exported = own?.exported ?? false;
  const allow = own?.allow ?? 'members';
  const access = exported ? policies.access(key, allow) : undefined;
  return {
    key,
    ports: routePorts(key, seen, own, input.importPorts),
    exported,
    allow,
    ...(access && { access }),
    targets: shared.of(candidates.filter(({ seat }) => seat.kind === 'in').map(({ target }) => target)),
    failover,
    ...traffic,
    // Where placement does not let this cluster serve, it does not serve others either.
    endpoints: own?.exported && seats.get(view.self)?.kind !== 'out' ? own.endpoints : noEndpoints,
  };
}

function routePorts(
  key: ServiceKey,
  seen: ServiceView | undefined,
  own: LocalService | undefined,
  importPorts: ReadonlyMap<string, number>,
): RoutePort[] {
  const byPort = new Map<number, ServicePort>();
  for (const port of own?.ports ?? []) byPort.set(port.port, port);
  for (const port of seen?.ports ?? []) byPort.set(port.port, port);
  return [...byPort.values()]
    .sort((a, b) => a.port - b.port)
    .map(({ port, name, appProtocol }) => ({
      port,
      ...(name !== undefined && { name }),
      ...(appProtocol !== undefined && { appProtocol }),
      importPort: importPorts.get(importKey(key, port)),
    }));
}

function drainedGateways(name: ClusterName, { gateways }: Drains): readonly ReplicaName[] {
  return [...gateways.values()]
    .flatMap(({ record: { target, state } }) =>
      target.cluster === name && target.gateway !== undefined && state === 'drained' ? [target.gateway] : [],
    )
    .sort();
}

function compileCluster(cluster: ClusterView, drains: Drains): ClusterRoute {
  const drained = ({ instance }: GatewayRecord): boolean =>
    drains.gateways.get(gatewayKey(cluster.name, instance))?.record.state === 'drained';
  const gateways: GatewayTarget[] = cluster.gateways
    .filter((gateway) => gateway.reachable && !gateway.draining && !drained(gateway))
    .flatMap((gateway) =>
      gateway.addresses.map(({ address, port }) => ({ instance: gateway.instance, address, port })),
    );
  gateways.sort((a, b) => (a.instance < b.instance ? -1 : a.instance > b.instance ? 1 : a.port - b.port));
  return { name: cluster.name, trustDomain: cluster.trustDomain, gateways };
}

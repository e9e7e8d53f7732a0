import type { LocalService, LocalServices } from '../model/ports/service-source.ts';
import type { ClusterName, ServiceKey } from '../model/names.ts';
import type { ExportRecord, ServicePort } from '../model/record.ts';
import type {
  ClusterRoute,
  FailoverPlan,
  GatewayTarget,
  RoutePort,
  RouteTable,
  ServiceRoute,
  Target,
} from '../model/route.ts';
import type { TrafficPlan } from '../model/traffic.ts';
import type { ClusterView, MeshView, ServiceView } from '../model/view.ts';

/** What applies where no policy says otherwise (policy.md). */
export const defaultFailover: FailoverPlan = { healthyThreshold: 0.7, holdMs: 30_000, returnOverMs: 60_000 };

/** Tiers without a policy: the caller's own cluster, then all others by capacity. */
const localTier = 0;
const remoteTier = 1;

export interface CompileInput {
  readonly view: MeshView;
  /** The own cluster's services: fresher than the view, and with the endpoints that only this cluster knows. */
  readonly local: LocalServices;
  /** `<namespace>/<name>:<service port>` → port of the gateway's plain listener. */
  readonly importPorts: ReadonlyMap<string, number>;
  readonly failover: FailoverPlan;
  /** How connections are carried where no policy says otherwise; absent = the gateways' defaults. */
  readonly traffic?: TrafficPlan;
}

/** The key of an import listener: `<namespace>/<name>:<service port>`. */
export function importKey(service: ServiceKey, port: number): string {
  return `${service}:${port}`;
}

/**
 * Turns what is known of the federation into the plan that this cluster's gateways carry out. Deterministic: equal
 * inputs give equal tables. A route that did not change is the same object as in `previous`.
 */
export function compile(input: CompileInput, previous?: RouteTable): RouteTable {
  const services = new Map<ServiceKey, ServiceRoute>();
  for (const key of serviceKeys(input)) {
    const route = compileService(key, input);
    if (!route) continue;
    const before = previous?.services.get(key);
    services.set(key, before && sameValue(before, route) ? before : route);
  }
  const clusters = new Map<ClusterName, ClusterRoute>();
  for (const name of [...input.view.clusters.keys()].sort()) {
    const cluster = input.view.clusters.get(name);
    if (!cluster || name === input.view.self) continue;
    const route = compileCluster(cluster);
    const before = previous?.clusters.get(name);
    clusters.set(name, before && sameValue(before, route) ? before : route);
  }
  if (previous && sameEntries(previous.services, services) && sameEntries(previous.clusters, clusters)) return previous;
  return { self: input.view.self, services, clusters };
}

/** Every service port that somebody exports, and so deserves a listener here. Sorted. */
export function wantedImports(view: MeshView, local: LocalServices): readonly string[] {
  const wanted = new Set<string>();
  for (const [key, service] of view.services) {
    if (service.exports.size === 0) continue;
    for (const { port } of service.ports) wanted.add(importKey(key, port));
  }
  for (const [key, service] of local.services) {
    if (service.exported) for (const { port } of service.ports) wanted.add(importKey(key, port));
  }
  return [...wanted].sort();
}

function serviceKeys({ view, local }: CompileInput): ServiceKey[] {
  return [...new Set([...view.services.keys(), ...local.services.keys()])].sort();
}

function compileService(key: ServiceKey, input: CompileInput): ServiceRoute | undefined {
  const seen = input.view.services.get(key);
  const own = input.local.services.get(key);
  const targets: Target[] = [];
  if (own?.exported) targets.push(localTarget(input.view.self, own));
  for (const [cluster, record] of [...(seen?.exports ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // A cluster that the roster no longer lists is not in the view: nothing goes there, whatever its records say.
    const known = input.view.clusters.get(cluster);
    if (cluster !== input.view.self && known) targets.push(remoteTarget(cluster, record, known));
  }
  if (targets.length === 0) return undefined;
  return {
    key,
    ports: routePorts(key, seen, own, input.importPorts),
    exported: own?.exported ?? false,
    allow: own?.allow ?? 'members',
    targets,
    failover: input.failover,
    ...input.traffic,
    endpoints: own?.exported ? own.endpoints : [],
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

function ratedCapacity(endpoints: number, capacity: ExportRecord['capacity']): number {
  return endpoints * (capacity?.concurrent ?? capacity?.rps ?? 1);
}

function localTarget(self: ClusterName, own: LocalService): Target {
  const ready = own.endpoints.filter((endpoint) => endpoint.ready).length;
  return {
    cluster: self,
    tier: localTier,
    capacity: ratedCapacity(own.endpoints.length, own.capacity),
    health: own.endpoints.length === 0 ? 0 : ready / own.endpoints.length,
    ports: own.ports.map(({ port }) => port),
    stale: false,
  };
}

function remoteTarget(cluster: ClusterName, record: ExportRecord, known: ClusterView): Target {
  const { ready, total } = record.endpoints;
  return {
    cluster,
    tier: remoteTier,
    capacity: ratedCapacity(total, record.capacity),
    health: total === 0 ? 0 : ready / total,
    ports: record.ports.map(({ port }) => port),
    stale: known.freshness !== 'live',
  };
}

function compileCluster(cluster: ClusterView): ClusterRoute {
  const gateways: GatewayTarget[] = cluster.gateways
    .filter((gateway) => gateway.reachable && !gateway.draining)
    .flatMap((gateway) =>
      gateway.addresses.map(({ address, port }) => ({ instance: gateway.instance, address, port })),
    );
  gateways.sort((a, b) => (a.instance < b.instance ? -1 : a.instance > b.instance ? 1 : a.port - b.port));
  return { name: cluster.name, trustDomain: cluster.trustDomain, gateways };
}

/** Structural equality of plain data with maps. */
function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Map || b instanceof Map) {
    if (!(a instanceof Map && b instanceof Map) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && sameValue(value, b.get(key)));
  }
  const left = Object.entries(a);
  const right = new Map(Object.entries(b));
  return left.length === right.size && left.every(([key, value]) => right.has(key) && sameValue(value, right.get(key)));
}

function sameEntries<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of b) if (a.get(key) !== value) return false;
  return true;
}

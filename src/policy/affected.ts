import type { ClusterName, ServiceKey } from '../model/names.ts';
import type { ClusterView } from '../model/view.ts';
import { SortedMap } from '../runtime/sorted-map.ts';
import type { CompileInput } from './compile-input.ts';
import { sameValue } from './same-value.ts';

/**
 * The services whose route may be another one than under `before`; all that there are, and `known` ones, when there is
 * no `before` or something changed that concerns every service.
 */
export function affectedServices(
  input: CompileInput,
  before: CompileInput | undefined,
  known: Iterable<ServiceKey>,
): ReadonlySet<ServiceKey> {
  if (!before || concernsAll(input, before)) {
    return new Set([...known, ...input.view.services.keys(), ...input.local.services.keys()]);
  }
  const keys = new Set<ServiceKey>();
  for (const { key } of changes(before.view.services, input.view.services)) keys.add(key);
  for (const { key } of changes(before.local.services, input.local.services)) keys.add(key);
  for (const { key } of changes(before.importPorts, input.importPorts)) {
    keys.add(key.slice(0, key.lastIndexOf(':')) as ServiceKey);
  }
  const turned = turnedClusters(input, before);
  if (turned.size === 0) return keys;
  for (const [key, { exports }] of input.view.services) {
    for (const cluster of exports.keys()) if (turned.has(cluster)) keys.add(key);
  }
  return keys;
}

/** As `affectedServices`, for the clusters of the table. */
export function affectedClusters(
  input: CompileInput,
  before: CompileInput | undefined,
  known: Iterable<ClusterName>,
): ReadonlySet<ClusterName> {
  if (!before || input.drains !== before.drains) return new Set([...known, ...input.view.clusters.keys()]);
  return new Set(Array.from(changes(before.view.clusters, input.view.clusters), ({ key }) => key));
}

/** Whatever of the input is not said service by service. Policies and drains are new objects only when they changed. */
function concernsAll(input: CompileInput, before: CompileInput): boolean {
  const { self } = input.view;
  return (
    self !== before.view.self ||
    input.policies !== before.policies ||
    input.drains !== before.drains ||
    // Tiers may depend on the region of the own cluster.
    input.view.clusters.get(self)?.labels !== before.view.clusters.get(self)?.labels ||
    !sameValue(input.failover, before.failover) ||
    !sameValue(input.traffic, before.traffic)
  );
}

/** Clusters of which something changed that their services' routes say. */
function turnedClusters(input: CompileInput, before: CompileInput): ReadonlySet<ClusterName> {
  const turned = new Set<ClusterName>();
  for (const { key, before: old, after } of changes(before.view.clusters, input.view.clusters)) {
    if (!old || !after || saysOther(old, after)) turned.add(key);
  }
  return turned;
}

/** Revisions, ages and links come and go with every sign of life, and no route says them. */
function saysOther(a: ClusterView, b: ClusterView): boolean {
  return a.freshness !== b.freshness || a.labels !== b.labels;
}

function changes<K extends string, V>(
  from: ReadonlyMap<K, V>,
  to: ReadonlyMap<K, V>,
): ReturnType<SortedMap<K, V>['differences']> {
  return SortedMap.from(to).differences(SortedMap.from(from));
}

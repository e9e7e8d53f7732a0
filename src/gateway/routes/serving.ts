import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { ClusterRoute, RouteTable } from '../../model/route.ts';

/** Other clusters that serve something for which there is a listener here: sessions stay warm towards these only. */
export function servingClusters(table: RouteTable): ReadonlySet<ClusterName> {
  const serving = new Set<ClusterName>();
  for (const { ports, targets } of table.services.values()) {
    if (!ports.some((port) => port.importPort !== undefined)) continue;
    for (const { cluster } of targets) if (cluster !== table.self) serving.add(cluster);
  }
  return serving;
}

/** Other clusters towards which there is no traffic from here, so that only a probe can tell how the way is. */
export function unusedClusters(table: RouteTable): readonly ClusterRoute[] {
  const serving = servingClusters(table);
  return [...table.clusters.values()].filter(({ name }) => name !== table.self && !serving.has(name));
}

/**
 * Whether this gateway does what only one of its cluster needs to do: the first by name of those that the table lists
 * and that do not drain. Without any listed (a new cluster, an old agent) each one does: twice is better than never.
 */
export function isElected(table: RouteTable, instance: ReplicaName): boolean {
  const own = table.clusters.get(table.self)?.gateways.map((gateway) => gateway.instance) ?? [];
  return own.every((other) => instance <= other);
}

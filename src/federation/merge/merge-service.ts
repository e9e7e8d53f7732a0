import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ExportRecord, ServicePort } from '../../model/record.ts';
import type { ServiceView } from '../../model/view.ts';
import { SmallMap } from '../../runtime/small-map.ts';
import { commonFamilies, conflictsOf, type Exporter } from './conflicts.ts';

/**
 * Merges all exports of one service by KEP-1645: the oldest export wins, ties go to the cluster name first in order;
 * ports are united. The order in which exporters are given plays no part.
 * `exporters` must not be empty.
 */
export function mergeService(key: ServiceKey, exporters: ReadonlyMap<ClusterName, ExportRecord>): ServiceView {
  const byAge = [...exporters].sort(([a, x], [b, y]) => x.createdAt - y.createdAt || (a < b ? -1 : 1));
  const oldest = byAge[0]?.[1];
  const ports = unitePorts(byAge);
  const ipFamilies = commonFamilies(byAge);
  return {
    key,
    type: oldest?.type ?? 'ClusterSetIP',
    ports,
    exports: new SmallMap(byAge),
    ...(oldest && properties(oldest)),
    ...(ipFamilies && { ipFamilies }),
    conflicts: conflictsOf(byAge, ports),
  };
}

/** What the oldest export alone decides; absent where it says nothing. */
function properties(oldest: ExportRecord): Partial<ServiceView> {
  const { labels, annotations, sessionAffinity, sessionAffinityTimeoutS, internalTrafficPolicy, trafficDistribution } =
    oldest;
  return {
    ...(labels && { labels }),
    ...(annotations && { annotations }),
    ...(sessionAffinity && { sessionAffinity }),
    ...(sessionAffinityTimeoutS !== undefined && { sessionAffinityTimeoutS }),
    ...(internalTrafficPolicy && { internalTrafficPolicy }),
    ...(trafficDistribution !== undefined && { trafficDistribution }),
  };
}

/** Union by name first, then by number; what the oldest export says of a port stands. */
function unitePorts(byAge: readonly Exporter[]): readonly ServicePort[] {
  const union: ServicePort[] = [];
  // Most services have one exporter, whose list is as it should be.
  const [first] = byAge;
  if (byAge.length === 1 && first && isUnion(first[1].ports)) return first[1].ports;
  for (const [, record] of byAge) {
    for (const port of record.ports) {
      const taken = union.some((other) => other.port === port.port || (port.name && other.name === port.name));
      if (!taken) union.push(port);
    }
  }
  return union.toSorted((a, b) => a.port - b.port);
}

/** Whether a list is what uniting gives: in order, and no port or name twice. */
function isUnion(ports: readonly ServicePort[]): boolean {
  return ports.every(({ port, name }, index) => {
    const before = ports[index - 1];
    return (!before || before.port < port) && (!name || ports.findIndex((other) => other.name === name) === index);
  });
}

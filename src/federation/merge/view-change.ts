import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ClusterView, MeshView, ServiceView } from '../../model/view.ts';
import { type Difference, SortedMap } from '../../runtime/sorted-map.ts';

/** What leads from one view to a later one. */
export interface ViewChange {
  readonly services: readonly Difference<ServiceKey, ServiceView>[];
  readonly clusters: readonly Difference<ClusterName, ClusterView>[];
}

/**
 * What a subscriber that saw `before` has to look at; `before` undefined: everything. Costs what changed, however many
 * views lie between: each subscriber compares with what it last saw, and so misses nothing.
 */
export function changeOf(before: MeshView | undefined, after: MeshView): ViewChange {
  const services = SortedMap.from(after.services);
  const clusters = SortedMap.from(after.clusters);
  return {
    services: [...services.differences(SortedMap.from<ServiceKey, ServiceView>(before?.services ?? []))],
    clusters: [...clusters.differences(SortedMap.from<ClusterName, ClusterView>(before?.clusters ?? []))],
  };
}

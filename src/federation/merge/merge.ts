import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ExportRecord } from '../../model/record.ts';
import type { Roster, RosterEntry } from '../../model/trust.ts';
import type { ClusterView, MeshView, ServiceView } from '../../model/view.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import type { PartitionView } from '../partition-view.ts';
import { type Contribution, contributionOf } from './contribution.ts';
import { mergeService } from './merge-service.ts';

export interface MergeInput {
  readonly self: ClusterName;
  /** Own partition included. */
  readonly partitions: ReadonlyMap<ClusterName, PartitionView>;
  readonly roster: Roster;
  /** The view merged before, whose unchanged parts are taken over. */
  readonly previous?: MeshView;
}

type Contributions = ReadonlyMap<ClusterName, Contribution>;

/** Where a view came from. Only a memory: without it everything is merged anew, with an equal result. */
const origins = new WeakMap<MeshView, Contributions>();

/**
 * All partitions of active members as one view (KEP-1645). A pure function of its input: the order of partitions plays
 * no part, and `previous` only saves work: then a changed record costs the merge of its service, whatever else there
 * is. The very same view comes back when nothing changed.
 */
export function merge(input: MergeInput): MeshView {
  const { self, partitions, roster, previous } = input;
  const origin = previous && origins.get(previous);
  const before: Contributions = origin ?? new Map();
  const now = new Map<ClusterName, Contribution>();
  const clusters = new Map<ClusterName, ClusterView | undefined>();
  for (const name of previous?.clusters.keys() ?? []) clusters.set(name, undefined);
  for (const entry of roster.clusters.values()) {
    if (entry.state !== 'active') continue;
    const { cluster } = entry;
    const partition = partitions.get(cluster);
    const contribution = contributionOf(entry, partition, before.get(cluster));
    now.set(cluster, contribution);
    clusters.set(cluster, viewOf(entry, { partition, contribution, known: previous?.clusters.get(cluster) }));
  }
  const services = mergeServices(SortedMap.from(origin ? previous.services : noServices), before, now);
  const members = SortedMap.from(previous?.clusters ?? noClusters).with(clusters);
  if (previous && services === previous.services && members === previous.clusters) return previous;
  const view: MeshView = { self, revision: (previous?.revision ?? 0) + 1, clusters: members, services };
  origins.set(view, now);
  return view;
}

const noServices: SortedMap<ServiceKey, ServiceView> = SortedMap.from<ServiceKey, ServiceView>([]);
const noClusters: SortedMap<ClusterName, ClusterView> = SortedMap.from<ClusterName, ClusterView>([]);

interface ViewParts {
  readonly partition: PartitionView | undefined;
  readonly contribution: Contribution;
  readonly known: ClusterView | undefined;
}

/** The view known before when nothing of it differs. */
function viewOf(entry: RosterEntry, { partition, contribution, known }: ViewParts): ClusterView {
  const { gateways, links, notices } = contribution;
  const view: ClusterView = {
    name: entry.cluster,
    trustDomain: entry.trustDomain,
    epoch: partition?.epoch ?? 0,
    revision: partition?.revision ?? 0,
    freshness: partition?.freshness ?? 'unknown',
    heardAt: partition?.heardAt,
    labels: known && sameLabels(known.labels, entry.labels) ? known.labels : entry.labels,
    gateways: known && sameList(known.gateways, gateways) ? known.gateways : gateways,
    links: known && sameList(known.links, links) ? known.links : links,
    notices,
  };
  return known && sameFields(known, view) ? known : view;
}

/** Merges services with changed exports only. The map known before when there is none. */
function mergeServices(
  known: SortedMap<ServiceKey, ServiceView>,
  before: Contributions,
  now: Contributions,
): SortedMap<ServiceKey, ServiceView> {
  const merged = new Map<ServiceKey, ServiceView | undefined>();
  for (const [key, changes] of changedExports(before, now)) {
    const exporters = new Map(known.get(key)?.exports);
    for (const [cluster, record] of changes) {
      if (record) exporters.set(cluster, record);
      else exporters.delete(cluster);
    }
    merged.set(key, exporters.size > 0 ? mergeService(key, exporters) : undefined);
  }
  return known.with(merged);
}

type ExportChanges = ReadonlyMap<ServiceKey, ReadonlyMap<ClusterName, ExportRecord | undefined>>;

const noExports: Contribution['exports'] = SortedMap.from<ServiceKey, ExportRecord>([]);

function changedExports(before: Contributions, now: Contributions): ExportChanges {
  const changed = new Map<ServiceKey, Map<ClusterName, ExportRecord | undefined>>();
  for (const cluster of new Set([...before.keys(), ...now.keys()])) {
    const was = before.get(cluster)?.exports ?? noExports;
    const is = now.get(cluster)?.exports ?? noExports;
    if (was === is) continue;
    for (const { key, after } of is.differences(was)) {
      const changes = changed.get(key) ?? new Map<ClusterName, ExportRecord | undefined>();
      changed.set(key, changes.set(cluster, after));
    }
  }
  return changed;
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

function sameFields(a: ClusterView, b: ClusterView): boolean {
  return (Object.keys(b) as (keyof ClusterView)[]).every((field) => a[field] === b[field]);
}

import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ClusterRecord, ExportRecord, GatewayRecord, LinkRecord, RecordKey } from '../../model/record.ts';
import type { Roster, RosterEntry } from '../../model/trust.ts';
import type { ClusterView, MeshView, ServiceView } from '../../model/view.ts';
import type { PartitionView } from '../partition-view.ts';
import { mayExport } from './glob.ts';
import { type Exporter, mergeService } from './merge-service.ts';

export interface MergeInput {
  readonly self: ClusterName;
  /** Own partition included. */
  readonly partitions: ReadonlyMap<ClusterName, PartitionView>;
  readonly roster: Roster;
  /** The view merged before, whose unchanged parts are taken over. */
  readonly previous?: MeshView;
}

/** What one partition says, sorted by kind; kept between merges so that an unchanged partition costs nothing. */
interface Contribution {
  readonly records: ReadonlyMap<RecordKey, ClusterRecord>;
  readonly exportable: readonly string[];
  readonly exports: ReadonlyMap<ServiceKey, ExportRecord>;
  readonly gateways: readonly GatewayRecord[];
  readonly links: readonly LinkRecord[];
}

type Contributions = ReadonlyMap<ClusterName, Contribution>;

/** Where a view came from. Only a memory: without it everything is merged anew, with an equal result. */
const origins = new WeakMap<MeshView, Contributions>();

/**
 * All partitions of active members as one view (KEP-1645). A pure function of its input: the order of partitions plays
 * no part, and `previous` only saves work. The very same view comes back when nothing changed.
 */
export function merge(input: MergeInput): MeshView {
  const { self, partitions, roster, previous } = input;
  const origin = previous && origins.get(previous);
  const before: Contributions = origin ?? new Map();
  const now = new Map<ClusterName, Contribution>();
  const clusters = new Map<ClusterName, ClusterView>();
  for (const entry of activeMembers(roster)) {
    const partition = partitions.get(entry.cluster);
    const contribution = contributionOf(entry, partition?.records ?? noRecords, before.get(entry.cluster));
    now.set(entry.cluster, contribution);
    const known = previous?.clusters.get(entry.cluster);
    clusters.set(entry.cluster, viewOf(entry, { partition, contribution, known }));
  }
  const services = mergeServices(origin && previous?.services, before, now);
  if (previous && services === previous.services && sameMembers(clusters, previous.clusters)) return previous;
  const view: MeshView = { self, revision: (previous?.revision ?? 0) + 1, clusters, services };
  origins.set(view, now);
  return view;
}

const noRecords: ReadonlyMap<RecordKey, ClusterRecord> = new Map();

function activeMembers(roster: Roster): readonly RosterEntry[] {
  return [...roster.clusters.values()]
    .filter((entry) => entry.state === 'active')
    .toSorted((a, b) => (a.cluster < b.cluster ? -1 : 1));
}

function contributionOf(
  entry: RosterEntry,
  records: ReadonlyMap<RecordKey, ClusterRecord>,
  known: Contribution | undefined,
): Contribution {
  const { exportable } = entry;
  if (known?.records === records && sameList(known.exportable, exportable)) return known;
  const exports = new Map<ServiceKey, ExportRecord>();
  const gateways: GatewayRecord[] = [];
  const links: LinkRecord[] = [];
  for (const record of records.values()) {
    switch (record.kind) {
      case 'export':
        if (mayExport(exportable, record.service)) exports.set(record.service, record);
        break;
      case 'gateway':
        gateways.push(record);
        break;
      case 'link':
        links.push(record);
        break;
      case 'tombstone':
      case 'drain':
      case 'policy':
      case 'import':
        break;
    }
  }
  return {
    records,
    exportable,
    exports,
    gateways: shared(known?.gateways, gateways, (gateway) => gateway.instance),
    links: shared(known?.links, links, (link) => link.to),
  };
}

/** Sorted by name; the list known before when it holds the very same records. */
function shared<T>(known: readonly T[] | undefined, found: readonly T[], nameOf: (item: T) => string): readonly T[] {
  const sorted = found.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  return known && sameList(known, sorted) ? known : sorted;
}

interface ViewParts {
  readonly partition: PartitionView | undefined;
  readonly contribution: Contribution;
  readonly known: ClusterView | undefined;
}

function viewOf(entry: RosterEntry, { partition, contribution, known }: ViewParts): ClusterView {
  const view: ClusterView = {
    name: entry.cluster,
    trustDomain: entry.trustDomain,
    epoch: partition?.epoch ?? 0,
    revision: partition?.revision ?? 0,
    freshness: partition?.freshness ?? 'unknown',
    heardAt: partition?.heardAt,
    labels: known && sameLabels(known.labels, entry.labels) ? known.labels : entry.labels,
    gateways: contribution.gateways,
    links: contribution.links,
  };
  return known && sameFields(known, view) ? known : view;
}

/** Merges the services of changed partitions only. The map known before when no service changed. */
function mergeServices(
  known: ReadonlyMap<ServiceKey, ServiceView> | undefined,
  before: Contributions,
  now: Contributions,
): ReadonlyMap<ServiceKey, ServiceView> {
  const changed = changedServices(before, now);
  if (known && changed.size === 0) return known;
  const services = new Map(known);
  for (const key of changed) {
    const exporters: Exporter[] = [];
    for (const [cluster, { exports }] of now) {
      const record = exports.get(key);
      if (record) exporters.push([cluster, record]);
    }
    if (exporters.length === 0) services.delete(key);
    else services.set(key, mergeService(key, exporters));
  }
  return services;
}

function changedServices(before: Contributions, now: Contributions): ReadonlySet<ServiceKey> {
  const changed = new Set<ServiceKey>();
  for (const cluster of new Set([...before.keys(), ...now.keys()])) {
    const was = before.get(cluster)?.exports;
    const is = now.get(cluster)?.exports;
    if (was === is) continue;
    for (const [key, record] of is ?? []) if (was?.get(key) !== record) changed.add(key);
    for (const key of was?.keys() ?? []) if (!is?.has(key)) changed.add(key);
  }
  return changed;
}

function sameMembers<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  return sameMembers(new Map(Object.entries(a)), new Map(Object.entries(b)));
}

function sameFields(a: ClusterView, b: ClusterView): boolean {
  return (Object.keys(b) as (keyof ClusterView)[]).every((field) => a[field] === b[field]);
}

import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { ClusterRecord, ExportRecord, GatewayRecord, LinkRecord, RecordKey } from '../../model/record.ts';
import type { RosterEntry } from '../../model/trust.ts';
import type { ExportNotice } from '../../model/view.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import type { PartitionView } from '../partition-view.ts';
import { mayExport } from './glob.ts';

/** What one partition says, sorted by kind; kept between merges so that only changed records are looked at. */
export interface Contribution {
  readonly records: SortedMap<RecordKey, ClusterRecord>;
  readonly exportable: readonly string[];
  readonly exports: SortedMap<ServiceKey, ExportRecord>;
  /** Exports that the roster does not allow. */
  readonly refused: SortedMap<ServiceKey, ExportNotice>;
  readonly gateways: readonly GatewayRecord[];
  readonly links: readonly LinkRecord[];
  /** As the partition came with them. */
  readonly corrected: readonly ExportNotice[];
  readonly notices: readonly ExportNotice[];
}

/** Shown of one cluster; a cluster may publish anything, and as much of it as it likes. */
const maxNotices = 100;

const none: readonly ExportNotice[] = [];

const noRecords: SortedMap<RecordKey, ClusterRecord> = SortedMap.from<RecordKey, ClusterRecord>([]);

/** What a member contributes; costs what changed since `known`, which comes back when nothing did. */
export function contributionOf(
  entry: RosterEntry,
  partition: PartitionView | undefined,
  known: Contribution | undefined,
): Contribution {
  const { cluster, exportable } = entry;
  const records = partition ? SortedMap.from(partition.records) : noRecords;
  const corrected = partition?.notices ?? none;
  const before = known && sameList(known.exportable, exportable) ? known : blank(exportable);
  const news = [...records.differences(before.records)];
  if (before === known && news.length === 0 && corrected === known.corrected) return known;
  const exports = new Map<ServiceKey, ExportRecord | undefined>();
  const refusals = new Map<ServiceKey, ExportNotice | undefined>();
  for (const { before: old, after } of news) {
    const service = after?.kind === 'export' ? after.service : old?.kind === 'export' ? old.service : undefined;
    if (service === undefined) continue;
    const record = after?.kind === 'export' ? after : undefined;
    const allowed = record && mayExport(exportable, service);
    exports.set(service, allowed ? record : undefined);
    refusals.set(service, record && !allowed ? notExportable(cluster, service, exportable) : undefined);
  }
  const touches = (kind: ClusterRecord['kind']): boolean =>
    news.some(({ before: old, after }) => old?.kind === kind || after?.kind === kind);
  const refused = before.refused.with(refusals);
  const quiet = refused === before.refused && corrected === before.corrected;
  return {
    records,
    exportable,
    exports: before.exports.with(exports),
    refused,
    gateways: touches('gateway')
      ? [...records.values()].filter((record) => record.kind === 'gateway')
      : before.gateways,
    links: touches('link') ? [...records.values()].filter((record) => record.kind === 'link') : before.links,
    corrected,
    notices: quiet ? before.notices : [...refused.values(), ...corrected].slice(0, maxNotices),
  };
}

function blank(exportable: readonly string[]): Contribution {
  return {
    records: noRecords,
    exportable,
    exports: SortedMap.from<ServiceKey, ExportRecord>([]),
    refused: SortedMap.from<ServiceKey, ExportNotice>([]),
    gateways: [],
    links: [],
    corrected: none,
    notices: [],
  };
}

function notExportable(cluster: ClusterName, service: ServiceKey, exportable: readonly string[]): ExportNotice {
  const allowed = exportable.length === 0 ? 'nothing' : exportable.map((glob) => `'${glob}'`).join(', ');
  return {
    service,
    reason: 'NotExportable',
    message: `${cluster} exports ${service}, but the authority lets it export ${allowed}`.slice(0, 500),
  };
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}

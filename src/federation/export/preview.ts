import type { ExportPreview, ExportPreviewRow } from '../../model/export-report.ts';
import type { ServiceKey } from '../../model/names.ts';
import type { LocalServices } from '../../model/ports/service-source.ts';
import { type ClusterRecord, type ExportRecord, exportKey, type RecordKey } from '../../model/record.ts';
import type { MeshView } from '../../model/view.ts';
import { canonicalJson } from '../../wire/canonical-json.ts';
import { conflictRow } from '../merge/conflict-row.ts';
import { mayExport } from '../merge/glob.ts';
import { mergeService } from '../merge/merge-service.ts';
import { planExports } from './plan-exports.ts';

export interface PreviewInput {
  /** As it is. */
  readonly view: MeshView;
  /** The own partition's records as they are. */
  readonly own: ReadonlyMap<RecordKey, ClusterRecord>;
  /** The services as they would be. */
  readonly local: LocalServices;
  /** What the roster lets this cluster export. */
  readonly exportable: readonly string[];
  /** Wall clock in ms. */
  readonly now: number;
}

/** What would become of this cluster's exports, and on what exporters would disagree then. Changes nothing. */
export function previewExports(input: PreviewInput): ExportPreview {
  const { view, own, local, now } = input;
  const planned = planExports(local, own, now);
  const services = new Set<ServiceKey>();
  for (const record of [...own.values(), ...planned.values()])
    if (record.kind === 'export') services.add(record.service);
  const rows = [...services].sort().map((service) => previewOf(service, input, planned));
  const ok = rows.every(({ allowed, newConflicts }) => allowed && newConflicts.length === 0);
  return { cluster: view.self, services: rows, ok };
}

function previewOf(
  service: ServiceKey,
  { view, own, exportable }: PreviewInput,
  planned: ReadonlyMap<RecordKey, ClusterRecord>,
): ExportPreviewRow {
  const next = exportIn(planned, service);
  const allowed = next === undefined || mayExport(exportable, service);
  const seen = view.services.get(service);
  const exports = new Map(seen?.exports);
  if (next && allowed) exports.set(view.self, next);
  else exports.delete(view.self);
  const merged = exports.size > 0 ? mergeService(service, exports) : undefined;
  const known = new Set(seen?.conflicts.map(({ message }) => message));
  const conflicts = merged?.conflicts ?? [];
  return {
    service,
    action: actionOf(exportIn(own, service), next),
    allowed,
    exporters: [...(merged?.exports.keys() ?? [])],
    conflicts: conflicts.map(conflictRow),
    newConflicts: conflicts.map(({ message }) => message).filter((message) => !known.has(message)),
  };
}

function exportIn(records: ReadonlyMap<RecordKey, ClusterRecord>, service: ServiceKey): ExportRecord | undefined {
  const record = records.get(exportKey(service));
  return record?.kind === 'export' ? record : undefined;
}

function actionOf(before: ExportRecord | undefined, after: ExportRecord | undefined): ExportPreviewRow['action'] {
  if (!before) return after ? 'export' : 'unchanged';
  if (!after) return 'withdraw';
  return termsOf(before) === termsOf(after) ? 'unchanged' : 'change';
}

/** What is said of a service, other than how its instances are at the moment. */
function termsOf({ endpoints: _endpoints, zones: _zones, ...terms }: ExportRecord): string {
  return canonicalJson(terms);
}

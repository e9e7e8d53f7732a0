import type { ClusterRecord, ExportRecord } from '../../model/record.ts';
import { SharedValues } from '../../runtime/shared-values.ts';

/** Only a memory: an equal record comes out, whatever it holds. */
const shared = new SharedValues(4096);

/** The record, with what many exports say alike held once for all of them. It must be nobody else's yet. */
export function shareParts(record: ClusterRecord): ClusterRecord {
  if (record.kind !== 'export') return record;
  const parts: { -readonly [Part in keyof ExportRecord]: ExportRecord[Part] } = record;
  // A string that came out of JSON is a new one each time.
  parts.type = parts.type === 'Headless' ? 'Headless' : 'ClusterSetIP';
  parts.ports = shared.of(parts.ports);
  parts.endpoints = shared.of(parts.endpoints);
  if (parts.labels) parts.labels = shared.of(parts.labels);
  if (parts.annotations) parts.annotations = shared.of(parts.annotations);
  if (parts.capacity) parts.capacity = shared.of(parts.capacity);
  if (parts.zones) parts.zones = shared.of(parts.zones);
  return record;
}

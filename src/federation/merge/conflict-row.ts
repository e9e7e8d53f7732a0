import type { ConflictRow } from '../../model/export-report.ts';
import type { Conflict } from '../../model/view.ts';

/** A conflict as plain JSON. */
export function conflictRow({ values, ...conflict }: Conflict): ConflictRow {
  return { ...conflict, values: [...values].map(([cluster, value]) => ({ cluster, value })) };
}

import type { ConflictReason } from './view.ts';

/** What the admin API says of exports, before and after they happen: plain JSON. */

/** Path of the preview: a POST of `{ services: […] }`, as an agent's file lists them. Writes nothing. */
export const exportPreviewPath = '/v1/export/preview';

/** One property on which the exporters of a service disagree. */
export interface ConflictRow {
  /** `type`, `ports`, `ports[80/TCP].name` */
  readonly field: string;
  readonly reason: ConflictReason;
  /** The oldest export that says anything of it. */
  readonly winner: string;
  readonly losers: readonly string[];
  /** What each exporter says, oldest first. */
  readonly values: readonly { readonly cluster: string; readonly value: string }[];
  readonly message: string;
}

/** What would become of one export of this cluster. */
export interface ExportPreviewRow {
  /** `<namespace>/<name>` */
  readonly service: string;
  readonly action: 'export' | 'change' | 'withdraw' | 'unchanged';
  /** False: the authority does not let this cluster export it, and every member would leave it out. */
  readonly allowed: boolean;
  /** The clusters that would export it, oldest export first. */
  readonly exporters: readonly string[];
  /** On which they would disagree. */
  readonly conflicts: readonly ConflictRow[];
  /** Messages of conflicts that there are not yet. */
  readonly newConflicts: readonly string[];
}

export interface ExportPreview {
  readonly cluster: string;
  readonly services: readonly ExportPreviewRow[];
  /** Nothing new is in conflict, and everything is allowed. */
  readonly ok: boolean;
}

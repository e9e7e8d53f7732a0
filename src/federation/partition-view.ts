import type { ClusterRecord, RecordKey } from '../model/record.ts';
import type { ExportNotice, Freshness } from '../model/view.ts';

/** One cluster's partition as it is believed here. Immutable; unchanged records are shared by reference. */
export interface PartitionView {
  /** 0 while nothing of this cluster was ever read. */
  readonly epoch: number;
  readonly revision: number;
  /** Tombstones included. An unchanged partition keeps the same map. */
  readonly records: ReadonlyMap<RecordKey, ClusterRecord>;
  readonly freshness: Freshness;
  /** Wall clock in ms at which its lease or data last advanced here; undefined = not since this process started. */
  readonly heardAt: number | undefined;
  /** Why the newest data in the hub is not applied, or which records of it are not; for people. */
  readonly problem?: string;
  /** It said good-bye while this process listened. */
  readonly left?: true;
  /** What was put right in `records`. */
  readonly notices?: readonly ExportNotice[];
}

import type { ClusterName } from '../../model/names.ts';
import type { ClusterRecord, ExportRecord, RecordKey } from '../../model/record.ts';
import type { ExportNotice } from '../../model/view.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';

/**
 * The oldest export wins, and each cluster says itself how old its exports are. Nobody can prove a first sighting to
 * others, but everybody can hold a cluster to it: an age from the future counts as now, and one that moves backwards
 * stays what it was.
 */

/** Clocks of honest clusters differ by less. */
const maxAheadMs = 300_000;
/** Remembered corrections of one cluster. */
const maxCorrections = 20_000;

/** An age that is not taken as it was declared. Wall clocks in ms. */
export interface AgeCorrection {
  readonly declared: number;
  readonly used: number;
}

type Records = SortedMap<RecordKey, ClusterRecord>;

/** The ages of one cluster's exports, reviewed. Immutable. */
export interface ReviewedAges {
  /** As the cluster published them. */
  readonly declared: Records;
  /** With the ages in use; the very map `declared` when all are believed. */
  readonly records: Records;
  readonly corrections: SortedMap<RecordKey, AgeCorrection>;
  readonly notices: readonly ExportNotice[];
}

const nobody: Records = SortedMap.from<RecordKey, ClusterRecord>([]);
const noCorrections: SortedMap<RecordKey, AgeCorrection> = SortedMap.from<RecordKey, AgeCorrection>([]);

/** Before anything was seen. `corrections`: as remembered from before a restart. */
export function unseenAges(corrections: ReadonlyMap<RecordKey, AgeCorrection> = noCorrections): ReviewedAges {
  return { declared: nobody, records: nobody, corrections: SortedMap.from(corrections), notices: [] };
}

/** Looks at what a cluster published since `known`; `now`: the reader's wall clock in ms. Costs what changed. */
export function reviewAges(
  known: ReviewedAges,
  published: ReadonlyMap<RecordKey, ClusterRecord>,
  context: { readonly cluster: ClusterName; readonly now: number },
): ReviewedAges {
  const declared = SortedMap.from(published);
  if (declared === known.declared) return known;
  const records = new Map<RecordKey, ClusterRecord | undefined>();
  const corrections = new Map<RecordKey, AgeCorrection | undefined>();
  for (const { key, before, after } of declared.differences(known.declared)) {
    const used =
      after?.kind === 'export' ? usedAge(after, { before, correction: known.corrections.get(key), ...context }) : 0;
    const corrected = after?.kind === 'export' && used !== after.createdAt;
    records.set(key, corrected ? { ...after, createdAt: used } : after);
    corrections.set(key, corrected ? { declared: after.createdAt, used } : undefined);
  }
  const kept = known.corrections.with(corrections);
  const bounded = kept.size <= maxCorrections ? kept : known.corrections;
  return {
    declared,
    // Without a correction both maps are one, whatever was corrected before.
    records: bounded.size === 0 ? declared : SortedMap.from(known.records).with(records),
    corrections: bounded,
    notices: bounded === known.corrections ? known.notices : noticesOf(context.cluster, declared, bounded),
  };
}

interface AgeContext {
  /** What lay under the key before. */
  readonly before: ClusterRecord | undefined;
  readonly correction: AgeCorrection | undefined;
  readonly now: number;
}

function usedAge({ createdAt }: ExportRecord, { before, correction, now }: AgeContext): number {
  if (correction?.declared === createdAt) return correction.used;
  const latest = createdAt > now + maxAheadMs ? now : createdAt;
  const first = correction?.used ?? (before?.kind === 'export' ? before.createdAt : undefined);
  if (first !== undefined) return Math.max(latest, first);
  // Withdrawn and exported again, it is as old as its return.
  return before?.kind === 'tombstone' ? Math.max(latest, Math.min(before.deletedAt, now)) : latest;
}

function noticesOf(
  cluster: ClusterName,
  declared: Records,
  corrections: ReviewedAges['corrections'],
): readonly ExportNotice[] {
  const notices: ExportNotice[] = [];
  for (const [key, { declared: said, used }] of corrections) {
    const record = declared.get(key);
    if (record?.kind !== 'export') continue;
    notices.push({
      service: record.service,
      reason: 'AgeCorrected',
      message: `${cluster} says that it exports ${record.service} since ${timeOf(said)}; it counts since ${timeOf(used)}`,
    });
  }
  return notices;
}

/** The largest time that a Date holds is below the largest number that a record holds. */
function timeOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

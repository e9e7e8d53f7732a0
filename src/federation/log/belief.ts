import type { ClusterRecord, RecordKey, TombstoneRecord } from '../../model/record.ts';
import { decodeRecord } from '../../wire/record.ts';
import { burstOf, type Deletion, defaultGuard } from '../guard/burst.ts';

/**
 * What a partition holds in the hub, and what is believed of it. Both differ where a record does not decode, has vanished
 * without its owner's tombstone, or would go in a burst of tombstones that nobody declared; there the last good record
 * stays.
 */
export interface Belief {
  /** The exact bytes in the hub, over which digests are computed. */
  readonly values: ReadonlyMap<RecordKey, Uint8Array>;
  /** What is believed: decoded values and kept records. */
  readonly records: ReadonlyMap<RecordKey, ClusterRecord>;
  /** Last good records that `values` does not bear out (any more). */
  readonly kept: ReadonlyMap<RecordKey, KeptRecord>;
  /** Values that do not decode, and why. */
  readonly refused: ReadonlyMap<RecordKey, string>;
}

export interface KeptRecord {
  readonly bytes: Uint8Array;
  readonly why: KeptWhy;
  /** Reader's wall clock in ms. */
  readonly since: number;
}

/** `held`: buried by its owner, together with so many others that somebody has to say it is meant. */
export type KeptWhy = 'refused' | 'absent' | 'held';

/**
 * An export that vanishes without a tombstone is kept for so long: as long as owners keep tombstones, so that a reader
 * which slept through one does not keep the ghost for ever.
 */
export const absentRetentionMs = 86_400_000;

/** Keys whose value may be another one than before, and the reader's wall clock in ms. */
interface Change {
  readonly touched: ReadonlySet<RecordKey>;
  readonly now: number;
}

/** Derives what is believed from what the hub holds, looking only at touched keys. */
export function believe(held: Belief | undefined, values: Belief['values'], change: Change): Belief {
  if (held && change.touched.size === 0) {
    return { values, records: held.records, kept: held.kept, refused: held.refused };
  }
  const records = new Map(held?.records);
  const kept = new Map(held?.kept);
  const refused = new Map(held?.refused);
  const deletions: Deletion[] = [];
  const keep = (key: RecordKey, bytes: Uint8Array, why: KeptWhy): void => {
    const before = held?.kept.get(key);
    // Absence counts from when it was noticed.
    kept.set(key, { bytes, why, since: before?.why === why ? before.since : change.now });
  };
  for (const key of change.touched) {
    const value = values.get(key);
    const before = held?.values.get(key);
    if (value && before && Buffer.compare(value, before) === 0) continue;
    refused.delete(key);
    const decoded = value && decodeRecord(key, value);
    const good = lastGood(held, key);
    const isHeld = kept.get(key)?.why === 'held';
    if (decoded?.ok) {
      const { record } = decoded;
      const buried = record.kind === 'tombstone' && !record.bulk && good?.record.kind === 'export';
      if (buried && isHeld) continue;
      if (buried) deletions.push({ key, at: record.deletedAt });
      records.set(key, record);
      kept.delete(key);
      continue;
    }
    if (decoded && !decoded.unknown) refused.set(key, decoded.detail);
    if (good && (decoded || good.record.kind === 'export')) {
      keep(key, good.bytes, isHeld ? 'held' : decoded ? 'refused' : 'absent');
    } else {
      records.delete(key);
      kept.delete(key);
    }
  }
  for (const key of heldDeletions(deletions, records, { kept, values })) {
    const good = lastGood(held, key);
    if (!good) continue;
    records.set(key, good.record);
    keep(key, good.bytes, 'held');
  }
  return { values, records, kept, refused };
}

/** Which of these deletions are a burst, together with those before. `records`: as if all of them were carried out. */
function heldDeletions(
  deletions: readonly Deletion[],
  records: ReadonlyMap<RecordKey, ClusterRecord>,
  { kept, values }: Pick<Belief, 'kept' | 'values'>,
): ReadonlySet<RecordKey> {
  if (deletions.length === 0) return new Set();
  const these = new Set(deletions.map(({ key }) => key));
  const earlier: number[] = [];
  let remaining = 0;
  for (const [key, record] of records) {
    if (these.has(key)) continue;
    if (kept.get(key)?.why === 'held') {
      const tombstone = tombstoneAt(key, values);
      if (tombstone) earlier.push(tombstone.deletedAt);
    } else if (record.kind === 'export') remaining += 1;
    else if (record.kind === 'tombstone' && !record.bulk) earlier.push(record.deletedAt);
  }
  return burstOf(deletions, { remaining, earlier }, defaultGuard);
}

function tombstoneAt(key: RecordKey, values: Belief['values']): TombstoneRecord | undefined {
  const value = values.get(key);
  const decoded = value && decodeRecord(key, value);
  return decoded?.ok && decoded.record.kind === 'tombstone' ? decoded.record : undefined;
}

/** Keys of exports that stay although their owner buried them. */
export function heldKeys(state: Belief | undefined): readonly RecordKey[] {
  return [...(state?.kept ?? [])].flatMap(([key, { why }]) => (why === 'held' ? [key] : []));
}

/** Somebody said that it is meant: what was held back goes. The same state when there is nothing. */
export function acceptHeld<State extends Belief>(state: State): State {
  const keys = heldKeys(state);
  if (keys.length === 0) return state;
  const records = new Map(state.records);
  const kept = new Map(state.kept);
  for (const key of keys) {
    kept.delete(key);
    const tombstone = tombstoneAt(key, state.values);
    if (tombstone) records.set(key, tombstone);
    else records.delete(key);
  }
  return { ...state, records, kept };
}

function lastGood(
  held: Belief | undefined,
  key: RecordKey,
): { readonly record: ClusterRecord; readonly bytes: Uint8Array } | undefined {
  const record = held?.records.get(key);
  const bytes = held?.kept.get(key)?.bytes ?? held?.values.get(key);
  return record && bytes ? { record, bytes } : undefined;
}

/** Drops exports that have been absent for longer than tombstones are kept. The same state when there is none. */
export function expireAbsent<State extends Belief>(state: State, now: number): State {
  const gone = [...state.kept].filter(([, kept]) => kept.why === 'absent' && now - kept.since >= absentRetentionMs);
  if (gone.length === 0) return state;
  const records = new Map(state.records);
  const kept = new Map(state.kept);
  for (const [key] of gone) {
    records.delete(key);
    kept.delete(key);
  }
  return { ...state, records, kept };
}

import type { ClusterRecord, RecordKey, TombstoneRecord } from '../../model/record.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import { decodeRecord } from '../../wire/record.ts';
import { burstOf, type Deletion, defaultGuard } from '../guard/burst.ts';

/**
 * What a partition holds in the hub, and what is believed of it. Both differ where a record does not decode, has vanished
 * without its owner's tombstone, or would go in a burst of tombstones that nobody declared; there the last good record
 * stays.
 */
export interface Belief {
  /** The exact bytes in the hub, over which digests are computed. */
  readonly values: SortedMap<RecordKey, Uint8Array>;
  /** What is believed: decoded values and kept records. */
  readonly records: SortedMap<RecordKey, ClusterRecord>;
  /** Last good records that `values` does not bear out (any more). */
  readonly kept: SortedMap<RecordKey, KeptRecord>;
  /** Values that do not decode, and why. */
  readonly refused: SortedMap<RecordKey, string>;
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

/** Before anything was read. */
export const nothing: Belief = {
  values: SortedMap.from<RecordKey, Uint8Array>([]),
  records: SortedMap.from<RecordKey, ClusterRecord>([]),
  kept: SortedMap.from<RecordKey, KeptRecord>([]),
  refused: SortedMap.from<RecordKey, string>([]),
};

/** Derives what is believed from what the hub holds, looking only at touched keys. */
export function believe(held: Belief, values: Belief['values'], { touched, now }: Change): Belief {
  const records = new Map<RecordKey, ClusterRecord | undefined>();
  const kept = new Map<RecordKey, KeptRecord | undefined>();
  const refused = new Map<RecordKey, string | undefined>();
  const deletions: Deletion[] = [];
  const keep = (key: RecordKey, bytes: Uint8Array, why: KeptWhy): void => {
    const before = held.kept.get(key);
    // Absence counts from when it was noticed.
    kept.set(key, { bytes, why, since: before?.why === why ? before.since : now });
  };
  for (const key of touched) {
    const value = values.get(key);
    const before = held.values.get(key);
    if (value && before && Buffer.compare(value, before) === 0) continue;
    const decoded = value && decodeRecord(key, value);
    const good = lastGood(held, key);
    const isHeld = held.kept.get(key)?.why === 'held';
    refused.set(key, decoded && !decoded.ok && !decoded.unknown ? decoded.detail : undefined);
    if (decoded?.ok) {
      const { record } = decoded;
      const buried = record.kind === 'tombstone' && !record.bulk && good?.record.kind === 'export';
      if (buried && isHeld) continue;
      if (buried) deletions.push({ key, at: record.deletedAt });
      records.set(key, record);
      kept.set(key, undefined);
    } else if (good && (decoded || good.record.kind === 'export')) {
      keep(key, good.bytes, isHeld ? 'held' : decoded ? 'refused' : 'absent');
    } else {
      records.set(key, undefined);
      kept.set(key, undefined);
    }
  }
  const after = { values, records: held.records.with(records), kept: held.kept.with(kept) };
  const burst = heldDeletions(deletions, after);
  const back = new Map<RecordKey, ClusterRecord>();
  kept.clear();
  for (const key of burst) {
    const good = lastGood(held, key);
    if (!good) continue;
    back.set(key, good.record);
    keep(key, good.bytes, 'held');
  }
  return {
    values,
    records: after.records.with(back),
    kept: after.kept.with(kept),
    refused: held.refused.with(refused),
  };
}

/** Which of these deletions are a burst, together with those before. `after`: as if all of them were carried out. */
function heldDeletions(
  deletions: readonly Deletion[],
  after: Pick<Belief, 'values' | 'records' | 'kept'>,
): ReadonlySet<RecordKey> {
  if (deletions.length === 0) return new Set();
  const these = new Set(deletions.map(({ key }) => key));
  const earlier: number[] = [];
  let remaining = 0;
  for (const [key, record] of after.records) {
    if (these.has(key)) continue;
    if (after.kept.get(key)?.why === 'held') {
      const tombstone = tombstoneAt(key, after.values);
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
  return {
    ...state,
    records: state.records.with(keys.map((key) => [key, tombstoneAt(key, state.values)])),
    kept: state.kept.with(keys.map((key) => [key, undefined])),
  };
}

function lastGood(
  held: Belief,
  key: RecordKey,
): { readonly record: ClusterRecord; readonly bytes: Uint8Array } | undefined {
  const record = held.records.get(key);
  const bytes = held.kept.get(key)?.bytes ?? held.values.get(key);
  return record && bytes ? { record, bytes } : undefined;
}

/** Drops exports that have been absent for longer than tombstones are kept. The same state when there is none. */
export function expireAbsent<State extends Belief>(state: State, now: number): State {
  const gone = [...state.kept].flatMap(([key, { why, since }]) =>
    why === 'absent' && now - since >= absentRetentionMs ? [[key, undefined] as const] : [],
  );
  if (gone.length === 0) return state;
  return { ...state, records: state.records.with(gone), kept: state.kept.with(gone) };
}

import type { ClusterRecord, RecordKey, TombstoneRecord } from '../../model/record.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import { MapDigest } from '../../wire/digest.ts';
import { decodeRecord, encodeRecord, encodesTo } from '../../wire/record.ts';
import { burstOf, type Deletion, defaultGuard } from '../guard/burst.ts';
import { shareParts } from './shared-parts.ts';

/**
 * What a partition holds in the hub, and what is believed of it. Both differ where a record does not decode, has vanished
 * without its owner's tombstone, or would go in a burst of tombstones that nobody declared; there the last good record
 * stays. Of what the hub holds only the digest is kept, and the bytes that the records do not tell: a record and its
 * bytes say the same, and there are many of them.
 */
export interface Belief {
  /** Of what the hub holds; never written to once it is here. */
  readonly digest: MapDigest;
  /** What is believed: decoded values and kept records. */
  readonly records: SortedMap<RecordKey, ClusterRecord>;
  /** Values of the hub that are not what encoding the record under their key gives. */
  readonly verbatim: SortedMap<RecordKey, Uint8Array>;
  /** Last good records that the hub does not bear out (any more). */
  readonly kept: SortedMap<RecordKey, KeptRecord>;
  /** Values that do not decode, and why. */
  readonly refused: SortedMap<RecordKey, string>;
}

export interface KeptRecord {
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

/** Keys whose value may be another one than before with their values now, and the reader's wall clock in ms. */
interface Change {
  /** Undefined: gone. */
  readonly touched: ReadonlyMap<RecordKey, Uint8Array | undefined>;
  readonly now: number;
}

/** Before anything was read. */
export const nothing: Belief = {
  digest: new MapDigest(),
  records: SortedMap.from<RecordKey, ClusterRecord>([]),
  verbatim: SortedMap.from<RecordKey, Uint8Array>([]),
  kept: SortedMap.from<RecordKey, KeptRecord>([]),
  refused: SortedMap.from<RecordKey, string>([]),
};

/** Derives what is believed from what the hub holds, by `digest`, looking only at touched keys. */
export function believe(held: Belief, digest: MapDigest, { touched, now }: Change): Belief {
  const records = new Map<RecordKey, ClusterRecord | undefined>();
  const verbatim = new Map<RecordKey, Uint8Array | undefined>();
  const kept = new Map<RecordKey, KeptRecord | undefined>();
  const refused = new Map<RecordKey, string | undefined>();
  const deletions: Deletion[] = [];
  const keep = (key: RecordKey, why: KeptWhy): void => {
    const before = held.kept.get(key);
    // Absence counts from when it was noticed.
    kept.set(key, { why, since: before?.why === why ? before.since : now });
  };
  for (const [key, value] of touched) {
    if (value && digest.agrees(held.digest, key)) continue;
    const decoded = value && decodeRecord(key, value);
    const good = held.records.get(key);
    const isHeld = held.kept.get(key)?.why === 'held';
    refused.set(key, decoded && !decoded.ok && !decoded.unknown ? decoded.detail : undefined);
    verbatim.set(key, value && verbatimOf(value, decoded?.ok ? decoded.record : undefined));
    if (value && decoded?.ok) {
      const { record } = decoded;
      const buried = record.kind === 'tombstone' && !record.bulk && good?.kind === 'export';
      if (buried && isHeld) {
        verbatim.set(key, new Uint8Array(value));
        continue;
      }
      if (buried) deletions.push({ key, at: record.deletedAt });
      records.set(key, shareParts(record));
      kept.set(key, undefined);
    } else if (good && (decoded || good.kind === 'export')) {
      keep(key, isHeld ? 'held' : decoded ? 'refused' : 'absent');
    } else {
      records.set(key, undefined);
      kept.set(key, undefined);
    }
  }
  const after: Belief = {
    digest,
    records: held.records.with(records),
    verbatim: held.verbatim.with(verbatim),
    kept: held.kept.with(kept),
    refused: held.refused.with(refused),
  };
  const burst = [...heldDeletions(deletions, after)];
  if (burst.length === 0) return after;
  kept.clear();
  for (const key of burst) keep(key, 'held');
  return {
    ...after,
    records: after.records.with(burst.map((key) => [key, held.records.get(key)])),
    verbatim: after.verbatim.with(burst.map((key) => [key, new Uint8Array(touched.get(key) ?? [])])),
    kept: after.kept.with(kept),
  };
}

/** A copy of what encoding `record` would not give again; undefined: it would. */
function verbatimOf(value: Uint8Array, record: ClusterRecord | undefined): Uint8Array | undefined {
  return record && encodesTo(record, value) ? undefined : new Uint8Array(value);
}

/** What the hub holds, byte for byte. */
export function* valuesOf({ digest, verbatim, records }: Belief): Generator<[RecordKey, Uint8Array], undefined> {
  for (const key of digest.keys()) {
    const exact = verbatim.get(key);
    const record = exact ? undefined : records.get(key);
    if (exact) yield [key, exact];
    else if (record) yield [key, encodeRecord(record)];
  }
}

/** Which of these deletions are a burst, together with those before. `after`: as if all of them were carried out. */
function heldDeletions(deletions: readonly Deletion[], after: Belief): ReadonlySet<RecordKey> {
  if (deletions.length === 0) return new Set();
  const these = new Set(deletions.map(({ key }) => key));
  const earlier: number[] = [];
  let remaining = 0;
  for (const [key, record] of after.records) {
    if (these.has(key)) continue;
    if (after.kept.get(key)?.why === 'held') {
      const tombstone = tombstoneAt(key, after);
      if (tombstone) earlier.push(tombstone.deletedAt);
    } else if (record.kind === 'export') remaining += 1;
    else if (record.kind === 'tombstone' && !record.bulk) earlier.push(record.deletedAt);
  }
  return burstOf(deletions, { remaining, earlier }, defaultGuard);
}

function tombstoneAt(key: RecordKey, { verbatim }: Belief): TombstoneRecord | undefined {
  const value = verbatim.get(key);
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
    records: state.records.with(keys.map((key) => [key, tombstoneAt(key, state)])),
    kept: state.kept.with(keys.map((key) => [key, undefined])),
  };
}

/** Drops exports that have been absent for longer than tombstones are kept. The same state when there is none. */
export function expireAbsent<State extends Belief>(state: State, now: number): State {
  const gone = [...state.kept].flatMap(([key, { why, since }]) =>
    why === 'absent' && now - since >= absentRetentionMs ? [[key, undefined] as const] : [],
  );
  if (gone.length === 0) return state;
  return { ...state, records: state.records.with(gone), kept: state.kept.with(gone) };
}

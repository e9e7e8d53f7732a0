import type { ClusterName } from '../../model/names.ts';
import type { ClusterRecord, RecordKey } from '../../model/record.ts';
import { MapDigest } from '../../wire/digest.ts';
import type { PartitionDelta, PartitionHead } from '../../wire/partition.ts';
import { decodeRecord } from '../../wire/record.ts';

/**
 * A reader's copy of one cluster's partition: what the hub holds, and what is believed of it. Both differ where a
 * record does not decode or has vanished without its owner's tombstone; there the last good record stays. Immutable:
 * applying gives a new state or the reason why not, never a part.
 */
export interface PartitionState {
  readonly cluster: ClusterName;
  readonly epoch: number;
  readonly revision: number;
  /** The exact bytes in the hub, over which digests are computed. */
  readonly values: ReadonlyMap<RecordKey, Uint8Array>;
  /** Digest of `values`; never written to once it is here. */
  readonly digest: MapDigest;
  /** What is believed: decoded values and kept records. */
  readonly records: ReadonlyMap<RecordKey, ClusterRecord>;
  /** Last good records that `values` does not bear out (any more). */
  readonly kept: ReadonlyMap<RecordKey, KeptRecord>;
  /** Values that do not decode, and why. */
  readonly refused: ReadonlyMap<RecordKey, string>;
}

export interface KeptRecord {
  readonly bytes: Uint8Array;
  readonly why: 'refused' | 'absent';
  /** Reader's wall clock in ms. */
  readonly since: number;
}

/**
 * Why a head or delta that its signer really signed is not applied.
 * - `foreign`: it speaks for another cluster than the one whose partition it lies in
 * - `gap`: deltas are missing in between, or a new epoch began: a snapshot helps
 * - `rollback`: older than what is held
 * - `equivocation`: the same epoch and revision were signed with other content
 * - `digest-mismatch`: the records are not those that were signed
 */
export type LogRefusal = 'foreign' | 'gap' | 'rollback' | 'equivocation' | 'digest-mismatch';

export type Applied =
  | { readonly ok: true; readonly state: PartitionState }
  | { readonly ok: false; readonly reason: LogRefusal; readonly detail: string };

/**
 * An export that vanishes without a tombstone is kept for so long: as long as owners keep tombstones, so that a reader
 * which slept through one does not keep the ghost for ever.
 */
export const absentRetentionMs = 86_400_000;

function refuse(reason: LogRefusal, detail: string): Applied {
  return { ok: false, reason, detail };
}

/** Replaces the whole partition. `now`: the reader's wall clock in ms. */
export function applySnapshot(
  held: PartitionState | undefined,
  cluster: ClusterName,
  content: { readonly head: PartitionHead; readonly values: ReadonlyMap<RecordKey, Uint8Array>; readonly now: number },
): Applied {
  const { head, values, now } = content;
  if (head.cluster !== cluster) return refuse('foreign', `the head speaks for '${head.cluster}'`);
  const older = held && compareVersions(head, held) < 0;
  if (older) return refuse('rollback', `${versionOf(head)} in the hub is older than ${versionOf(held)} held`);
  const digest = new MapDigest();
  for (const [key, value] of values) digest.set(key, value);
  if (digest.size !== head.count || digest.whole !== head.digest) {
    return refuse(
      'digest-mismatch',
      `the ${values.size} records of ${versionOf(head)} are not the ${head.count} signed`,
    );
  }
  if (held && compareVersions(head, held) === 0) {
    return held.digest.whole === head.digest ? { ok: true, state: held } : equivocation(head);
  }
  const touched = new Set([...values.keys(), ...(held?.records.keys() ?? [])]);
  const { epoch, revision } = head;
  return { ok: true, state: believe(held, { cluster, epoch, revision, values, digest }, { touched, now }) };
}

/** One step forward. A delta that is already contained leaves the state as it is. */
export function applyDelta(held: PartitionState, delta: PartitionDelta, now: number): Applied {
  if (delta.cluster !== held.cluster) return refuse('foreign', `the delta speaks for '${delta.cluster}'`);
  if (delta.epoch > held.epoch) return refuse('gap', `epoch ${delta.epoch} began after ${versionOf(held)}`);
  if (delta.epoch < held.epoch) return refuse('rollback', `${versionOf(delta)} is of an epoch before ${held.epoch}`);
  if (delta.revision === held.revision && delta.digest !== held.digest.whole) return equivocation(delta);
  if (delta.revision <= held.revision) return { ok: true, state: held };
  if (delta.previous !== held.revision) {
    return refuse('gap', `${versionOf(delta)} follows ${delta.previous}, held is ${versionOf(held)}`);
  }
  const values = new Map(held.values);
  const digest = held.digest.clone();
  for (const [key, value] of delta.ops) {
    if (value === undefined) {
      values.delete(key);
      digest.delete(key);
    } else {
      values.set(key, value);
      digest.set(key, value);
    }
  }
  if (digest.whole !== delta.digest) {
    return refuse('digest-mismatch', `${versionOf(delta)} applied to ${versionOf(held)} does not give what was signed`);
  }
  const { cluster } = held;
  const { epoch, revision } = delta;
  const next = { cluster, epoch, revision, values, digest };
  return { ok: true, state: believe(held, next, { touched: new Set(delta.ops.keys()), now }) };
}

/** Drops exports that have been absent for longer than tombstones are kept. The same state when there is none. */
export function expireAbsent(state: PartitionState, now: number): PartitionState {
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

/** Negative when `a` is older than `b`. */
export function compareVersions(a: Version, b: Version): number {
  return a.epoch - b.epoch || a.revision - b.revision;
}

export interface Version {
  readonly epoch: number;
  readonly revision: number;
}

/** `<epoch>.<revision>` for messages. */
function versionOf(version: Version): string {
  return `${version.epoch}.${version.revision}`;
}

function equivocation(version: Version): Applied {
  return refuse('equivocation', `${versionOf(version)} was signed twice with different content`);
}

type Facts = Pick<PartitionState, 'cluster' | 'epoch' | 'revision' | 'values' | 'digest'>;
type Change = { readonly touched: ReadonlySet<RecordKey>; readonly now: number };

/** Derives what is believed from what the hub holds, looking only at touched keys. */
function believe(held: PartitionState | undefined, facts: Facts, change: Change): PartitionState {
  if (held && change.touched.size === 0) return { ...held, ...facts };
  const records = new Map(held?.records);
  const kept = new Map(held?.kept);
  const refused = new Map(held?.refused);
  for (const key of change.touched) {
    const value = facts.values.get(key);
    const before = held?.values.get(key);
    if (value && before && Buffer.compare(value, before) === 0) continue;
    refused.delete(key);
    const decoded = value && decodeRecord(key, value);
    if (decoded?.ok) {
      records.set(key, decoded.record);
      kept.delete(key);
      continue;
    }
    if (decoded) refused.set(key, decoded.detail);
    const good = lastGood(held, key);
    if (good && (decoded || good.record.kind === 'export')) {
      kept.set(key, {
        bytes: good.bytes,
        why: decoded ? 'refused' : 'absent',
        since: held?.kept.get(key)?.since ?? change.now,
      });
    } else {
      records.delete(key);
      kept.delete(key);
    }
  }
  return { ...facts, records, kept, refused };
}

function lastGood(
  held: PartitionState | undefined,
  key: RecordKey,
): { readonly record: ClusterRecord; readonly bytes: Uint8Array } | undefined {
  const record = held?.records.get(key);
  const bytes = held?.kept.get(key)?.bytes ?? held?.values.get(key);
  return record && bytes ? { record, bytes } : undefined;
}

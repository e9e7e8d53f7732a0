import type { ClusterName } from '../../model/names.ts';
import type { RecordKey } from '../../model/record.ts';
import { MapDigest } from '../../wire/digest.ts';
import type { PartitionDelta, PartitionHead } from '../../wire/partition.ts';
import { type Belief, believe, nothing } from './belief.ts';

/** A reader's copy of one cluster's partition. Immutable: applying gives a new state or the reason why not, never a part. */
export interface PartitionState extends Belief {
  readonly cluster: ClusterName;
  readonly epoch: number;
  readonly revision: number;
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
  const digest = new MapDigest();
  const touched = new Map<RecordKey, Uint8Array | undefined>();
  for (const key of held ? [...held.digest.keys(), ...held.kept.keys()] : []) touched.set(key, undefined);
  for (const [key, value] of values) {
    digest.set(key, value);
    touched.set(key, value);
  }
  return applyHead(held, cluster, { head, digest, touched, now });
}

/** Replaces the whole partition, given in what it differs from the one held: key → value, undefined removes it. */
export function applyDifference(
  held: PartitionState,
  content: { readonly head: PartitionHead; readonly changes: PartitionDelta['ops']; readonly now: number },
): Applied {
  const { head, changes, now } = content;
  return applyHead(held, held.cluster, { head, digest: changed(held.digest, changes), touched: changes, now });
}

interface HeadContent {
  readonly head: PartitionHead;
  readonly digest: MapDigest;
  readonly touched: PartitionDelta['ops'];
  readonly now: number;
}

function applyHead(
  held: PartitionState | undefined,
  cluster: ClusterName,
  { head, digest, touched, now }: HeadContent,
): Applied {
  if (head.cluster !== cluster) return refuse('foreign', `the head speaks for '${head.cluster}'`);
  const order = held ? compareVersions(head, held) : 1;
  if (held && order < 0) {
    return refuse('rollback', `${versionOf(head)} in the hub is older than ${versionOf(held)} held`);
  }
  if (digest.size !== head.count || digest.whole !== head.digest) {
    const what = `the ${digest.size} records of ${versionOf(head)} are not the ${head.count} signed`;
    return refuse('digest-mismatch', what);
  }
  if (held && order === 0) return held.digest.whole === head.digest ? { ok: true, state: held } : equivocation(head);
  const { epoch, revision } = head;
  return {
    ok: true,
    state: { cluster, epoch, revision, ...believe(held ?? nothing, digest, { touched, now }) },
  };
}

/** The digest after some changes. */
function changed(before: MapDigest, changes: PartitionDelta['ops']): MapDigest {
  const digest = before.clone();
  for (const [key, value] of changes) {
    if (value === undefined) digest.delete(key);
    else digest.set(key, value);
  }
  return digest;
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
  const digest = changed(held.digest, delta.ops);
  if (digest.whole !== delta.digest) {
    return refuse('digest-mismatch', `${versionOf(delta)} applied to ${versionOf(held)} does not give what was signed`);
  }
  const { cluster } = held;
  const { epoch, revision } = delta;
  return { ok: true, state: { cluster, epoch, revision, ...believe(held, digest, { touched: delta.ops, now }) } };
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
export function versionOf(version: Version): string {
  return `${version.epoch}.${version.revision}`;
}

function equivocation(version: Version): Applied {
  return refuse('equivocation', `${versionOf(version)} was signed twice with different content`);
}

import type { ClusterRecord, ExportRecord, RecordKey } from '../../model/record.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import { decodeRecord, encodeRecord } from '../../wire/record.ts';
import { burstOf, defaultGuard } from '../guard/burst.ts';

/** Tombstones stay for so long that every reader has seen them. */
export const tombstoneRetentionMs = 86_400_000;

/** What the writer's partition should hold. `undefined` record: of a kind this version does not know; kept as it is. */
export interface Holding {
  readonly bytes: Uint8Array;
  readonly record: ClusterRecord | undefined;
}

export type Holdings = ReadonlyMap<RecordKey, Holding>;

/** Exports whose deletion waits for somebody to say that it is meant → the wall clock in ms since when. */
export type HeldBack = ReadonlyMap<RecordKey, number>;

export interface Wish {
  readonly desired: ReadonlyMap<RecordKey, ClusterRecord>;
  /** False: the sources were not all read yet, so what is missing may still come and nothing is deleted. */
  readonly synced: boolean;
  /** All deletions are meant. Default false. */
  readonly bulk?: boolean;
  /** Deletions held back so far. Default none. */
  readonly heldBack?: HeldBack;
  /** Of these, what somebody has said is meant. Default none. */
  readonly accepted?: ReadonlySet<RecordKey>;
  /** Writer's wall clock in ms. */
  readonly now: number;
}

export interface Plan {
  /** The very map that was held when nothing changes. */
  readonly holdings: Holdings;
  /** Desired records that cannot be written, and why; what was held under their key stays. */
  readonly refused: ReadonlyMap<RecordKey, string>;
  /** The very map that was given when nothing changes. */
  readonly heldBack: HeldBack;
}

/**
 * What the partition should hold next. An unchanged record keeps its bytes, an export that is not desired any more
 * becomes a tombstone, adverts and link states just go, and nothing goes before the sources are synced. Exports that would
 * go in a burst which nobody declared stay as they are and are held back.
 */
export function planWrite(held: Holdings, wish: Wish): Plan {
  const next = new Map(held);
  const refused = new Map<RecordKey, string>();
  let changed = false;
  const put = (key: RecordKey, holding: Holding): void => {
    changed = true;
    next.set(key, holding);
  };
  for (const [key, record] of wish.desired) {
    const before = held.get(key);
    try {
      const holding = hold(asFirstExported(record, before?.record));
      if (!before || Buffer.compare(before.bytes, holding.bytes) !== 0) put(key, holding);
    } catch (thrown) {
      refused.set(key, (thrown as Error).message);
    }
  }
  const heldBack = wish.heldBack ?? none;
  if (!wish.synced) return { holdings: changed ? next : held, refused, heldBack };
  const deletions = planDeletions(held, wish);
  for (const [key, { record }] of held) {
    if (wish.desired.has(key) || record === undefined || deletions.heldBack.has(key)) continue;
    if (record.kind === 'export') {
      const declared = deletions.declared.has(key) && { bulk: true };
      put(key, hold({ kind: 'tombstone', service: record.service, deletedAt: wish.now, ...declared }));
    } else if (record.kind !== 'tombstone' || wish.now - record.deletedAt >= tombstoneRetentionMs) {
      changed = next.delete(key) || changed;
    }
  }
  return { holdings: changed ? next : held, refused, heldBack: deletions.heldBack };
}

const none: HeldBack = new Map();

interface DeletionPlan {
  readonly heldBack: HeldBack;
  /** Exports that go because somebody said that this is meant: readers must know. */
  readonly declared: ReadonlySet<RecordKey>;
}

/** Which of the exports that are not desired any more may go, and which are held back. */
function planDeletions(held: Holdings, wish: Wish): DeletionPlan {
  const before = wish.heldBack ?? none;
  const declared = new Set<RecordKey>();
  const still = new Map<RecordKey, number>();
  const fresh: RecordKey[] = [];
  const earlier: number[] = [];
  let remaining = 0;
  for (const [key, { record }] of held) {
    if (record?.kind === 'tombstone' && !record.bulk) earlier.push(record.deletedAt);
    if (record?.kind !== 'export') continue;
    const since = before.get(key);
    if (wish.desired.has(key)) remaining += 1;
    else if (wish.bulk || (since !== undefined && wish.accepted?.has(key))) declared.add(key);
    else if (since === undefined) fresh.push(key);
    else still.set(key, since);
  }
  const deletions = fresh.map((key) => ({ key, at: wish.now }));
  const burst = burstOf(deletions, { remaining, earlier: [...earlier, ...still.values()] }, defaultGuard);
  for (const key of burst) still.set(key, wish.now);
  return { heldBack: burst.size === 0 && still.size === before.size ? before : still, declared };
}

/** The operations that lead from one set of values to another: key → value, or undefined for removal. */
export function operations(
  from: ReadonlyMap<RecordKey, Uint8Array>,
  to: Holdings,
): ReadonlyMap<RecordKey, Uint8Array | undefined> {
  const ops = new Map<RecordKey, Uint8Array | undefined>();
  for (const [key, { bytes }] of to) {
    const before = from.get(key);
    if (before !== bytes && (!before || Buffer.compare(before, bytes) !== 0)) ops.set(key, bytes);
  }
  for (const key of from.keys()) if (!to.has(key)) ops.set(key, undefined);
  return ops;
}

/** Holdings from stored bytes, as a writer finds its own partition after a restart. */
export function holdingsOf(values: Iterable<readonly [RecordKey, Uint8Array]>): Holdings {
  const holdings = new Map<RecordKey, Holding>();
  for (const [key, bytes] of values) {
    const decoded = decodeRecord(key, bytes);
    holdings.set(key, { bytes, record: decoded.ok ? decoded.record : undefined });
  }
  return holdings;
}

/** The records of holdings that this version understands; shares with `before` what did not change. */
export function recordsOf(
  holdings: Holdings,
  before: ReadonlyMap<RecordKey, ClusterRecord> = new Map(),
): SortedMap<RecordKey, ClusterRecord> {
  const known = SortedMap.from(before);
  const changes = new Map<RecordKey, ClusterRecord | undefined>();
  for (const [key, { record }] of holdings) if (record !== known.get(key)) changes.set(key, record);
  for (const key of known.keys()) if (!holdings.has(key)) changes.set(key, undefined);
  return known.with(changes);
}

/** Wall clock in ms at which the first tombstone may go; undefined = there is none. */
export function nextExpiry(holdings: Holdings): number | undefined {
  let first: number | undefined;
  for (const { record } of holdings.values()) {
    if (record?.kind !== 'tombstone') continue;
    const at = record.deletedAt + tombstoneRetentionMs;
    if (first === undefined || at < first) first = at;
  }
  return first;
}

/** Only a memory: a record that is wished again and again, as the same object, is encoded once. */
const encoded = new WeakMap<ClusterRecord, Uint8Array>();

function hold(record: ClusterRecord): Holding {
  const bytes = encoded.get(record) ?? encodeRecord(record);
  encoded.set(record, bytes);
  return { record, bytes };
}

/** An export keeps the age under which it is known: merging prefers the oldest (KEP-1645). */
function asFirstExported(record: ClusterRecord, before: ClusterRecord | undefined): ClusterRecord {
  if (record.kind !== 'export' || before?.kind !== 'export' || before.createdAt >= record.createdAt) return record;
  return { ...record, createdAt: before.createdAt } satisfies ExportRecord;
}

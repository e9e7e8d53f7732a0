import type { ClusterRecord, ExportRecord, RecordKey } from '../../model/record.ts';
import { decodeRecord, encodeRecord } from '../../wire/record.ts';

/** Tombstones stay for so long that every reader has seen them. */
export const tombstoneRetentionMs = 86_400_000;

/** What the writer's partition should hold. `undefined` record: of a kind this version does not know; kept as it is. */
export interface Holding {
  readonly bytes: Uint8Array;
  readonly record: ClusterRecord | undefined;
}

export type Holdings = ReadonlyMap<RecordKey, Holding>;

export interface Wish {
  readonly desired: ReadonlyMap<RecordKey, ClusterRecord>;
  /** False: the sources were not all read yet, so what is missing may still come and nothing is deleted. */
  readonly synced: boolean;
  /** Writer's wall clock in ms. */
  readonly now: number;
}

export interface Plan {
  /** The very map that was held when nothing changes. */
  readonly holdings: Holdings;
  /** Desired records that cannot be written, and why; what was held under their key stays. */
  readonly refused: ReadonlyMap<RecordKey, string>;
}

/**
 * What the partition should hold next. An unchanged record keeps its bytes, an export that is not desired any more
 * becomes a tombstone, adverts and link states just go, and nothing goes before the sources are synced.
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
  if (!wish.synced) return { holdings: changed ? next : held, refused };
  for (const [key, { record }] of held) {
    if (wish.desired.has(key) || record === undefined) continue;
    if (record.kind === 'export') {
      put(key, hold({ kind: 'tombstone', service: record.service, deletedAt: wish.now }));
    } else if (record.kind !== 'tombstone' || wish.now - record.deletedAt >= tombstoneRetentionMs) {
      changed = next.delete(key) || changed;
    }
  }
  return { holdings: changed ? next : held, refused };
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

/** The records of holdings that this version understands. */
export function recordsOf(holdings: Holdings): ReadonlyMap<RecordKey, ClusterRecord> {
  const records = new Map<RecordKey, ClusterRecord>();
  for (const [key, { record }] of holdings) if (record) records.set(key, record);
  return records;
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

function hold(record: ClusterRecord): Holding {
  return { record, bytes: encodeRecord(record) };
}

/** An export keeps the age under which it is known: merging prefers the oldest (KEP-1645). */
function asFirstExported(record: ClusterRecord, before: ClusterRecord | undefined): ClusterRecord {
  if (record.kind !== 'export' || before?.kind !== 'export' || before.createdAt >= record.createdAt) return record;
  return { ...record, createdAt: before.createdAt } satisfies ExportRecord;
}

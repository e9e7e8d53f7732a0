import type { RecordKey } from '../record.ts';

/** A partition of the hub: a cluster's name, or `authority`. */
export type Partition = string;

/** The partition of the authority: its head is the sealed roster. */
export const authorityPartition: Partition = 'authority';

/** What one atomic write carries. All bytes are opaque to the hub. */
export interface Commit {
  /**
   * The exact head this commit replaces; undefined = there must be none. The comparison is the fence: two writers can
   * never both win, and a restored or tampered head is noticed instead of built upon.
   */
  readonly expectedHead: Uint8Array | undefined;
  readonly head: Uint8Array;
  /** Key → new value; undefined deletes the field. */
  readonly records: ReadonlyMap<RecordKey, Uint8Array | undefined>;
  /** Replace the whole partition by `records` and start the log anew. */
  readonly snapshot: boolean;
  /**
   * Digest of each of the 256 buckets that changed (wire.md, "Digest"), undefined = empty now; of all filled ones for a
   * snapshot. Absent: the partition has no index.
   */
  readonly buckets?: ReadonlyMap<number, Uint8Array | undefined>;
  /** Sealed delta for the log; ignored for a snapshot. */
  readonly delta: Uint8Array | undefined;
  /** Text of the hint: `<partition> <epoch> <revision>`. */
  readonly hint: string;
}

export type CommitResult =
  | { readonly ok: true }
  /** The head was another one; nothing was written. */
  | { readonly ok: false; readonly head: Uint8Array | undefined };

/** One sealed delta as the log holds it. Ids grow; they mean nothing else. */
export interface LogEntry {
  readonly id: string;
  readonly delta: Uint8Array;
}

/** Head, records and the id of the last log entry, read in one transaction. */
export interface Snapshot {
  readonly head: Uint8Array | undefined;
  readonly records: ReadonlyMap<RecordKey, Uint8Array>;
  readonly lastId: string | undefined;
}

/** What lets a reader find out where its copy differs, read in one transaction. As hostile as everything else. */
export interface PartitionIndex {
  readonly head: Uint8Array | undefined;
  /** Digests of filled buckets. */
  readonly buckets: ReadonlyMap<number, Uint8Array>;
  readonly keys: readonly RecordKey[];
  readonly lastId: string | undefined;
}

export interface Deltas {
  readonly entries: readonly LogEntry[];
  /** `afterId` is no longer in the log (trimmed, flushed): take a snapshot. */
  readonly gap: boolean;
}

/**
 * Storage and hints, nothing more: an untrusted, possibly lossy place. Every method rejects with an `IsthmusError`
 * (`unavailable`, `timeout`, `denied`, `exhausted`) when the hub cannot answer; a rejected write may still have
 * happened. `corrupt`: the hub answers, but what it holds of this partition is too large to be read. Heads and leases
 * that are too large count as absent, so that their owner can replace them and nobody else is harmed.
 *
 * With several hubs at once (write to all, read from all) there is one publisher per hub, each with the head which *its*
 * hub is believed to hold, all under one epoch, and one follower per hub and member, whose states are compared by (epoch,
 * revision). Nothing may be concluded from one hub about another.
 */
export interface Hub {
  /** For people: `memory`, `redis://host:port/0` (never with a secret). */
  readonly name: string;
  commit(partition: Partition, commit: Commit): Promise<CommitResult>;
  /** Heads in the order asked for. */
  readHeads(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]>;
  readSnapshot(partition: Partition): Promise<Snapshot>;
  readIndex(partition: Partition): Promise<PartitionIndex>;
  /** The records under these keys, as far as there are any. */
  readRecords(partition: Partition, keys: readonly RecordKey[]): Promise<ReadonlyMap<RecordKey, Uint8Array>>;
  /** Entries after `afterId` (undefined = from the start), at most `limit`. */
  readDeltas(partition: Partition, afterId: string | undefined, limit: number): Promise<Deltas>;
  writeChain(partition: Partition, chainId: string, chain: Uint8Array): Promise<void>;
  readChain(partition: Partition, chainId: string): Promise<Uint8Array | undefined>;
  /** Writes the sealed lease; it vanishes after `ttlMs`. */
  writeLease(partition: Partition, lease: Uint8Array, ttlMs: number): Promise<void>;
  readLeases(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]>;
  /**
   * Hints as they come; `*` after a time in which some may have been lost. Lost ones are the reader's polling to heal.
   * The result ends the subscription.
   */
  subscribe(listener: (hint: string) => void): () => void;
  close(): Promise<void>;
}

import type { RecordKey } from '../record.ts';

/** A partition of the hub: a cluster's name, or `authority`. */
export type Partition = string;

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

export interface Deltas {
  readonly entries: readonly LogEntry[];
  /** `afterId` is no longer in the log (trimmed, flushed): take a snapshot. */
  readonly gap: boolean;
}

/**
 * Storage and hints, nothing more: an untrusted, possibly lossy place. Every method rejects with an `IsthmusError`
 * (`unavailable`, `timeout`, `denied`, `exhausted`) when the hub cannot answer; a rejected write may still have
 * happened.
 */
export interface Hub {
  /** For people: `memory`, `redis://host:port/0` (never with a secret). */
  readonly name: string;
  commit(partition: Partition, commit: Commit): Promise<CommitResult>;
  /** Heads in the order asked for. */
  readHeads(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]>;
  readSnapshot(partition: Partition): Promise<Snapshot>;
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

import { setImmediate as nextTurn } from 'node:timers/promises';
import { IsthmusError } from '../../model/error.ts';
import type {
  Commit,
  CommitResult,
  Deltas,
  Hub,
  LogEntry,
  Partition,
  PartitionIndex,
  Snapshot,
} from '../../model/ports/hub.ts';
import type { RecordKey } from '../../model/record.ts';

/** Deltas a partition's log holds; who is further behind takes a snapshot. */
const maxLogEntries = 1000;
/** Chains of one partition; the oldest goes first. */
const maxChains = 64;

interface Lease {
  readonly bytes: Uint8Array;
  /** By the process's monotonic clock, in ms. */
  readonly until: number;
}

interface Store {
  head: Uint8Array | undefined;
  records: Map<RecordKey, Uint8Array>;
  buckets: Map<number, Uint8Array>;
  log: LogEntry[];
  readonly chains: Map<string, Uint8Array>;
  lease: Lease | undefined;
}

/**
 * A hub inside this process, shared by all who hold it: for the demo and for tests. It answers in a later turn of the
 * event loop, as a hub at the end of a connection does, and copies what it is given.
 */
export function createEmbeddedHub(): Hub {
  return new EmbeddedHub();
}

class EmbeddedHub implements Hub {
  readonly name = 'memory';
  readonly #partitions = new Map<Partition, Store>();
  readonly #listeners = new Set<(hint: string) => void>();
  #lastId = 0;
  #closed = false;

  async commit(partition: Partition, commit: Commit): Promise<CommitResult> {
    await this.#turn();
    const store = this.#store(partition);
    if (!sameBytes(store.head, commit.expectedHead)) return { ok: false, head: store.head };
    if (commit.snapshot) {
      store.records = new Map();
      store.log = [];
    }
    if (commit.snapshot || !commit.buckets) store.buckets = new Map();
    assign(store.records, commit.records);
    assign(store.buckets, commit.buckets ?? []);
    store.head = Buffer.from(commit.head);
    if (commit.delta && !commit.snapshot) {
      this.#lastId += 1;
      store.log.push({ id: String(this.#lastId), delta: Buffer.from(commit.delta) });
      if (store.log.length > maxLogEntries) store.log.shift();
    }
    this.#publish(commit.hint);
    return { ok: true };
  }

  async readHeads(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]> {
    await this.#turn();
    return partitions.map((partition) => this.#partitions.get(partition)?.head);
  }

  async readSnapshot(partition: Partition): Promise<Snapshot> {
    await this.#turn();
    const store = this.#partitions.get(partition);
    return { head: store?.head, records: new Map(store?.records), lastId: store?.log.at(-1)?.id };
  }

  async readIndex(partition: Partition): Promise<PartitionIndex> {
    await this.#turn();
    const store = this.#partitions.get(partition);
    return {
      head: store?.head,
      buckets: new Map(store?.buckets),
      keys: [...(store?.records.keys() ?? [])],
      lastId: store?.log.at(-1)?.id,
    };
  }

  async readRecords(partition: Partition, keys: readonly RecordKey[]): Promise<ReadonlyMap<RecordKey, Uint8Array>> {
    await this.#turn();
    const records = this.#partitions.get(partition)?.records;
    return new Map(
      keys.flatMap((key) => {
        const value = records?.get(key);
        return value ? [[key, value] as const] : [];
      }),
    );
  }

  async readDeltas(partition: Partition, afterId: string | undefined, limit: number): Promise<Deltas> {
    await this.#turn();
    const log = this.#partitions.get(partition)?.log ?? [];
    if (afterId === undefined) return { entries: log.slice(0, limit), gap: false };
    const at = log.findIndex((entry) => entry.id === afterId);
    return at < 0 ? { entries: [], gap: true } : { entries: log.slice(at + 1, at + 1 + limit), gap: false };
  }

  async writeChain(partition: Partition, chainId: string, chain: Uint8Array): Promise<void> {
    await this.#turn();
    const { chains } = this.#store(partition);
    chains.delete(chainId);
    chains.set(chainId, Buffer.from(chain));
    for (const oldest of chains.keys()) {
      if (chains.size <= maxChains) break;
      chains.delete(oldest);
    }
  }

  async readChain(partition: Partition, chainId: string): Promise<Uint8Array | undefined> {
    await this.#turn();
    return this.#partitions.get(partition)?.chains.get(chainId);
  }

  async writeLease(partition: Partition, lease: Uint8Array, ttlMs: number): Promise<void> {
    await this.#turn();
    this.#store(partition).lease = { bytes: Buffer.from(lease), until: performance.now() + ttlMs };
  }

  async readLeases(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]> {
    await this.#turn();
    const now = performance.now();
    return partitions.map((partition) => {
      const lease = this.#partitions.get(partition)?.lease;
      return lease && lease.until > now ? lease.bytes : undefined;
    });
  }

  subscribe(listener: (hint: string) => void): () => void {
    const own = (hint: string): void => listener(hint);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
  }

  async #turn(): Promise<void> {
    if (!this.#closed) await nextTurn();
    if (this.#closed) throw new IsthmusError('unavailable', 'The embedded hub is closed');
  }

  #store(partition: Partition): Store {
    let store = this.#partitions.get(partition);
    if (!store) {
      store = { head: undefined, records: new Map(), buckets: new Map(), log: [], chains: new Map(), lease: undefined };
      this.#partitions.set(partition, store);
    }
    return store;
  }

  #publish(hint: string): void {
    setImmediate(() => {
      for (const listener of this.#listeners) listener(hint);
    });
  }
}

/** Copies what is given; undefined removes. */
function assign<Key>(to: Map<Key, Uint8Array>, changes: Iterable<readonly [Key, Uint8Array | undefined]>): void {
  for (const [key, value] of changes) {
    if (value === undefined) to.delete(key);
    else to.set(key, Buffer.from(value));
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

import { IsthmusError } from '../../../src/model/error.ts';
import type { Commit, CommitResult, Hub, LogEntry, Partition } from '../../../src/model/ports/hub.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** How badly the way to the hub behaves; each a probability. */
export interface Faults {
  /** A request never arrives. */
  readonly loseRequest: number;
  /** It is carried out, but the answer never arrives. */
  readonly loseAnswer: number;
  /** A write arrives again later. */
  readonly duplicate: number;
  readonly loseHint: number;
  readonly duplicateHint: number;
  /** Ms; most requests take a hundredth of it. */
  readonly slowest: number;
}

export const noFaults: Faults = {
  loseRequest: 0,
  loseAnswer: 0,
  duplicate: 0,
  loseHint: 0,
  duplicateHint: 0,
  slowest: 100,
};

interface Store {
  head: Uint8Array | undefined;
  records: ReadonlyMap<string, Uint8Array>;
  buckets: ReadonlyMap<number, Uint8Array>;
  log: readonly LogEntry[];
  chains: ReadonlyMap<string, Uint8Array>;
  lease: { readonly bytes: Uint8Array; readonly until: number } | undefined;
}

const emptyStore: Store = {
  head: undefined,
  records: new Map(),
  buckets: new Map(),
  log: [],
  chains: new Map(),
  lease: undefined,
};

const maxLog = 20;
const timeoutMs = 300;

interface Handle {
  readonly isAlive: () => boolean;
  readonly listeners: Set<(hint: string) => void>;
}

/** A hub in simulated memory, at the end of ways that lose, delay, repeat and reorder. */
export class FaultyHub {
  faults: Faults = noFaults;
  /** Clusters that cannot reach it. */
  readonly cutOff: Set<string> = new Set<string>();
  down = false;
  readonly #time: Timeline;
  readonly #random: Random;
  readonly #handles = new Set<Handle>();
  #stores: ReadonlyMap<Partition, Store> = new Map();
  #lastId = 0;

  constructor(time: Timeline, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  /** All that it holds, as a backup would. */
  backup(): ReadonlyMap<Partition, Store> {
    return this.#stores;
  }

  restore(stores: ReadonlyMap<Partition, Store> = new Map()): void {
    this.#stores = stores;
  }

  /** The hub as one machine of `cluster` sees it. */
  at(cluster: string, isAlive: () => boolean): Hub {
    const handle: Handle = { isAlive, listeners: new Set() };
    this.#handles.add(handle);
    const ask = <T>(write: boolean, work: () => T): Promise<T> => this.#ask(cluster, handle, { write, work });
    const stores = (partitions: readonly Partition[]): readonly Store[] =>
      partitions.map((partition) => this.#store(partition));
    return {
      name: 'simulated',
      commit: (partition, commit) => ask(true, () => this.#commit(partition, commit)),
      readHeads: (partitions) => ask(false, () => stores(partitions).map(({ head }) => head)),
      readSnapshot: (partition) =>
        ask(false, () => {
          const { head, records, log } = this.#store(partition);
          return { head, records, lastId: log.at(-1)?.id };
        }),
      readIndex: (partition) =>
        ask(false, () => {
          const { head, records, buckets, log } = this.#store(partition);
          return { head, buckets, keys: [...records.keys()], lastId: log.at(-1)?.id };
        }),
      readRecords: (partition, keys) =>
        ask(false, () => {
          const { records } = this.#store(partition);
          return new Map(keys.flatMap((key) => (records.has(key) ? [[key, records.get(key) as Uint8Array]] : [])));
        }),
      readDeltas: (partition, afterId, limit) =>
        ask(false, () => {
          const { log } = this.#store(partition);
          if (afterId === undefined) return { entries: log.slice(0, limit), gap: false };
          const at = log.findIndex(({ id }) => id === afterId);
          return at < 0 ? { entries: [], gap: true } : { entries: log.slice(at + 1, at + 1 + limit), gap: false };
        }),
      writeChain: (partition, id, chain) =>
        ask(true, () => {
          const store = this.#store(partition);
          this.#put(partition, { ...store, chains: new Map(store.chains).set(id, chain) });
        }),
      readChain: (partition, id) => ask(false, () => this.#store(partition).chains.get(id)),
      writeLease: (partition, bytes, ttlMs) =>
        ask(true, () =>
          this.#put(partition, { ...this.#store(partition), lease: { bytes, until: this.#time.now + ttlMs } }),
        ),
      readLeases: (partitions) =>
        ask(false, () =>
          stores(partitions).map(({ lease }) => (lease && lease.until > this.#time.now ? lease.bytes : undefined)),
        ),
      subscribe: (listener) => {
        const own = (hint: string): void => listener(hint);
        handle.listeners.add(own);
        return () => void handle.listeners.delete(own);
      },
      close: () => Promise.resolve(void this.#handles.delete(handle)),
    };
  }

  #ask<T>(cluster: string, { isAlive }: Handle, { write, work }: { write: boolean; work: () => T }): Promise<T> {
    const { loseRequest, loseAnswer, duplicate } = this.faults;
    const random = this.#random;
    return new Promise((resolve, reject) => {
      const unreachable = (): boolean => this.down || this.cutOff.has(cluster);
      const late = (): void =>
        void this.#time.after(timeoutMs, () => {
          // Nobody is there any more to be told.
          if (isAlive()) reject(new IsthmusError('timeout', 'Cannot reach hub simulated: no answer'));
        });
      if (random.chance(loseRequest)) return late();
      this.#time.after(this.#delay(), () => {
        if (unreachable()) return late();
        const answer = work();
        if (write && random.chance(duplicate)) this.#time.after(this.#delay() * 3, () => void (this.down || work()));
        if (random.chance(loseAnswer)) return late();
        this.#time.after(this.#delay(), () => {
          if (isAlive()) resolve(answer);
        });
      });
    });
  }

  #delay(): number {
    const { slowest } = this.faults;
    return this.#random.chance(0.1) ? this.#random.next() * slowest : (this.#random.next() * slowest) / 100;
  }

  #store(partition: Partition): Store {
    return this.#stores.get(partition) ?? emptyStore;
  }

  #put(partition: Partition, store: Store): void {
    this.#stores = new Map(this.#stores).set(partition, store);
  }

  #commit(partition: Partition, commit: Commit): CommitResult {
    const { expectedHead, head, records, buckets, snapshot, delta, hint } = commit;
    const store = this.#store(partition);
    const same =
      expectedHead && store.head ? Buffer.compare(expectedHead, store.head) === 0 : expectedHead === store.head;
    if (!same) return { ok: false, head: store.head };
    this.#lastId += 1;
    const log = snapshot ? [] : store.log;
    this.#put(partition, {
      ...store,
      head,
      records: changed(snapshot ? new Map() : store.records, records),
      buckets: buckets ? changed(snapshot ? new Map() : store.buckets, buckets) : new Map(),
      log: delta && !snapshot ? [...log, { id: String(this.#lastId), delta }].slice(-maxLog) : log,
    });
    this.#tell(hint);
    return { ok: true };
  }

  #tell(hint: string): void {
    for (const handle of this.#handles) {
      const times = this.#random.chance(this.faults.duplicateHint) ? 2 : 1;
      for (let time = 0; time < times; time += 1) {
        if (this.#random.chance(this.faults.loseHint)) continue;
        this.#time.after(this.#delay(), () => {
          if (handle.isAlive()) for (const listener of handle.listeners) listener(hint);
        });
      }
    }
  }
}

function changed<K>(
  from: ReadonlyMap<K, Uint8Array>,
  changes: Iterable<readonly [K, Uint8Array | undefined]>,
): ReadonlyMap<K, Uint8Array> {
  const to = new Map(from);
  for (const [key, value] of changes) {
    if (value) to.set(key, value);
    else to.delete(key);
  }
  return to;
}

import type { Redis } from 'ioredis';
import { IsthmusError, messageOf } from '../../../model/error.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import {
  authorityPartition,
  type Commit,
  type CommitResult,
  type Deltas,
  type Hub,
  type LogEntry,
  type Partition,
  type PartitionIndex,
  type Snapshot,
} from '../../../model/ports/hub.ts';
import type { Log } from '../../../model/ports/log.ts';
import type { RecordKey } from '../../../model/record.ts';
import { maxPartitionBytes } from '../../../wire/partition.ts';
import { maxSealedBytes } from '../../../wire/seal.ts';
import { parseRedisUrl } from './address.ts';
import {
  type ConnectionOptions,
  connectRedis,
  defaultRedisTimings,
  endConnection,
  firstContact,
  type RedisTimings,
} from './connection.ts';
import { hubError } from './errors.ts';
import { type HintSubscription, subscribeHints } from './hints.ts';
import { type HubKeys, hubKeys } from '../../hub-keys.ts';
import { type ReadScript, readScript } from './read-script.ts';
import {
  commitScript,
  deltasScript,
  indexScript,
  maxFields,
  maxLogEntries,
  recordsScript,
  snapshotScript,
  stringsScript,
} from './scripts.ts';

export interface RedisHubOptions {
  /** `redis://` or `rediss://`; may carry user, password and database. */
  readonly url: string;
  /** Before every key. Default `isthmus`. */
  readonly prefix?: string;
  /** Instead of the one in the URL. */
  readonly username?: string;
  readonly password?: string;
  /** PEM, for `rediss://`. Default: the authorities of the machine. */
  readonly ca?: string | Buffer;
  readonly timings?: Partial<RedisTimings>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Commands under way at once; more are refused rather than queued. */
const maxInFlight = 2000;
/** Keys read by one script. */
const stringsPerRead = 500;
const recordsPerRead = 1000;
/** Heads, leases and chains of clusters are far smaller; the head of the authority is the whole roster. */
const maxSmallBytes = 65_536;
/** Deltas read at once. */
const maxDeltasBytes = maxSealedBytes;
/** A chain is written again with each snapshot and each new signer, far more often than this. */
const chainTtlSeconds = 90 * 86_400;

/**
 * A hub in Redis 7 or newer. Returns at once and connects in the background: a hub that cannot be reached makes calls
 * fail, never the start of a role.
 * @throws IsthmusError `invalid` for a URL or prefix that can never work.
 */
export function openRedisHub(options: RedisHubOptions): Hub {
  const { connection, prefix } = connectionOf(options);
  return new RedisHub(connection, hubKeys(prefix));
}

/** How to connect, checked. @throws IsthmusError `invalid` for a URL or prefix that can never work. */
export function connectionOf(options: RedisHubOptions): {
  readonly connection: ConnectionOptions;
  readonly prefix: string;
} {
  const { prefix = 'isthmus', username, password, ca, clock, log } = options;
  if (!/^[\w.:-]{1,100}$/.test(prefix)) {
    throw new IsthmusError(
      'invalid',
      `A hub's prefix must be 1 to 100 of A-Z, a-z, 0-9, '_', '.', ':', '-': current value is '${prefix.slice(0, 100)}'`,
    );
  }
  const address = parseRedisUrl(options.url);
  const timings = { ...defaultRedisTimings, ...options.timings };
  return { connection: { address, username, password, ca, timings, clock, log }, prefix };
}

/** The client with our writing script as a command, answering in bytes. */
type Scripted = Redis & {
  isthmusCommitBuffer(...args: (string | Uint8Array | number)[]): Promise<[number, Buffer | null]>;
};

interface Scripts {
  readonly snapshot: ReadScript;
  readonly index: ReadScript;
  readonly records: ReadScript;
  readonly strings: ReadScript;
  readonly deltas: ReadScript;
}

class RedisHub implements Hub {
  readonly name: string;
  readonly #connection: ConnectionOptions;
  readonly #keys: HubKeys;
  readonly #client: Scripted;
  readonly #scripts: Scripts;
  readonly #contact: Promise<void>;
  readonly #listeners = new Set<(hint: string) => void>();
  #hints: HintSubscription | undefined;
  #inFlight = 0;
  /** Why there is no connection. */
  #lost: string | undefined;
  #closed = false;

  constructor(connection: ConnectionOptions, keys: HubKeys) {
    this.name = connection.address.name;
    this.#connection = connection;
    this.#keys = keys;
    const client = connectRedis(connection, 'commands');
    client.defineCommand('isthmusCommit', { numberOfKeys: 4, lua: commitScript });
    this.#client = client as Scripted;
    this.#scripts = {
      snapshot: readScript(client, snapshotScript),
      index: readScript(client, indexScript),
      records: readScript(client, recordsScript),
      strings: readScript(client, stringsScript),
      deltas: readScript(client, deltasScript),
    };
    this.#contact = firstContact(client);
    client.on('error', (error: unknown) => (this.#lost = messageOf(error)));
    client.on('ready', () => (this.#lost = undefined));
  }

  async commit(partition: Partition, commit: Commit): Promise<CommitResult> {
    const { expectedHead, head, records, buckets, snapshot, delta, hint } = commit;
    const args: (string | Uint8Array | number)[] = [
      this.#keys.head(partition),
      this.#keys.records(partition),
      this.#keys.log(partition),
      this.#keys.buckets(partition),
      expectedHead ? 1 : 0,
      bytesOf(expectedHead),
      bytesOf(head),
      snapshot ? 1 : 0,
      delta ? 1 : 0,
      bytesOf(delta),
      maxLogEntries,
      this.#keys.hints,
      hint,
      maxHeadBytes(partition),
      buckets ? 1 : 0,
      records.size,
    ];
    for (const [key, value] of records) args.push(key, value ? '=' : '-', bytesOf(value));
    for (const [index, digest] of buckets ?? []) args.push(fieldOf(index), digest ? '=' : '-', bytesOf(digest));
    const [done, found] = await this.#do(`write partition ${partition}`, () =>
      this.#client.isthmusCommitBuffer(...args),
    );
    return Number(done) === 1 ? { ok: true } : { ok: false, head: found ?? undefined };
  }

  async readHeads(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]> {
    const most = Math.max(0, ...partitions.map(maxHeadBytes));
    return this.#readMany(
      'read heads',
      partitions.map((partition) => this.#keys.head(partition)),
      most,
    );
  }

  async readSnapshot(partition: Partition): Promise<Snapshot> {
    const of = this.#keys;
    const keys = [of.head(partition), of.records(partition), of.log(partition)];
    const [head, fields, lastId] = await this.#do(`read partition ${partition}`, () =>
      this.#scripts.snapshot<[Buffer | null, Buffer[], Buffer | null]>(keys, limitsOf(partition)),
    );
    const records = new Map<RecordKey, Uint8Array>(
      pairsOf(fields).map(([key, value]) => [key.toString('utf8'), value]),
    );
    return { head: head ?? undefined, records, lastId: lastId?.toString('latin1') };
  }

  async readIndex(partition: Partition): Promise<PartitionIndex> {
    const of = this.#keys;
    const keys = [of.head(partition), of.records(partition), of.log(partition), of.buckets(partition)];
    const [found, digests, fields, lastId] = await this.#do(`read the index of ${partition}`, () =>
      this.#scripts.index<[Buffer | null, Buffer[], Buffer[], Buffer | null]>(keys, limitsOf(partition)),
    );
    return {
      head: found ?? undefined,
      buckets: new Map(
        pairsOf(digests).map(([field, digest]) => [Number.parseInt(field.toString('latin1'), 16), digest]),
      ),
      keys: fields.map((field) => field.toString('utf8')),
      lastId: lastId?.toString('latin1'),
    };
  }

  async readRecords(partition: Partition, keys: readonly RecordKey[]): Promise<ReadonlyMap<RecordKey, Uint8Array>> {
    const records = new Map<RecordKey, Uint8Array>();
    for (let at = 0; at < keys.length; at += recordsPerRead) {
      const some = keys.slice(at, at + recordsPerRead);
      const values = await this.#do(`read records of ${partition}`, () =>
        this.#scripts.records<(Buffer | null)[]>([this.#keys.records(partition)], [maxPartitionBytes, ...some]),
      );
      for (const [index, key] of some.entries()) {
        const value = values[index];
        if (value) records.set(key, value);
      }
    }
    return records;
  }

  async readDeltas(partition: Partition, afterId: string | undefined, limit: number): Promise<Deltas> {
    // From `afterId` itself on: if it is not the first to come back, the log was trimmed or begun anew.
    const count = afterId === undefined ? limit : limit + 1;
    const found = await this.#do(`read the log of ${partition}`, () =>
      this.#scripts.deltas<[Buffer, Buffer][]>([this.#keys.log(partition)], [afterId ?? '-', count, maxDeltasBytes]),
    );
    const entries = found.map(([id, delta]): LogEntry => ({ id: id.toString('latin1'), delta }));
    if (afterId === undefined) return { entries, gap: false };
    return entries[0]?.id === afterId ? { entries: entries.slice(1), gap: false } : { entries: [], gap: true };
  }

  async writeChain(partition: Partition, chainId: string, chain: Uint8Array): Promise<void> {
    const key = this.#keys.chain(partition, chainId);
    await this.#do(`write a chain of ${partition}`, () => this.#client.set(key, bytesOf(chain), 'EX', chainTtlSeconds));
  }

  async readChain(partition: Partition, chainId: string): Promise<Uint8Array | undefined> {
    const [chain] = await this.#readMany(
      `read a chain of ${partition}`,
      [this.#keys.chain(partition, chainId)],
      maxSmallBytes,
    );
    return chain;
  }

  async writeLease(partition: Partition, lease: Uint8Array, ttlMs: number): Promise<void> {
    const key = this.#keys.lease(partition);
    await this.#do(`renew the lease of ${partition}`, () =>
      this.#client.set(key, bytesOf(lease), 'PX', Math.ceil(ttlMs)),
    );
  }

  async readLeases(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#readMany(
      'read leases',
      partitions.map((partition) => this.#keys.lease(partition)),
      maxSmallBytes,
    );
  }

  subscribe(listener: (hint: string) => void): () => void {
    const own = (hint: string): void => listener(hint);
    if (!this.#closed) this.#listeners.add(own);
    if (!this.#hints && !this.#closed) this.#hints = this.#listen();
    return () => void this.#listeners.delete(own);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    await Promise.all([this.#hints?.close(), endConnection(this.#client, this.#connection.clock)]);
  }

  #listen(): HintSubscription {
    const { timings, clock, log } = this.#connection;
    return subscribeHints({
      client: connectRedis(this.#connection, 'hints'),
      channel: this.#keys.hints,
      pingMs: timings.pingMs,
      clock,
      log,
      listener: (hint) => {
        for (const listener of this.#listeners) listener(hint);
      },
    });
  }

  /** What is damaged or too large counts as absent, so that one partition does not hide the others. */
  async #readMany(
    action: string,
    keys: readonly string[],
    mostBytes: number,
  ): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = [];
    for (let at = 0; at < keys.length; at += stringsPerRead) {
      const some = keys.slice(at, at + stringsPerRead);
      const found = await this.#do(action, () => this.#scripts.strings<(Buffer | null)[]>(some, [mostBytes]));
      for (const index of some.keys()) values.push(found[index] ?? undefined);
    }
    return values;
  }

  async #do<T>(action: string, command: () => Promise<T>): Promise<T> {
    if (this.#inFlight >= maxInFlight) {
      throw new IsthmusError(
        'exhausted',
        `Cannot ${action} on hub ${this.name}: ${maxInFlight} commands are under way`,
      );
    }
    this.#inFlight += 1;
    try {
      await this.#contact;
      if (this.#closed) throw new IsthmusError('unavailable', `Cannot ${action}: hub ${this.name} is closed`);
      return await command();
    } catch (thrown) {
      throw hubError(this.name, action, thrown, this.#lost);
    } finally {
      this.#inFlight -= 1;
    }
  }
}

const empty = Buffer.alloc(0);

function maxHeadBytes(partition: Partition): number {
  return partition === authorityPartition ? maxSealedBytes : maxSmallBytes;
}

function limitsOf(partition: Partition): readonly number[] {
  return [maxHeadBytes(partition), maxFields, maxPartitionBytes];
}

/** The field of a bucket's digest: two hex digits. */
function fieldOf(bucket: number): string {
  return bucket.toString(16).padStart(2, '0');
}

function pairsOf(flat: readonly Buffer[]): (readonly [Buffer, Buffer])[] {
  const pairs: (readonly [Buffer, Buffer])[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at] ?? empty, flat[at + 1] ?? empty]);
  return pairs;
}

/** The library takes Buffers; a view on the same bytes, not a copy. */
function bytesOf(bytes: Uint8Array | undefined): Buffer {
  return bytes ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : empty;
}

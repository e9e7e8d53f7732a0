import type { Redis } from 'ioredis';
import { IsthmusError } from '../../../model/error.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type { Commit, CommitResult, Deltas, Hub, LogEntry, Partition, Snapshot } from '../../../model/ports/hub.ts';
import type { Log } from '../../../model/ports/log.ts';
import type { RecordKey } from '../../../model/record.ts';
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
import { type HubKeys, hubKeys } from './keys.ts';
import { commitScript, maxFields, maxLogEntries, snapshotScript } from './scripts.ts';

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
/** Keys read by one MGET. */
const headsPerRead = 500;
/** A chain is written again with each snapshot and each new signer, far more often than this. */
const chainTtlSeconds = 90 * 86_400;

/**
 * A hub in Redis 7 or newer. Returns at once and connects in the background: a hub that cannot be reached makes calls
 * fail, never the start of a role.
 * @throws IsthmusError `invalid` for a URL or prefix that can never work.
 */
export function openRedisHub(options: RedisHubOptions): Hub {
  const prefix = options.prefix ?? 'isthmus';
  if (!/^[\w.:-]{1,100}$/.test(prefix)) {
    throw new IsthmusError(
      'invalid',
      `A hub's prefix must be 1 to 100 of A-Z, a-z, 0-9, '_', '.', ':', '-': current value is '${prefix.slice(0, 100)}'`,
    );
  }
  const connection: ConnectionOptions = {
    address: parseRedisUrl(options.url),
    username: options.username,
    password: options.password,
    ca: options.ca,
    timings: { ...defaultRedisTimings, ...options.timings },
    clock: options.clock,
    log: options.log,
  };
  return new RedisHub(connection, hubKeys(prefix));
}

/** The client with our scripts as commands, answering in bytes. */
type Scripted = Redis & {
  isthmusCommitBuffer(...args: (string | Uint8Array | number)[]): Promise<[number, Buffer | null]>;
  isthmusSnapshotBuffer(...args: (string | number)[]): Promise<[Buffer | null, Buffer[], Buffer | null]>;
};

class RedisHub implements Hub {
  readonly name: string;
  readonly #connection: ConnectionOptions;
  readonly #keys: HubKeys;
  readonly #client: Scripted;
  readonly #contact: Promise<void>;
  readonly #listeners = new Set<(hint: string) => void>();
  #hints: HintSubscription | undefined;
  #inFlight = 0;
  #closed = false;

  constructor(connection: ConnectionOptions, keys: HubKeys) {
    this.name = connection.address.name;
    this.#connection = connection;
    this.#keys = keys;
    const client = connectRedis(connection, 'commands');
    client.defineCommand('isthmusCommit', { numberOfKeys: 3, lua: commitScript });
    client.defineCommand('isthmusSnapshot', { numberOfKeys: 3, lua: snapshotScript });
    this.#client = client as Scripted;
    this.#contact = firstContact(client);
  }

  async commit(partition: Partition, commit: Commit): Promise<CommitResult> {
    const { expectedHead, head, records, snapshot, delta, hint } = commit;
    const args: (string | Uint8Array | number)[] = [
      this.#keys.head(partition),
      this.#keys.records(partition),
      this.#keys.log(partition),
      expectedHead ? 1 : 0,
      bytesOf(expectedHead),
      bytesOf(head),
      snapshot ? 1 : 0,
      delta ? 1 : 0,
      bytesOf(delta),
      maxLogEntries,
      this.#keys.hints,
      hint,
    ];
    for (const [key, value] of records) args.push(key, value ? '=' : '-', bytesOf(value));
    const [done, found] = await this.#do(`write partition ${partition}`, () =>
      this.#client.isthmusCommitBuffer(...args),
    );
    return Number(done) === 1 ? { ok: true } : { ok: false, head: found ?? undefined };
  }

  async readHeads(partitions: readonly Partition[]): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#readMany(
      'read heads',
      partitions.map((partition) => this.#keys.head(partition)),
    );
  }

  async readSnapshot(partition: Partition): Promise<Snapshot> {
    const keys = [this.#keys.head(partition), this.#keys.records(partition), this.#keys.log(partition)];
    const [head, fields, lastId] = await this.#do(`read partition ${partition}`, () =>
      this.#client.isthmusSnapshotBuffer(...keys, maxFields),
    );
    const records = new Map<RecordKey, Uint8Array>();
    for (let at = 0; at + 1 < fields.length; at += 2) {
      records.set((fields[at] as Buffer).toString('utf8'), fields[at + 1] as Buffer);
    }
    return { head: head ?? undefined, records, lastId: lastId?.toString('latin1') };
  }

  async readDeltas(partition: Partition, afterId: string | undefined, limit: number): Promise<Deltas> {
    // From `afterId` itself on: if it is not the first to come back, the log was trimmed or begun anew.
    const count = afterId === undefined ? limit : limit + 1;
    const found = await this.#do(`read the log of ${partition}`, () =>
      this.#client.xrangeBuffer(this.#keys.log(partition), afterId ?? '-', '+', 'COUNT', count),
    );
    const entries = found.map(([id, fields]): LogEntry => ({ id: id.toString('latin1'), delta: fields[1] ?? empty }));
    if (afterId === undefined) return { entries, gap: false };
    return entries[0]?.id === afterId ? { entries: entries.slice(1), gap: false } : { entries: [], gap: true };
  }

  async writeChain(partition: Partition, chainId: string, chain: Uint8Array): Promise<void> {
    const key = this.#keys.chain(partition, chainId);
    await this.#do(`write a chain of ${partition}`, () => this.#client.set(key, bytesOf(chain), 'EX', chainTtlSeconds));
  }

  async readChain(partition: Partition, chainId: string): Promise<Uint8Array | undefined> {
    const [chain] = await this.#readMany(`read a chain of ${partition}`, [this.#keys.chain(partition, chainId)]);
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

  /** MGET answers nothing for a key of another type, so that one damaged partition does not hide the others. */
  async #readMany(action: string, keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = [];
    for (let at = 0; at < keys.length; at += headsPerRead) {
      const found = await this.#do(action, () => this.#client.mgetBuffer(...keys.slice(at, at + headsPerRead)));
      for (const value of found) values.push(value ?? undefined);
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
      throw hubError(this.name, action, thrown);
    } finally {
      this.#inFlight -= 1;
    }
  }
}

const empty = Buffer.alloc(0);

/** The library takes Buffers; a view on the same bytes, not a copy. */
function bytesOf(bytes: Uint8Array | undefined): Buffer {
  return bytes ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : empty;
}

import { hash } from 'node:crypto';

/** Buckets of every digest. */
export const bucketCount = 256;

/** One call of the library for each digest: setting one up costs more than hashing what is hashed here. */
function sha256(data: Uint8Array | string): Buffer {
  return hash('sha256', data, 'buffer');
}

/**
 * Digest of a key → bytes map that is cheap to keep current: 256 buckets by the first byte of SHA-256(key); a bucket is
 * SHA-256 over its sorted (length of key, key, SHA-256(value)); the whole is SHA-256 over all buckets. Sums or XOR of
 * hashes would be forgeable (wire.md, "Digest"). A change costs its own bucket, not the map.
 */
export class MapDigest {
  /** Key → SHA-256(value), by bucket. Shared with clones until written to. */
  readonly #entries: ReadonlyMap<string, Buffer>[];
  readonly #buckets: (Buffer | undefined)[];
  /** Buckets that no clone shares. */
  #owned = new Set<number>();
  #whole: string | undefined;
  #size = 0;

  constructor(origin?: MapDigest) {
    this.#entries = origin ? [...origin.#entries] : fill(new Map<string, Buffer>());
    this.#buckets = origin ? [...origin.#buckets] : fill(undefined);
    if (!origin) return;
    this.#whole = origin.#whole;
    this.#size = origin.#size;
    origin.#owned = new Set();
  }

  /** An independent copy. Costs the table of buckets; a bucket itself is copied when one side changes it. */
  clone(): MapDigest {
    return new MapDigest(this);
  }

  get size(): number {
    return this.#size;
  }

  set(key: string, value: Uint8Array): void {
    const bucket = bucketOf(key);
    const entries = this.#writable(bucket);
    if (!entries.has(key)) this.#size += 1;
    entries.set(key, sha256(value));
  }

  delete(key: string): void {
    const bucket = bucketOf(key);
    if (!this.#entries[bucket]?.has(key)) return;
    this.#writable(bucket).delete(key);
    this.#size -= 1;
  }

  /** The digest of one bucket; undefined = nothing is in it. */
  bucket(index: number): Uint8Array | undefined {
    return this.#entries[index]?.size === 0 ? undefined : this.#bucket(index);
  }

  /** All buckets with something in them. */
  buckets(): ReadonlyMap<number, Uint8Array> {
    const filled = new Map<number, Uint8Array>();
    for (let index = 0; index < bucketCount; index += 1) {
      const digest = this.bucket(index);
      if (digest) filled.set(index, digest);
    }
    return filled;
  }

  /** Lower-case hex over all buckets. */
  get whole(): string {
    this.#whole ??= sha256(Buffer.concat(this.#buckets.map((_, index) => this.#bucket(index)))).toString('hex');
    return this.#whole;
  }

  #writable(bucket: number): Map<string, Buffer> {
    this.#buckets[bucket] = undefined;
    this.#whole = undefined;
    if (!this.#owned.has(bucket)) {
      this.#owned.add(bucket);
      this.#entries[bucket] = new Map(this.#entries[bucket]);
    }
    return this.#entries[bucket] as Map<string, Buffer>;
  }

  #bucket(index: number): Buffer {
    const known = this.#buckets[index];
    if (known) return known;
    const entries = this.#entries[index] as ReadonlyMap<string, Buffer>;
    const parts: Uint8Array[] = [];
    for (const key of [...entries.keys()].sort()) {
      const bytes = Buffer.from(key);
      const length = Buffer.allocUnsafe(4);
      length.writeUInt32BE(bytes.length);
      parts.push(length, bytes, entries.get(key) as Buffer);
    }
    const digest = sha256(Buffer.concat(parts));
    this.#buckets[index] = digest;
    return digest;
  }
}

function fill<T>(value: T): T[] {
  return Array.from({ length: bucketCount }, () => value);
}

/** The bucket into which a key falls, 0 to 255. */
export function bucketOf(key: string): number {
  return sha256(key)[0] as number;
}

const emptyBucket = sha256('');

/** `MapDigest.whole` from its filled buckets: shows that a list of them is the one that was signed. */
export function wholeOf(buckets: ReadonlyMap<number, Uint8Array>): string {
  const all = Array.from({ length: bucketCount }, (_, index) => buckets.get(index) ?? emptyBucket);
  return sha256(Buffer.concat(all)).toString('hex');
}

/** Digest of a whole map at once. */
export function digestOf(entries: Iterable<readonly [string, Uint8Array]>): string {
  const digest = new MapDigest();
  for (const [key, value] of entries) digest.set(key, value);
  return digest.whole;
}

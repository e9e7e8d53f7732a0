import { hash } from 'node:crypto';

/** Buckets of every digest. */
export const bucketCount = 256;

/** A SHA-256 as 32 characters of one byte each: the smallest thing there is to hold in large numbers. */
type Hash = string;

/** One call of the library for each digest: setting one up costs more than hashing what is hashed here. */
function sha256(data: Uint8Array | string): Hash {
  return hash('sha256', data, 'binary');
}

/** Keys in order, each followed by the hash of its value. */
type Bucket = readonly string[];

const noEntries: Bucket = [];

/**
 * Digest of a key → bytes map that is cheap to keep current: 256 buckets by the first byte of SHA-256(key); a bucket is
 * SHA-256 over its sorted (length of key, key, SHA-256(value)); the whole is SHA-256 over all buckets. Sums or XOR of
 * hashes would be forgeable (wire.md, "Digest"). A change costs its own bucket, not the map. It knows the map well enough
 * to stand for it: which keys there are, and whether a value is the one of a key.
 */
export class MapDigest {
  /** Shared with clones until written to. */
  readonly #entries: Bucket[];
  readonly #buckets: (Hash | undefined)[];
  /** Buckets that no clone shares. */
  #owned = new Set<number>();
  #whole: string | undefined;
  #size = 0;

  constructor(origin?: MapDigest) {
    this.#entries = origin ? [...origin.#entries] : fill(noEntries);
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

  has(key: string): boolean {
    return hashIn(this.#entries[bucketOf(key)], key) !== undefined;
  }

  /** Whether a key has the same value there as here, or none in both. */
  agrees(other: MapDigest, key: string): boolean {
    const bucket = bucketOf(key);
    return hashIn(this.#entries[bucket], key) === hashIn(other.#entries[bucket], key);
  }

  /** All keys, in no order that means anything. */
  *keys(): Generator<string, undefined> {
    for (const entries of this.#entries) for (let at = 0; at < entries.length; at += 2) yield entries[at] as string;
  }

  set(key: string, value: Uint8Array): void {
    const bucket = bucketOf(key);
    const entries = this.#writable(bucket);
    const at = placeOf(entries, key);
    if (entries[at] === key) entries[at + 1] = sha256(value);
    else {
      entries.splice(at, 0, key, sha256(value));
      this.#size += 1;
    }
  }

  delete(key: string): void {
    const bucket = bucketOf(key);
    const at = placeOf(this.#entries[bucket] as Bucket, key);
    if (this.#entries[bucket]?.[at] !== key) return;
    this.#writable(bucket).splice(at, 2);
    this.#size -= 1;
  }

  /** The digest of one bucket; undefined = nothing is in it. */
  bucket(index: number): Uint8Array | undefined {
    return this.#entries[index]?.length === 0 ? undefined : Buffer.from(this.#bucket(index), 'latin1');
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
    this.#whole ??= overBuckets(this.#buckets.map((_, index) => this.#bucket(index)));
    return this.#whole;
  }

  #writable(bucket: number): string[] {
    this.#buckets[bucket] = undefined;
    this.#whole = undefined;
    if (!this.#owned.has(bucket)) {
      this.#owned.add(bucket);
      this.#entries[bucket] = [...(this.#entries[bucket] as Bucket)];
    }
    return this.#entries[bucket] as string[];
  }

  #bucket(index: number): Hash {
    const known = this.#buckets[index];
    if (known !== undefined) return known;
    const digest = digestOfBucket(this.#entries[index] as Bucket);
    this.#buckets[index] = digest;
    return digest;
  }
}

function digestOfBucket(entries: Bucket): Hash {
  let size = 0;
  for (let at = 0; at < entries.length; at += 2) size += 4 + Buffer.byteLength(entries[at] as string) + 32;
  const bytes = Buffer.allocUnsafe(size);
  let end = 0;
  for (let at = 0; at < entries.length; at += 2) {
    const length = bytes.write(entries[at] as string, end + 4);
    end = bytes.writeUInt32BE(length, end) + length;
    end += bytes.write(entries[at + 1] as Hash, end, 'latin1');
  }
  return sha256(bytes);
}

function hashIn(entries: Bucket = noEntries, key: string): Hash | undefined {
  const at = placeOf(entries, key);
  return entries[at] === key ? entries[at + 1] : undefined;
}

/** Index of the key in its bucket, or of the place where it belongs. */
function placeOf(entries: Bucket, key: string): number {
  let low = 0;
  let high = entries.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[2 * middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}

function fill<T>(value: T): T[] {
  return Array.from({ length: bucketCount }, () => value);
}

/** The bucket into which a key falls, 0 to 255. */
export function bucketOf(key: string): number {
  return sha256(key).charCodeAt(0);
}

const emptyBucket = sha256('');

function overBuckets(buckets: readonly Hash[]): string {
  return hash('sha256', Buffer.from(buckets.join(''), 'latin1'), 'hex');
}

/** `MapDigest.whole` from its filled buckets: shows that a list of them is the one that was signed. */
export function wholeOf(buckets: ReadonlyMap<number, Uint8Array>): string {
  const all = Array.from({ length: bucketCount }, (_, index) => {
    const digest = buckets.get(index);
    return digest ? Buffer.from(digest).toString('latin1') : emptyBucket;
  });
  return overBuckets(all);
}

/** Digest of a whole map at once. */
export function digestOf(entries: Iterable<readonly [string, Uint8Array]>): string {
  const digest = new MapDigest();
  for (const [key, value] of entries) digest.set(key, value);
  return digest.whole;
}

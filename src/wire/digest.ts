import { createHash } from 'node:crypto';

const bucketCount = 256;

function sha256(...parts: readonly (Uint8Array | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/**
 * Digest of a key → bytes map that is cheap to keep current: 256 buckets by the first byte of SHA-256(key); a bucket is
 * SHA-256 over its sorted (length of key, key, SHA-256(value)); the whole is SHA-256 over all buckets. Sums or XOR of
 * hashes would be forgeable (wire.md, "Digest"). A change costs its own bucket, not the map.
 */
export class MapDigest {
  /** Key → SHA-256(value), by bucket. */
  readonly #entries: Map<string, Buffer>[] = Array.from({ length: bucketCount }, () => new Map());
  readonly #buckets: (Buffer | undefined)[] = Array.from({ length: bucketCount }, () => undefined);
  #whole: string | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  set(key: string, value: Uint8Array): void {
    const bucket = sha256(key)[0] as number;
    const entries = this.#entries[bucket] as Map<string, Buffer>;
    if (!entries.has(key)) this.#size += 1;
    entries.set(key, sha256(value));
    this.#touch(bucket);
  }

  delete(key: string): void {
    const bucket = sha256(key)[0] as number;
    if (!this.#entries[bucket]?.delete(key)) return;
    this.#size -= 1;
    this.#touch(bucket);
  }

  /** Lower-case hex of one bucket, for anti-entropy. */
  bucket(index: number): string {
    return this.#bucket(index).toString('hex');
  }

  /** Lower-case hex over all buckets. */
  get whole(): string {
    this.#whole ??= sha256(...this.#buckets.map((_, index) => this.#bucket(index))).toString('hex');
    return this.#whole;
  }

  #touch(bucket: number): void {
    this.#buckets[bucket] = undefined;
    this.#whole = undefined;
  }

  #bucket(index: number): Buffer {
    const known = this.#buckets[index];
    if (known) return known;
    const entries = this.#entries[index] as Map<string, Buffer>;
    const hash = createHash('sha256');
    for (const key of [...entries.keys()].sort()) {
      const bytes = Buffer.from(key);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      hash
        .update(length)
        .update(bytes)
        .update(entries.get(key) as Buffer);
    }
    const digest = hash.digest();
    this.#buckets[index] = digest;
    return digest;
  }
}

/** Digest of a whole map at once. */
export function digestOf(entries: Iterable<readonly [string, Uint8Array]>): string {
  const digest = new MapDigest();
  for (const [key, value] of entries) digest.set(key, value);
  return digest.whole;
}

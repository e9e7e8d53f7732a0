/** Buckets grow by about 7 %: a quantile is off by at most that. */
const growth = 1.07;
const leastMs = 0.05;
const bucketCount = 256;

/** Latencies of one stream of requests in a fixed amount of memory. Values in ms. */
export class Latencies {
  readonly #buckets = new Uint32Array(bucketCount);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  record(ms: number): void {
    const index = ms <= leastMs ? 0 : Math.ceil(Math.log(ms / leastMs) / Math.log(growth));
    const bucket = Math.min(bucketCount - 1, index);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count += 1;
  }

  /** The upper edge of the bucket that holds quantile `q` (0 to 1); undefined without a value. */
  quantile(q: number): number | undefined {
    if (this.#count === 0) return undefined;
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (const [index, count] of this.#buckets.entries()) {
      seen += count;
      if (seen >= rank) return leastMs * growth ** index;
    }
    return undefined;
  }

  /** Forgets half of everything, so that the figures follow the present. */
  decay(): void {
    this.#count = 0;
    for (const [index, count] of this.#buckets.entries()) {
      this.#buckets[index] = count >> 1;
      this.#count += count >> 1;
    }
  }
}

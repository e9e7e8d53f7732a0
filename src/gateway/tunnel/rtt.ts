/** Samples kept: with four pings a second half a minute. */
const capacity = 128;

/** The last round trips of one link, in ms. */
export class RttRing {
  readonly #samples = new Float64Array(capacity);
  #count = 0;

  add(ms: number): void {
    this.#samples[this.#count % capacity] = ms;
    this.#count += 1;
  }

  /** `q` from 0 to 1; undefined before the first sample. */
  quantile(q: number): number | undefined {
    const length = Math.min(this.#count, capacity);
    if (length === 0) return undefined;
    const sorted = this.#samples.slice(0, length).sort();
    return sorted[Math.min(length - 1, Math.floor(q * length))];
  }
}

const bucketMs = 5000;
const bucketCount = 12;

/** Probes sent and lost during the last minute. */
export class ProbeWindow {
  readonly #sent = new Float64Array(bucketCount);
  readonly #lost = new Float64Array(bucketCount);
  #newest = 0;

  sent(now: number): void {
    const index = this.#bucket(now);
    this.#sent[index] = (this.#sent[index] ?? 0) + 1;
  }

  lost(now: number): void {
    const index = this.#bucket(now);
    this.#lost[index] = (this.#lost[index] ?? 0) + 1;
  }

  /** 0 to 1; 0 when nothing was sent. */
  loss(now: number): number {
    this.#bucket(now);
    const sum = (of: Float64Array): number => of.reduce((total, value) => total + value, 0);
    const sent = sum(this.#sent);
    return sent === 0 ? 0 : Math.min(1, sum(this.#lost) / sent);
  }

  /** Index for `now`; buckets that have gone by are emptied. */
  #bucket(now: number): number {
    const newest = Math.floor(now / bucketMs);
    const stale = Math.min(bucketCount, newest - this.#newest);
    for (let step = 0; step < stale; step += 1) {
      const index = (newest - step) % bucketCount;
      this.#sent[index] = 0;
      this.#lost[index] = 0;
    }
    this.#newest = Math.max(this.#newest, newest);
    return this.#newest % bucketCount;
  }
}

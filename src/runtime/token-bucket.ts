/** How often something may happen: `burst` at once, then `perSecond`. */
export interface RateRule {
  /** Greater than 0. */
  readonly perSecond: number;
  /** At least 1. */
  readonly burst: number;
}

/** A store of permissions that fills with time. All times are monotonic ms of the caller. */
export class TokenBucket {
  readonly #rule: RateRule;
  #level: number;
  #at: number;

  /** Full at `now`. */
  constructor(rule: RateRule, now: number) {
    this.#rule = rule;
    this.#level = rule.burst;
    this.#at = now;
  }

  /** How long until one can be taken that leaves `reserve` behind, in ms; 0: now. */
  waitMs(now: number, reserve: number = 0): number {
    this.#fill(now);
    const missing = reserve + 1 - this.#level;
    // Sums of fractions are never quite whole.
    return missing <= 1e-9 ? 0 : Math.max(1, Math.ceil((missing / this.#rule.perSecond) * 1000 - 1e-6));
  }

  /** Takes one; `waitMs` said that it is there. */
  take(now: number): void {
    this.#fill(now);
    this.#level = Math.max(0, this.#level - 1);
  }

  /** Whether nothing is missing: such a bucket may be forgotten. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#level >= this.#rule.burst;
  }

  #fill(now: number): void {
    const { burst, perSecond } = this.#rule;
    this.#level = Math.min(burst, this.#level + (Math.max(0, now - this.#at) / 1000) * perSecond);
    this.#at = Math.max(this.#at, now);
  }
}

/** One bucket per key, bounded: full ones are forgotten first, then those not used for the longest time. */
export class TokenBuckets {
  readonly #rule: RateRule;
  readonly #maxKeys: number;
  /** In the order of last use. */
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(rule: RateRule, maxKeys: number) {
    this.#rule = rule;
    this.#maxKeys = maxKeys;
  }

  get size(): number {
    return this.#buckets.size;
  }

  of(key: string, now: number): TokenBucket {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#rule, now);
    this.#buckets.delete(key);
    if (this.#buckets.size >= this.#maxKeys) this.#forget(now);
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #forget(now: number): void {
    for (const [key, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(key);
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined && this.#buckets.size >= this.#maxKeys) this.#buckets.delete(oldest);
  }
}

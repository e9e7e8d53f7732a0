import { IsthmusError } from '../../model/error.ts';
import { type RateRule, TokenBucket, TokenBuckets } from '../../runtime/token-bucket.ts';

/** How many certificate requests are looked at. */
export interface RequestLimits {
  /** All requests together. */
  readonly global: RateRule;
  /** Share (0 to 1) of the global burst that is kept for renewals: newcomers must never starve the members. */
  readonly renewalReserve: number;
  /** Each source address, whoever it says it is. */
  readonly source: RateRule;
  /** Each identity, wherever it calls from. */
  readonly identity: RateRule;
}

/** Sources and identities that are remembered; more of them share what the global rule leaves. */
const maxKeys = 10_000;

/** A renewal proves itself by the identity that it renews; everything else is a join. */
export type RequestKind = 'renewal' | 'join';

/**
 * Bounds what callers can make an issuer do: signing, journal entries, and the checks before both. Times are monotonic
 * ms.
 */
export class RequestLimiter {
  readonly #global: TokenBucket;
  readonly #reserve: number;
  readonly #sources: TokenBuckets;
  readonly #identities: TokenBuckets;

  constructor(limits: RequestLimits, now: number) {
    this.#global = new TokenBucket(limits.global, now);
    this.#reserve = limits.global.burst * limits.renewalReserve;
    this.#sources = new TokenBuckets(limits.source, maxKeys);
    this.#identities = new TokenBuckets(limits.identity, maxKeys);
  }

  /** Counts a call of `source`, before anything is done for it. @throws IsthmusError `exhausted` */
  arrive(source: string, now: number): void {
    const bucket = this.#sources.of(source, now);
    refuseFor(`from ${source}`, bucket.waitMs(now));
    bucket.take(now);
  }

  /** Counts a request of an authenticated `identity`; what is refused costs nobody anything. @throws IsthmusError `exhausted` */
  admit(identity: string, kind: RequestKind, now: number): void {
    const bucket = this.#identities.of(identity, now);
    refuseFor(`of ${identity}`, bucket.waitMs(now));
    refuseFor('of all callers together', this.#global.waitMs(now, kind === 'renewal' ? 0 : this.#reserve));
    bucket.take(now);
    this.#global.take(now);
  }
}

function refuseFor(whose: string, retryAfterMs: number): void {
  if (retryAfterMs === 0) return;
  throw new IsthmusError('exhausted', `Too many certificate requests ${whose}: try again in ${retryAfterMs} ms`, {
    retryAfterMs,
  });
}

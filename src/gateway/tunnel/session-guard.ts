import { type RateRule, TokenBucket } from '../../runtime/token-bucket.ts';

/** Why a session was ended for what its peer did in it. */
export type Abuse = 'rapid-reset' | 'control-flood';

/**
 * Streams that the peer gave up before they were accepted: each has cost a connection attempt, and none is left of it
 * (CVE-2023-44487). Far above what clients who leave, or attempts that were overtaken, amount to.
 */
const resets: RateRule = { perSecond: 1000, burst: 10_000 };
/**
 * PING and SETTINGS frames. Our own gateways send four a second, others some ten to measure the bandwidth. The burst is
 * below the thousand unsent answers at which the library gives up without a word to the peer.
 */
const controls: RateRule = { perSecond: 100, burst: 500 };

/** Watches one session for what no sound peer does, however well it is known. Times are monotonic ms. */
export class SessionGuard {
  readonly #resets: TokenBucket;
  readonly #controls: TokenBucket;

  constructor(now: number) {
    this.#resets = new TokenBucket(resets, now);
    this.#controls = new TokenBucket(controls, now);
  }

  /** The peer has given up a stream that was not accepted yet. @returns what it has become too much of */
  abandoned(now: number): Abuse | undefined {
    return spend(this.#resets, now) ? undefined : 'rapid-reset';
  }

  /** The peer has sent a PING or SETTINGS frame. */
  control(now: number): Abuse | undefined {
    return spend(this.#controls, now) ? undefined : 'control-flood';
  }
}

function spend(bucket: TokenBucket, now: number): boolean {
  if (bucket.waitMs(now) > 0) return false;
  bucket.take(now);
  return true;
}

import { TokenBucket } from '../../runtime/token-bucket.ts';

/** Why a session was ended for what its peer did in it. */
export type Abuse = 'rapid-reset' | 'control-flood';

/** How much of it is too much: see the limits of these names. */
export interface GuardBounds {
  readonly resetsPerSecond: number;
  readonly resetBurst: number;
  readonly controlFramesPerSecond: number;
  readonly controlFrameBurst: number;
}

/** Watches one session for what no sound peer does, however well it is known. Times are monotonic ms. */
export class SessionGuard {
  readonly #resets: TokenBucket;
  readonly #controls: TokenBucket;

  constructor(bounds: GuardBounds, now: number) {
    this.#resets = new TokenBucket({ perSecond: bounds.resetsPerSecond, burst: bounds.resetBurst }, now);
    this.#controls = new TokenBucket(
      { perSecond: bounds.controlFramesPerSecond, burst: bounds.controlFrameBurst },
      now,
    );
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

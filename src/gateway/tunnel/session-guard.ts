import { TokenBucket, TokenBuckets } from '../../runtime/token-bucket.ts';

/** Why a session was ended for what its peer did in it. */
export type Abuse = 'rapid-reset' | 'control-flood';

/** How much of it is too much: see the limits of these names. */
export interface GuardBounds {
  readonly resetsPerSecond: number;
  readonly resetBurst: number;
  readonly controlFramesPerSecond: number;
  readonly controlFrameBurst: number;
}

/** A peer that was cut off comes in again when so much of its allowance is there again. */
const pardonShare = 0.5;

/** Watches all sessions of each peer for what no sound peer does: another session is no new allowance. */
export class PeerGuard {
  readonly #burst: number;
  readonly #maxPeers: number;
  readonly #resets: TokenBuckets;
  /** The one that was cut off first comes first. */
  readonly #cutOff = new Set<string>();

  /** @param maxPeers beyond it those that were quiet, or cut off, for the longest time are forgotten */
  constructor({ resetsPerSecond, resetBurst }: GuardBounds, maxPeers: number) {
    this.#burst = resetBurst;
    this.#maxPeers = maxPeers;
    this.#resets = new TokenBuckets({ perSecond: resetsPerSecond, burst: resetBurst }, maxPeers);
  }

  /** The peer has given up a stream that was not accepted yet. @returns what it has become too much of */
  abandoned(peer: string, now: number): Abuse | undefined {
    if (spend(this.#resets.of(peer, now), now)) return undefined;
    this.#cutOff.delete(peer);
    this.#cutOff.add(peer);
    const [oldest] = this.#cutOff;
    if (oldest !== undefined && this.#cutOff.size > this.#maxPeers) this.#cutOff.delete(oldest);
    return 'rapid-reset';
  }

  /** Whether the peer was cut off and has not been quiet for long enough since. */
  shuns(peer: string, now: number): boolean {
    if (!this.#cutOff.has(peer)) return false;
    if (this.#resets.of(peer, now).waitMs(now, Math.floor(this.#burst * pardonShare)) > 0) return true;
    this.#cutOff.delete(peer);
    return false;
  }
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

  /** As of `PeerGuard`, for those who are not known: each of their sessions stands for itself. */
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

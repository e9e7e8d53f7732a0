/**
 * Decides whether the peer of one session is alive. Any byte counts, not only the answer to a ping: with a deep queue
 * on the way a pong may take longer than the limit although the peer is well.
 */
export interface LivenessRules {
  /** Between pings while the session is in use: it carries streams, or has until a while ago. */
  readonly pingIntervalMs: number;
  /** Between pings while it is not. */
  readonly idlePingIntervalMs: number;
  /** Without a byte for so long while a ping is outstanding: dead. */
  readonly silenceMs: number;
}

export type LivenessVerdict =
  | { readonly kind: 'dead'; readonly silentMs: number }
  | { readonly kind: 'alive'; readonly ping: boolean; readonly nextMs: number };

/** A session stays in use for so long after its last stream: a frozen peer loses its streams to others at once. */
const inUseMs = 10_000;
/** The ping must have been unanswered for this part of the limit: silence before it was merely quiet. */
const pingShare = 2 / 3;
/**
 * A ping must be answered within this, whatever else is heard: a peer that only sends, and never reads, would otherwise
 * hold what waits for it for ever. Far more than a deep queue on the way costs.
 */
const unansweredMs = 30_000;
/** A check that comes so much later than asked for was held up by this process, which then has no opinion. */
const heldUpMs = 200;

export class Liveness {
  readonly #rules: LivenessRules;
  #heardAt: number;
  #bytes = 0;
  #pingAt: number | undefined;
  #lastPingAt = Number.NEGATIVE_INFINITY;
  #dueAt: number;
  /** A new session is there because it will be used. */
  #usedAt: number;

  constructor(rules: LivenessRules, now: number) {
    this.#rules = rules;
    this.#heardAt = now;
    this.#dueAt = now;
    this.#usedAt = now;
  }

  /** The answer to the outstanding ping. @returns the round trip in ms */
  pong(now: number): number {
    const rtt = now - (this.#pingAt ?? now);
    this.#pingAt = undefined;
    this.#heardAt = now;
    return rtt;
  }

  /** One look. `bytes`: read from the peer since the session began; `streams`: open now, or since the last look. */
  check(now: number, bytes: number, streams: number): LivenessVerdict {
    const { pingIntervalMs, silenceMs } = this.#rules;
    // Bytes count from the look that finds them, so a busy session is looked at more often than it is pinged.
    if (streams > 0) this.#usedAt = now;
    const inUse = now - this.#usedAt < inUseMs;
    const lookMs = inUse ? pingIntervalMs / 2 : pingIntervalMs;
    const lateMs = Math.max(0, now - this.#dueAt);
    if (bytes !== this.#bytes || lateMs > heldUpMs) this.#heardAt = now;
    // What this process lost little by little, as a busy machine makes it, the peer did not miss either.
    else this.#heardAt = Math.min(now, this.#heardAt + lateMs);
    this.#bytes = bytes;
    if (this.#pingAt !== undefined) {
      const silentMs = now - this.#heardAt;
      const pingMs = now - this.#pingAt;
      const quietLeftMs = Math.max(silenceMs - silentMs, silenceMs * pingShare - pingMs);
      const leftMs = Math.min(quietLeftMs, Math.max(silenceMs, unansweredMs) - pingMs);
      if (leftMs <= 0) return { kind: 'dead', silentMs };
      return this.#alive(now, false, Math.max(1, Math.min(lookMs, leftMs)));
    }
    const interval = inUse ? pingIntervalMs : this.#rules.idlePingIntervalMs;
    const dueIn = this.#lastPingAt + interval - now;
    if (dueIn > 0) return this.#alive(now, false, Math.min(lookMs, dueIn));
    this.#pingAt = now;
    this.#lastPingAt = now;
    return this.#alive(now, true, lookMs);
  }

  #alive(now: number, ping: boolean, nextMs: number): LivenessVerdict {
    this.#dueAt = now + nextMs;
    return { kind: 'alive', ping, nextMs };
  }
}

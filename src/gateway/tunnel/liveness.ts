/**
 * Decides whether the peer of one session is alive. Any byte counts, not only the answer to a ping: with a deep queue
 * on the way a pong may take longer than the limit although the peer is well.
 */
export interface LivenessRules {
  /** Between pings while the session carries streams. */
  readonly pingIntervalMs: number;
  /** Between pings while it carries none. */
  readonly idlePingIntervalMs: number;
  /** Without a byte for so long while a ping is outstanding: dead. */
  readonly silenceMs: number;
}

export type LivenessVerdict =
  | { readonly kind: 'dead'; readonly silentMs: number }
  | { readonly kind: 'alive'; readonly ping: boolean; readonly nextMs: number };

/** A check that comes so much later than asked for was held up by this process, which then has no opinion. */
const heldUpMs = 200;

export class Liveness {
  readonly #rules: LivenessRules;
  #heardAt: number;
  #bytes = 0;
  #pingAt: number | undefined;
  #lastPingAt = Number.NEGATIVE_INFINITY;
  #dueAt: number;

  constructor(rules: LivenessRules, now: number) {
    this.#rules = rules;
    this.#heardAt = now;
    this.#dueAt = now;
  }

  /** The answer to the outstanding ping. @returns the round trip in ms */
  pong(now: number): number {
    const rtt = now - (this.#pingAt ?? now);
    this.#pingAt = undefined;
    this.#heardAt = now;
    return rtt;
  }

  /** One look. `bytes`: read from the peer since the session began. */
  check(now: number, bytes: number, streams: number): LivenessVerdict {
    const { pingIntervalMs, silenceMs } = this.#rules;
    const heldUp = now - this.#dueAt > heldUpMs;
    if (bytes !== this.#bytes || heldUp) this.#heardAt = now;
    this.#bytes = bytes;
    if (this.#pingAt !== undefined) {
      const silentMs = now - Math.max(this.#heardAt, this.#pingAt);
      if (silentMs >= silenceMs) return { kind: 'dead', silentMs };
      return this.#alive(now, false, Math.max(1, Math.min(pingIntervalMs, silenceMs - silentMs)));
    }
    const interval = streams > 0 ? pingIntervalMs : this.#rules.idlePingIntervalMs;
    const dueIn = this.#lastPingAt + interval - now;
    if (dueIn > 0) return this.#alive(now, false, Math.min(pingIntervalMs, dueIn));
    this.#pingAt = now;
    this.#lastPingAt = now;
    return this.#alive(now, true, pingIntervalMs);
  }

  #alive(now: number, ping: boolean, nextMs: number): LivenessVerdict {
    this.#dueAt = now + nextMs;
    return { kind: 'alive', ping, nextMs };
  }
}

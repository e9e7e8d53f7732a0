/** When to doubt an upstream's session, and when to give it up. ms. */
export interface PulseRules {
  /** Something was sent and nothing came back for so long: a ping. */
  readonly doubtMs: number;
  /** The ping is not answered, and nothing else is heard: dead. */
  readonly unansweredMs: number;
}

/**
 * Pings that the peer may count against us until it sends something of its own: servers of gRPC end a session for
 * `too_many_pings` after a third one within five minutes.
 */
const pingsInARow = 2;

/**
 * Whether the server behind one HTTP/2 session is still there. It is asked only when there is a reason to: a request
 * that is waiting for it, and silence. Times are monotonic ms.
 */
export class Pulse {
  readonly #rules: PulseRules;
  /** When what is now unanswered began to be; undefined: the peer spoke last. */
  #waitingSince: number | undefined;
  #pingAt: number | undefined;
  #pings = 0;

  constructor(rules: PulseRules) {
    this.#rules = rules;
  }

  /** Something was sent that asks for an answer. */
  sent(now: number): void {
    this.#waitingSince ??= now;
  }

  /** Anything of a response. */
  heard(): void {
    this.#waitingSince = undefined;
    this.#pingAt = undefined;
    this.#pings = 0;
  }

  /** The answer to the ping: it is there, and only slow. */
  pong(): void {
    this.#waitingSince = undefined;
    this.#pingAt = undefined;
  }

  /** Call about once a second while requests are in progress. */
  check(now: number): 'ping' | 'dead' | undefined {
    const { doubtMs, unansweredMs } = this.#rules;
    if (this.#pingAt !== undefined) return now - this.#pingAt >= unansweredMs ? 'dead' : undefined;
    if (this.#waitingSince === undefined || now - this.#waitingSince < doubtMs) return undefined;
    if (this.#pings >= pingsInARow) return undefined;
    this.#pings += 1;
    this.#pingAt = now;
    return 'ping';
  }
}

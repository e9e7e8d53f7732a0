export interface BackoffOptions {
  /** First delay in ms. */
  readonly initialMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
  /** Each delay is this many times the one before. Default 2. */
  readonly factor?: number;
}

/** Growing delays with full jitter in the upper half, so that many clients of one dead server do not march in step. */
export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #random: () => number;
  #attempt = 0;

  constructor(options: BackoffOptions, random: () => number) {
    this.#options = { factor: 2, ...options };
    this.#random = random;
  }

  /** How many delays were handed out since the last success. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The next delay in ms, between half of the nominal one and all of it. */
  next(): number {
    const { initialMs, maxMs, factor } = this.#options;
    const nominal = Math.min(maxMs, initialMs * factor ** Math.min(this.#attempt, 64));
    this.#attempt += 1;
    return nominal / 2 + (nominal / 2) * this.#random();
  }

  /** It worked: start small again. */
  reset(): void {
    this.#attempt = 0;
  }
}

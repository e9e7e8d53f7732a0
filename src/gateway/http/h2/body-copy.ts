/** What has been sent of a request's body, kept so that it can be sent once more. Bounded. */
export class BodyCopy {
  readonly #maxBytes: number;
  #chunks: Buffer[] | undefined = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** All that was added is still there. */
  get whole(): boolean {
    return this.#chunks !== undefined;
  }

  /** In their order; empty when nothing is kept any more. */
  get chunks(): readonly Buffer[] {
    return this.#chunks ?? [];
  }

  add(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) this.#chunks = undefined;
    else this.#chunks?.push(chunk);
  }

  /** It will not be sent again. */
  drop(): void {
    this.#chunks = undefined;
  }
}

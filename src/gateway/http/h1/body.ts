import { ChunkScanner } from './chunks.ts';
import type { Framing } from './framing.ts';

/** Follows the body of one message through the chunks in which it comes. */
export interface Body {
  /** The last byte was seen. Never for one that goes on to the end of the connection. */
  readonly done: boolean;
  /** Bytes of content so far. */
  readonly content: number;
  /** @returns the offset behind the last byte that belongs to the body, or what is wrong */
  take(bytes: Buffer, start: number): number | string;
}

class NoBody implements Body {
  readonly done: boolean = true;
  readonly content: number = 0;

  take(_bytes: Buffer, start: number): number {
    return start;
  }
}

class LengthBody implements Body {
  content: number = 0;
  readonly #length: number;

  constructor(length: number) {
    this.#length = length;
  }

  get done(): boolean {
    return this.content === this.#length;
  }

  take(bytes: Buffer, start: number): number {
    const length = Math.min(this.#length - this.content, bytes.length - start);
    this.content += length;
    return start + length;
  }
}

class OpenBody implements Body {
  readonly done: boolean = false;
  content: number = 0;

  take(bytes: Buffer, start: number): number {
    this.content += bytes.length - start;
    return bytes.length;
  }
}

const none: Body = new NoBody();

export function bodyOf(framing: Framing, limits: { readonly headBytes: number; readonly fields: number }): Body {
  switch (framing.kind) {
    case 'none':
      return none;
    case 'length':
      return framing.length === 0 ? none : new LengthBody(framing.length);
    case 'chunked':
      return new ChunkScanner(limits);
    case 'close':
      return new OpenBody();
  }
}

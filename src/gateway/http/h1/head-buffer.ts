import { cr, lf } from './bytes.ts';

const end = Buffer.from('\r\n\r\n', 'latin1');
const firstRoom = 1024;

/**
 * Collects the head of a message from the chunks in which it comes. A head that is in one chunk, as nearly all are, is
 * read where it lies; only what is cut in two is copied.
 */
export class HeadBuffer {
  /** Where the head lies, once `push` has found it. */
  bytes: Buffer = Buffer.alloc(0);
  start: number = 0;
  end: number = 0;
  readonly #max: number;
  readonly #skips: boolean;
  #kept: Buffer | undefined;
  #length = 0;

  /** `skips`: empty lines before the head are passed over, as RFC 9112 §2.2 asks of servers. */
  constructor(max: number, { skips }: { readonly skips: boolean }) {
    this.#max = max;
    this.#skips = skips;
  }

  /** Bytes of an unfinished head. */
  get pending(): number {
    return this.#length;
  }

  /** What is there of an unfinished head. */
  get partial(): Buffer {
    return this.#kept?.subarray(0, this.#length) ?? Buffer.alloc(0);
  }

  /**
   * @returns the offset in `chunk` behind the head; -1: more is needed, and all of it was kept; -2: it is larger than
   * allowed
   */
  push(chunk: Buffer, at: number): number {
    if (this.#length > 0) return this.#append(chunk, at);
    const start = this.#skips ? afterEmptyLines(chunk, at) : at;
    if (start === chunk.length) return -1;
    const found = chunk.indexOf(end, start);
    if (found < 0) return this.#append(chunk, start);
    if (found + end.length - start > this.#max) return -2;
    this.bytes = chunk;
    this.start = start;
    this.end = found + end.length;
    return this.end;
  }

  /** Forgets what was kept. */
  clear(): void {
    this.#kept = undefined;
    this.#length = 0;
  }

  #append(chunk: Buffer, at: number): number {
    const before = this.#length;
    const room = this.#max - before;
    const added = Math.min(chunk.length - at, room);
    const kept = this.#room(before + added);
    chunk.copy(kept, before, at, at + added);
    this.#length = before + added;
    if (before === 1 && this.#skips && kept[0] === cr && kept[1] === lf) {
      // The empty line that is passed over came in two pieces.
      this.clear();
      return this.push(chunk, at + 1);
    }
    const found = kept.subarray(0, this.#length).indexOf(end, Math.max(0, before - (end.length - 1)));
    if (found < 0) return this.#length >= this.#max ? -2 : -1;
    this.bytes = kept;
    this.start = 0;
    this.end = found + end.length;
    // The memory is the head's from now on.
    this.clear();
    return at + this.end - before;
  }

  #room(size: number): Buffer {
    const kept = this.#kept;
    if (kept && kept.length >= size) return kept;
    const larger = Buffer.allocUnsafeSlow(Math.max(firstRoom, size, 2 * (kept?.length ?? 0)));
    kept?.copy(larger, 0, 0, this.#length);
    this.#kept = larger;
    return larger;
  }
}

/** Whether a line feed stands alone, which no later byte can mend. */
export function hasBareLineFeed(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(lf); at >= 0; at = bytes.indexOf(lf, at + 1)) if (bytes[at - 1] !== cr) return true;
  return false;
}

/** Where something begins. */
function afterEmptyLines(bytes: Buffer, start: number): number {
  let at = start;
  while (bytes[at] === cr && bytes[at + 1] === lf) at += 2;
  return at;
}

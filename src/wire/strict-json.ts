import { IsthmusError } from '../model/error.ts';

/**
 * JSON of strangers, where `JSON.parse` would hide what matters: it rounds integers above 2^53, keeps the last of two
 * members of one name, and lets `__proto__` in. Objects are Maps here.
 */
export type StrictJson =
  | null
  | boolean
  | string
  | number
  /** An integer that a number cannot hold exactly. */
  | bigint
  | readonly StrictJson[]
  | StrictJsonObject;

export type StrictJsonObject = ReadonlyMap<string, StrictJson>;

export interface StrictJsonLimits {
  /** Encoded size. */
  readonly maxBytes: number;
  /** Default 8. */
  readonly maxDepth?: number;
}

/** An integer with more digits is refused: 64 bits need 20. */
const maxDigits = 40;

const space = /[ \t\n\r]*/y;
const numberToken = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const wordToken = /true|false|null/y;

/** @throws IsthmusError `corrupt` for anything but one JSON text within the limits, without a member twice */
export function parseStrictJson(what: string, bytes: Uint8Array, limits: StrictJsonLimits): StrictJson {
  const { maxBytes, maxDepth = 8 } = limits;
  if (bytes.length > maxBytes) {
    throw new IsthmusError('corrupt', `${what} of ${bytes.length} bytes is over the limit of ${maxBytes}`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new IsthmusError('corrupt', `${what} is not UTF-8`, { cause });
  }
  return new Reader(what, text, maxDepth).whole();
}

class Reader {
  readonly #what: string;
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;

  constructor(what: string, text: string, maxDepth: number) {
    this.#what = what;
    this.#text = text;
    this.#maxDepth = maxDepth;
  }

  whole(): StrictJson {
    const value = this.#value(0);
    this.#skip();
    if (this.#at < this.#text.length) throw this.#refuse('there is something after its end');
    return value;
  }

  #value(depth: number): StrictJson {
    if (depth > this.#maxDepth) throw this.#refuse(`it nests deeper than ${this.#maxDepth}`);
    this.#skip();
    const first = this.#text[this.#at];
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#array(depth);
    if (first === '"') return this.#string();
    const word = this.#token(wordToken)?.[0];
    if (word !== undefined) return word === 'null' ? null : word === 'true';
    return this.#number();
  }

  #object(depth: number): StrictJsonObject {
    const members = new Map<string, StrictJson>();
    this.#members('}', () => {
      const key = this.#string();
      if (members.has(key)) throw this.#refuse(`member '${key.slice(0, 100)}' stands twice`);
      this.#expect(':');
      members.set(key, this.#value(depth + 1));
    });
    return members;
  }

  #array(depth: number): readonly StrictJson[] {
    const items: StrictJson[] = [];
    this.#members(']', () => items.push(this.#value(depth + 1)));
    return items;
  }

  /** What stands between the present bracket and `end`, separated by commas. */
  #members(end: '}' | ']', read: () => void): void {
    this.#at += 1;
    this.#skip();
    if (this.#text[this.#at] === end) {
      this.#at += 1;
      return;
    }
    for (;;) {
      read();
      this.#skip();
      if (this.#text[this.#at] === end) break;
      this.#expect(',');
    }
    this.#at += 1;
  }

  #string(): string {
    this.#skip();
    const start = this.#at;
    const end = this.#text[start] === '"' ? this.#endOfString(start) : -1;
    if (end < 0) throw this.#refuse('a string is malformed');
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      throw this.#refuse('a string is malformed');
    }
  }

  /** Place of the quote that ends the string at `start`; negative: there is none. */
  #endOfString(start: number): number {
    let end = start;
    for (;;) {
      end = this.#text.indexOf('"', end + 1);
      let slashes = 0;
      while (this.#text[end - 1 - slashes] === '\\') slashes += 1;
      if (end < 0 || slashes % 2 === 0) return end;
    }
  }

  #number(): number | bigint {
    const match = this.#token(numberToken);
    if (!match) throw this.#refuse('a value is malformed');
    const [token, fraction, exponent] = match;
    const value = Number(token);
    if (fraction === undefined && exponent === undefined && !Number.isSafeInteger(value)) {
      if (token.length > maxDigits) throw this.#refuse(`an integer has more than ${maxDigits} digits`);
      return BigInt(token);
    }
    if (!Number.isFinite(value)) throw this.#refuse('a number is out of range');
    return value;
  }

  #expect(char: ':' | ','): void {
    this.#skip();
    if (this.#text[this.#at] !== char) throw this.#refuse(`'${char}' is missing`);
    this.#at += 1;
  }

  #skip(): void {
    this.#token(space);
  }

  #token(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (!match) return undefined;
    this.#at = pattern.lastIndex;
    return match;
  }

  #refuse(why: string): IsthmusError {
    return new IsthmusError('corrupt', `${this.#what} is refused: ${why} (at character ${this.#at})`);
  }
}

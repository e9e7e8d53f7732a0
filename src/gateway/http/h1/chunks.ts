import { cr, isFieldByte, isTokenByte, lf } from './bytes.ts';
import { FieldKind, FieldLines } from './fields.ts';

/** 2^48 and more does not occur; fewer digits leave no reader in doubt. */
const maxSizeDigits = 12;
/** Of one chunk. They have no use that is known; nothing is to be gained by long ones. */
const maxExtension = 256;
/** Of one body: a byte of data behind each long extension would keep a gateway busy for nothing. */
const maxExtensions = 16_384;

const semicolon = 0x3b;
const equals = 0x3d;
const quote = 0x22;
const backslash = 0x5c;

/** What stands in a trailer must not change how the message is read, where it goes, or who sent it (RFC 9110 §6.5.1). */
const forbidden: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'max-forwards',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const forbiddenPrefixes: readonly string[] = ['x-forwarded-', 'x-isthmus-', 'if-'];

type ExtensionState = 'extension name' | 'extension value' | 'quoted' | 'escaped' | 'after quoted';
type State = ExtensionState | 'size' | 'size lf' | 'data' | 'data cr' | 'data lf' | 'trailers';

/**
 * Follows a chunked body (RFC 9112 §7.1) without taking it apart: its bytes go on as they came, once they are known to
 * be what every reader takes them for.
 */
export class ChunkScanner {
  #state: State = 'size';
  #size = 0;
  #digits = 0;
  /** Of the present chunk. */
  #extension = 0;
  #extensions = 0;
  #named = false;
  /** What has come of the trailer section. */
  #trailers: Buffer | undefined;
  readonly #maxTrailer: number;
  readonly #maxFields: number;
  /** The last byte was seen. */
  done: boolean = false;
  /** Bytes of content so far. */
  content: number = 0;
  /** Told where content lies, for one who cannot read chunks. */
  onContent: ((start: number, end: number) => void) | undefined;

  constructor(limits: { readonly headBytes: number; readonly fields: number }) {
    this.#maxTrailer = limits.headBytes;
    this.#maxFields = limits.fields;
  }

  /** @returns the offset behind the last byte that belongs to the body, or what is wrong */
  take(bytes: Buffer, start: number): number | string {
    let at = start;
    while (at < bytes.length && !this.done) {
      if (this.#state === 'data') {
        const length = Math.min(this.#size, bytes.length - at);
        this.onContent?.(at, at + length);
        at += length;
        this.content += length;
        this.#size -= length;
        if (this.#size === 0) this.#state = 'data cr';
        continue;
      }
      if (this.#state === 'trailers') {
        const end = this.#takeTrailers(bytes, at);
        if (typeof end === 'string') return end;
        at = end;
        continue;
      }
      const fault = this.#step(bytes[at] ?? 0);
      if (fault !== undefined) return fault;
      at += 1;
    }
    return at;
  }

  #step(byte: number): string | undefined {
    const state = this.#state;
    switch (state) {
      case 'size':
        return this.#sizeByte(byte);
      case 'extension name':
      case 'extension value':
      case 'quoted':
      case 'escaped':
      case 'after quoted':
        return this.#extensionByte(state, byte);
      case 'size lf':
        if (byte !== lf) return 'A chunk size must end with CR and LF';
        this.#state = this.#size === 0 ? 'trailers' : 'data';
        return undefined;
      case 'data cr':
        if (byte !== cr) return 'A chunk must be as long as its size says';
        this.#state = 'data lf';
        return undefined;
      case 'data lf':
        if (byte !== lf) return 'A chunk must end with CR and LF';
        this.#state = 'size';
        this.#digits = 0;
        this.#extension = 0;
        return undefined;
      case 'data':
      case 'trailers':
        return undefined;
    }
  }

  #sizeByte(byte: number): string | undefined {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits += 1;
      if (this.#digits > maxSizeDigits) return 'A chunk size must have at most 12 digits';
      this.#size = this.#size * 16 + digit;
      return undefined;
    }
    if (this.#digits === 0) return 'A chunk must begin with its size';
    if (byte === cr) this.#state = 'size lf';
    else if (byte === semicolon) this.#begin();
    else return 'A chunk size must be hexadecimal digits';
    return undefined;
  }

  #begin(): void {
    this.#state = 'extension name';
    this.#named = false;
  }

  /** `;name`, `;name=token` or `;name="text"`, without blanks. */
  #extensionByte(state: ExtensionState, byte: number): string | undefined {
    this.#extension += 1;
    this.#extensions += 1;
    if (this.#extension > maxExtension || this.#extensions > maxExtensions) return 'A chunk extension is too long';
    switch (state) {
      case 'quoted':
        if (byte === quote) this.#state = 'after quoted';
        else if (byte === backslash) this.#state = 'escaped';
        else if (!isFieldByte(byte)) return extensionFault;
        return undefined;
      case 'escaped':
        if (!isFieldByte(byte)) return extensionFault;
        this.#state = 'quoted';
        return undefined;
      case 'extension value':
        if (byte === quote && !this.#named) this.#state = 'quoted';
        else if (isTokenByte(byte)) this.#named = true;
        else return this.#extensionEnd(byte);
        return undefined;
      case 'extension name':
        if (isTokenByte(byte)) this.#named = true;
        else if (byte === equals && this.#named) {
          this.#state = 'extension value';
          this.#named = false;
        } else return this.#extensionEnd(byte);
        return undefined;
      case 'after quoted':
        this.#named = true;
        return this.#extensionEnd(byte);
    }
  }

  #extensionEnd(byte: number): string | undefined {
    if (!this.#named) return extensionFault;
    if (byte === cr) this.#state = 'size lf';
    else if (byte === semicolon) this.#begin();
    else return extensionFault;
    return undefined;
  }

  /** The trailer section ends with an empty line, and nearly always is one. */
  #takeTrailers(bytes: Buffer, at: number): number | string {
    const before = this.#trailers;
    if (!before && bytes[at] === cr && bytes[at + 1] === lf) {
      this.done = true;
      return at + 2;
    }
    const held = before?.length ?? 0;
    const room = this.#maxTrailer - held;
    const all = Buffer.concat([before ?? empty, bytes.subarray(at, at + room)]);
    const end = all[0] === cr && all[1] === lf ? 2 : endOf(all);
    if (end < 0) {
      if (bytes.length - at >= room) return 'The trailers are too large';
      if (!mayGoOn(all)) return 'Every line must end with CR and LF';
      this.#trailers = all;
      return bytes.length;
    }
    const fields = new FieldLines(this.#maxFields);
    const fault = end === 2 ? undefined : (fields.scan(all, 0, end) ?? forbiddenIn(fields));
    if (fault !== undefined) return fault;
    this.#trailers = undefined;
    this.done = true;
    return at + end - held;
  }
}

const empty = Buffer.alloc(0);
const extensionFault = 'A chunk extension is not well-formed';

function endOf(bytes: Buffer): number {
  const found = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  return found < 0 ? -1 : found + 4;
}

/** Each line feed so far is the end of a line. */
function mayGoOn(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(lf); at >= 0; at = bytes.indexOf(lf, at + 1)) if (bytes[at - 1] !== cr) return false;
  return bytes[0] !== lf;
}

function forbiddenIn(fields: FieldLines): string | undefined {
  for (let index = 0; index < fields.count; index += 1) {
    const name = fields.name(index);
    const prefixed = forbiddenPrefixes.some((prefix) => name.startsWith(prefix));
    if (fields.kind(index) === FieldKind.isthmus || prefixed || forbidden.has(name)) {
      return 'A trailer must not hold fields that say how a message is to be read';
    }
  }
  return undefined;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

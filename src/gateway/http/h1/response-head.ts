import { cr, hasAt, isFieldByte, lf, space } from './bytes.ts';
import { type ConnectionOptions, connectionOptions, noOptions } from './connection-options.ts';
import { FieldKind, FieldLines } from './fields.ts';
import { type Framing, framingOf, noBody } from './framing.ts';

/** `HTTP/1.x` and a blank, then three digits. */
const version = 'HTTP/1.';
const digitsAt = 9;
const untilClose: Framing = { kind: 'close' };

/** The head of one response, read as strictly as `RequestHead`. Used again for each response of a connection. */
export class ResponseHead {
  readonly fields: FieldLines;
  bytes: Buffer = Buffer.alloc(0);
  start: number = 0;
  end: number = 0;
  /** Behind the status line. */
  fieldsStart: number = 0;
  status: number = 0;
  minor: 0 | 1 = 1;
  framing: Framing = noBody;
  connection: ConnectionOptions = noOptions;
  /** Seconds after which the server closes an idle connection, where it says so. */
  keepAliveS: number | undefined;

  constructor(limits: { readonly fields: number }) {
    this.fields = new FieldLines(limits.fields);
  }

  /** Whether the server takes another request on this connection after this response. */
  get keepsAlive(): boolean {
    if (this.framing.kind === 'close' || this.connection.close) return false;
    return this.minor === 1 || this.connection.keepAlive;
  }

  /** Not the last word: another response follows. */
  get interim(): boolean {
    return this.status < 200 && this.status !== 101;
  }

  /**
   * `start` to `end`: the whole head, its empty line included. `method`: of the request that it answers.
   * @returns undefined, or what is wrong
   */
  scan(bytes: Buffer, { start, end, method }: { start: number; end: number; method: string }): string | undefined {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    return this.#statusLine() ?? this.fields.scan(bytes, this.fieldsStart, end) ?? this.#meaning(method);
  }

  #statusLine(): string | undefined {
    const { bytes, start } = this;
    const minor = bytes[start + version.length];
    if (!hasAt(bytes, start, version)) return 'not HTTP/1';
    if ((minor !== 0x30 && minor !== 0x31) || bytes[start + digitsAt - 1] !== space) return 'not HTTP/1.0 or 1.1';
    const status = number(bytes, start + digitsAt);
    if (!(status >= 100 && status <= 599)) return 'no status from 100 to 599';
    let at = start + digitsAt + 3;
    // The blank before an empty reason is forgotten by some, and no harm is in it.
    if (bytes[at] === space)
      do at += 1;
      while (isFieldByte(bytes[at]));
    if (bytes[at] !== cr || bytes[at + 1] !== lf) return 'a status line with control characters';
    this.status = status;
    this.minor = minor === 0x30 ? 0 : 1;
    this.fieldsStart = at + 2;
    return undefined;
  }

  #meaning(method: string): string | undefined {
    const { fields, status } = this;
    let connection: string | undefined;
    this.keepAliveS = undefined;
    for (let index = 0; index < fields.count; index += 1) {
      const kind = fields.kind(index);
      if (kind === FieldKind.connection) {
        connection = connection === undefined ? fields.value(index) : `${connection},${fields.value(index)}`;
      } else if (kind === FieldKind.keepAlive) {
        const seconds = /(?:^|[,;]\s*)timeout=(\d{1,9})/i.exec(fields.value(index))?.[1];
        if (seconds !== undefined) this.keepAliveS = Number(seconds);
      }
    }
    const options = connection === undefined ? noOptions : connectionOptions(connection);
    if (!options) return 'a connection field that cannot be followed';
    this.connection = options;
    const framing = framingOf(fields, this.minor);
    if (framing?.kind === 'fault') return framing.reason;
    const bodiless = status < 200 || status === 204 || status === 304;
    // A length there is one of a body that was not sent; of one that is being sent it would hide another response.
    if (status < 200 && framing !== undefined) return 'a length where there is no body';
    if (status === 204 && (framing?.kind === 'chunked' || (framing?.kind === 'length' && framing.length > 0))) {
      return 'a length where there is no body';
    }
    this.framing = bodiless || method === 'HEAD' ? noBody : (framing ?? untilClose);
    return undefined;
  }
}

/** Three digits, else NaN. */
function number(bytes: Buffer, at: number): number {
  let value = 0;
  for (let index = at; index < at + 3; index += 1) {
    const digit = (bytes[index] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

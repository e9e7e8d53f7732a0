import { colon, cr, htab, isFieldByte, isTokenByte, lf, space, startsWithName } from './bytes.ts';

/** Fields that a gateway looks at; everything else is `other`. */
export const FieldKind = {
  other: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  /** `Keep-Alive` and `Proxy-Connection`: of this hop only, though nobody need name them. */
  hop: 5,
  expect: 6,
  upgrade: 7,
  te: 8,
  http2Settings: 9,
  userAgent: 10,
  cookie: 11,
  forwardedFor: 12,
  forwardedHost: 13,
  forwardedProto: 14,
  requestId: 15,
  traceparent: 16,
  tracestate: 17,
  /** `x-isthmus-…`: between gateways only. */
  isthmus: 18,
  trailer: 19,
  keepAlive: 20,
} as const;
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

/** By length, since nothing is cheaper to ask. */
const known: readonly (readonly (readonly [string, FieldKind])[] | undefined)[] = byLength([
  ['te', FieldKind.te],
  ['host', FieldKind.host],
  ['expect', FieldKind.expect],
  ['cookie', FieldKind.cookie],
  ['upgrade', FieldKind.upgrade],
  ['trailer', FieldKind.trailer],
  ['connection', FieldKind.connection],
  ['keep-alive', FieldKind.keepAlive],
  ['user-agent', FieldKind.userAgent],
  ['tracestate', FieldKind.tracestate],
  ['traceparent', FieldKind.traceparent],
  ['x-request-id', FieldKind.requestId],
  ['content-length', FieldKind.contentLength],
  ['http2-settings', FieldKind.http2Settings],
  ['x-forwarded-for', FieldKind.forwardedFor],
  ['x-forwarded-host', FieldKind.forwardedHost],
  ['proxy-connection', FieldKind.hop],
  ['x-forwarded-proto', FieldKind.forwardedProto],
  ['transfer-encoding', FieldKind.transferEncoding],
]);
const isthmusPrefix = 'x-isthmus-';

function byLength(fields: readonly (readonly [string, FieldKind])[]): (readonly [string, FieldKind])[][] {
  const lists: (readonly [string, FieldKind])[][] = [];
  for (const one of fields) (lists[one[0].length] ??= []).push(one);
  return lists;
}

function kindOf(bytes: Buffer, start: number, end: number): FieldKind {
  const length = end - start;
  const list = known[length];
  if (list) for (const [name, kind] of list) if (startsWithName(bytes, start, name)) return kind;
  return length > isthmusPrefix.length && startsWithName(bytes, start, isthmusPrefix)
    ? FieldKind.isthmus
    : FieldKind.other;
}

const perField = 4;
/** Most heads have no more; a connection that has seen a larger one keeps the room. */
const firstRoom = 16;

/** The field lines of one head as offsets into its bytes: no string is made of what nobody asks for. */
export class FieldLines {
  readonly #max: number;
  #offsets: Int32Array;
  #kinds: Uint8Array;
  #bytes: Buffer = Buffer.alloc(0);
  #count = 0;

  constructor(max: number) {
    this.#max = max;
    const room = Math.min(max, firstRoom);
    this.#offsets = new Int32Array(room * perField);
    this.#kinds = new Uint8Array(room);
  }

  get count(): number {
    return this.#count;
  }

  kind(index: number): FieldKind {
    return (this.#kinds[index] ?? 0) as FieldKind;
  }

  /** Where the line begins. */
  start(index: number): number {
    return this.#offsets[index * perField] ?? 0;
  }

  /** Behind the end of the line, that is at the next one. */
  end(index: number): number {
    return (this.#offsets[index * perField + 3] ?? 0) + 2;
  }

  name(index: number): string {
    const at = index * perField;
    return this.#bytes.toString('latin1', this.#offsets[at], this.#offsets[at + 1]).toLowerCase();
  }

  /** Without blanks around it. */
  value(index: number): string {
    const at = index * perField;
    const start = this.#offsets[at + 2] ?? 0;
    let end = this.#offsets[at + 3] ?? 0;
    while (end > start && isBlank(this.#bytes[end - 1])) end -= 1;
    return this.#bytes.toString('latin1', start, end);
  }

  /** Whether there is a tab in the line: to some readers it is no blank. */
  hasTab(index: number): boolean {
    const found = this.#bytes.indexOf(htab, this.start(index));
    return found >= 0 && found < this.end(index);
  }

  /**
   * Reads all lines from `start` up to the empty line, which ends at `end`. The bytes must stay as they are while this
   * is used.
   * @returns undefined, or what is wrong: RFC 9112 §5, with nothing forgiven
   */
  scan(bytes: Buffer, start: number, end: number): string | undefined {
    this.#bytes = bytes;
    this.#count = 0;
    const last = end - 2;
    let at = start;
    while (at < last) {
      if (this.#count >= this.#max) return tooMany;
      if (this.#count === this.#kinds.length) this.#grow();
      const nameStart = at;
      while (isTokenByte(bytes[at])) at += 1;
      if (bytes[at] !== colon || at === nameStart) return nameFault(bytes[at], at === nameStart);
      const nameEnd = at;
      at += 1;
      while (isBlank(bytes[at])) at += 1;
      const valueStart = at;
      while (isFieldByte(bytes[at])) at += 1;
      if (bytes[at] !== cr || bytes[at + 1] !== lf) return lineFault(bytes[at]);
      const offset = this.#count * perField;
      this.#offsets[offset] = nameStart;
      this.#offsets[offset + 1] = nameEnd;
      this.#offsets[offset + 2] = valueStart;
      this.#offsets[offset + 3] = at;
      this.#kinds[this.#count] = kindOf(bytes, nameStart, nameEnd);
      this.#count += 1;
      at += 2;
    }
    return at === last ? undefined : 'A field line does not end where the head does';
  }

  #grow(): void {
    const room = Math.min(this.#max, 2 * this.#kinds.length);
    const offsets = new Int32Array(room * perField);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const kinds = new Uint8Array(room);
    kinds.set(this.#kinds);
    this.#kinds = kinds;
  }
}

/** The only fault that is one of size. */
export const tooMany = 'There are too many header fields';

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === htab;
}

function nameFault(byte: number | undefined, empty: boolean): string {
  if (empty && isBlank(byte)) return 'A header field must not be folded over several lines';
  if (isBlank(byte)) return 'There must be no blank before the colon of a header field';
  return 'A header field must have a name of letters, digits and -, and a colon';
}

function lineFault(byte: number | undefined): string {
  return byte === cr || byte === lf
    ? 'Every line must end with CR and LF'
    : 'A header field must not hold control characters';
}

import {
  expectationUnknown,
  headTooLarge,
  malformed,
  notImplemented,
  type Reply,
  targetTooLong,
  versionUnknown,
} from '../reply.ts';
import { cr, hasAt, isTargetByte, isTokenByte, lf, space } from './bytes.ts';
import { type ConnectionOptions, connectionOptions, noOptions } from './connection-options.ts';
import { FieldKind, FieldLines, tooMany } from './fields.ts';
import { type Framing, framingOf, noBody } from './framing.ts';

export interface RequestLimits {
  readonly targetBytes: number;
  readonly fields: number;
}

const maxMethod = 32;
/** `HTTP/1.`, then the minor version. */
const version = 'HTTP/1.';
/** RFC 3986 §3.2.2 and §3.2.3: a name, an IPv4 or a bracketed IPv6 address, with or without a port. */
const authorityForm = /^(?:[A-Za-z0-9\-._~%!$&'()*+,;=]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?$/;

/** The target of a request (RFC 9112 §3.2) as everyone who comes after must see it. */
type TargetForm = 'origin' | 'absolute' | 'asterisk';

/**
 * The head of one request, read strictly: RFC 9112 §2 to §7 with nothing forgiven, since whatever two readers may
 * understand differently hides one request inside another. Used again for each request of a connection; valid until the
 * next `scan`, and as long as the bytes stay.
 */
export class RequestHead {
  readonly fields: FieldLines;
  bytes: Buffer = Buffer.alloc(0);
  start: number = 0;
  /** Behind the request line. */
  fieldsStart: number = 0;
  method: string = '';
  /** In origin form, or `*`. */
  target: string = '';
  minor: 0 | 1 = 1;
  /** Undefined: a request of HTTP/1.0 that names no host. */
  authority: string | undefined;
  framing: Framing = noBody;
  connection: ConnectionOptions = noOptions;
  expectsContinue: boolean = false;
  /** Protocols that the client would change to; undefined: none that may be asked for. */
  upgrade: string | undefined;
  readonly #limits: RequestLimits;
  #form: TargetForm = 'origin';

  constructor(limits: RequestLimits) {
    this.#limits = limits;
    this.fields = new FieldLines(limits.fields);
  }

  /** Whether the client would send another request on this connection (RFC 9112 §9.3). */
  get keepsAlive(): boolean {
    return this.minor === 1 ? !this.connection.close : this.connection.keepAlive && !this.connection.close;
  }

  /** Whether the request line says what an upstream is to be told, byte for byte. */
  get lineStays(): boolean {
    return this.minor === 1 && this.#form !== 'absolute';
  }

  /** Value of the first field of that kind. */
  first(kind: FieldKind): string | undefined {
    const { fields } = this;
    for (let index = 0; index < fields.count; index += 1) if (fields.kind(index) === kind) return fields.value(index);
    return undefined;
  }

  /** Values of all fields of that kind. */
  all(kind: FieldKind): readonly string[] {
    const { fields } = this;
    const values: string[] = [];
    for (let index = 0; index < fields.count; index += 1)
      if (fields.kind(index) === kind) values.push(fields.value(index));
    return values;
  }

  /** Value of the only field of that name, which is in lower case; undefined: none, or several. */
  named(name: string): string | undefined {
    const { fields } = this;
    let found: string | undefined;
    for (let index = 0; index < fields.count; index += 1) {
      if (fields.end(index) - fields.start(index) < name.length || fields.name(index) !== name) continue;
      if (found !== undefined) return undefined;
      found = fields.value(index);
    }
    return found;
  }

  /** `start` to `end`: the whole head, its empty line included. Undefined: it is one. */
  scan(bytes: Buffer, start: number, end: number): Reply | undefined {
    this.bytes = bytes;
    this.start = start;
    return this.#requestLine(start) ?? this.#fieldLines(end) ?? this.#meaning();
  }

  #requestLine(start: number): Reply | undefined {
    const { bytes } = this;
    let at = start;
    while (isTokenByte(bytes[at])) at += 1;
    if (at === start || at - start > maxMethod || bytes[at] !== space) {
      return malformed('A request must begin with a method, its target and the version, one blank between them');
    }
    const method = methodAt(bytes, start, at);
    const targetStart = at + 1;
    at = targetStart;
    while (isTargetByte(bytes[at])) at += 1;
    if (at - targetStart > this.#limits.targetBytes) return targetTooLong;
    if (at === targetStart || bytes[at] !== space) return malformed('The request target is not well-formed');
    const versionStart = at + 1;
    const minor = bytes[versionStart + version.length];
    const lineEnd = versionStart + version.length + 1;
    const wellFormed = bytes[lineEnd] === cr && bytes[lineEnd + 1] === lf;
    if (!hasAt(bytes, versionStart, version) || !wellFormed) {
      return /^HTTP\/\d\.\d\r\n$/.test(bytes.toString('latin1', versionStart, versionStart + 10))
        ? versionUnknown
        : malformed('The request line must end with the version');
    }
    if (minor !== 0x30 && minor !== 0x31) return versionUnknown;
    this.method = method;
    this.minor = minor === 0x30 ? 0 : 1;
    this.fieldsStart = lineEnd + 2;
    return this.#target(bytes.toString('latin1', targetStart, at));
  }

  #target(target: string): Reply | undefined {
    const { method } = this;
    this.authority = undefined;
    if (method === 'CONNECT') return notImplemented('There is no CONNECT here');
    if (target.startsWith('/')) {
      this.#form = 'origin';
      this.target = target;
      return undefined;
    }
    if (target === '*') {
      if (method !== 'OPTIONS') return malformed("The target '*' is for OPTIONS only");
      this.#form = 'asterisk';
      this.target = target;
      return undefined;
    }
    const match = /^http:\/\/([^/?]*)([/?].*)?$/i.exec(target);
    if (!match) return malformed('The request target must be a path');
    const [, authority = '', rest = ''] = match;
    this.#form = 'absolute';
    this.authority = authority;
    if (rest === '' && method === 'OPTIONS') this.target = '*';
    else this.target = rest.startsWith('/') ? rest : `/${rest}`;
    return undefined;
  }

  #fieldLines(end: number): Reply | undefined {
    const fault = this.fields.scan(this.bytes, this.fieldsStart, end);
    if (fault === undefined) return undefined;
    return fault === tooMany ? headTooLarge(fault) : malformed(fault);
  }

  #meaning(): Reply | undefined {
    const framing = framingOf(this.fields, this.minor);
    if (framing?.kind === 'fault') {
      return framing.unknown ? notImplemented(framing.reason) : malformed(framing.reason);
    }
    this.framing = framing ?? noBody;
    return this.#host() ?? this.#connection();
  }

  /** RFC 9112 §3.2: one host, and the same as the target's. */
  #host(): Reply | undefined {
    const { fields } = this;
    let host: string | undefined;
    for (let index = 0; index < fields.count; index += 1) {
      if (fields.kind(index) !== FieldKind.host) continue;
      if (host !== undefined) return malformed('There must be one host');
      host = fields.value(index);
    }
    if (host === undefined) return this.minor === 0 ? this.#absoluteAuthority() : malformed('There must be a host');
    if (!authorityForm.test(host)) return malformed('The host must be a name or an address, with or without a port');
    if (this.#form === 'absolute' && this.authority?.toLowerCase() !== host.toLowerCase()) {
      return malformed('The host must be the one of the request target');
    }
    this.authority = host;
    return undefined;
  }

  #absoluteAuthority(): Reply | undefined {
    if (this.authority === undefined || authorityForm.test(this.authority)) return undefined;
    return malformed('The request target must name a host');
  }

  #connection(): Reply | undefined {
    const { fields } = this;
    let connection: string | undefined;
    let upgrade: string | undefined;
    let expect: string | undefined;
    for (let index = 0; index < fields.count; index += 1) {
      const kind = fields.kind(index);
      if (kind === FieldKind.connection) connection = joined(connection, fields.value(index));
      else if (kind === FieldKind.upgrade) upgrade = joined(upgrade, fields.value(index));
      else if (kind === FieldKind.expect) expect = joined(expect, fields.value(index));
    }
    const options = connection === undefined ? noOptions : connectionOptions(connection);
    if (!options) return malformed('The connection field must not name fields that a message needs');
    this.connection = options;
    // A body beside it would leave open where the other protocol begins.
    const mayUpgrade = options.upgrade && this.minor === 1 && this.framing.kind === 'none';
    // HTTP/2 must not begin behind a gateway that goes on in HTTP/1.1.
    this.upgrade = mayUpgrade && upgrade !== undefined && !/h2c/i.test(upgrade) ? upgrade : undefined;
    this.expectsContinue = false;
    if (expect === undefined) return undefined;
    if (expect.toLowerCase() !== '100-continue') return expectationUnknown;
    // RFC 9110 §10.1.1: from a client of HTTP/1.0 it means nothing; without a body there is nothing to wait for.
    this.expectsContinue = this.minor === 1 && this.framing.kind !== 'none';
    return undefined;
  }
}

/** What nearly all requests say is not made a string each time. */
function methodAt(bytes: Buffer, start: number, end: number): string {
  if (end - start === 3 && hasAt(bytes, start, 'GET')) return 'GET';
  if (end - start === 4 && hasAt(bytes, start, 'POST')) return 'POST';
  return bytes.toString('latin1', start, end);
}

function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before},${value}`;
}

/**
 * Heads of HTTP/2 requests and responses (RFC 9113 §8). The library below has judged the frames; what goes on from here
 * may be written into HTTP/1.1, so every field is judged once more, strictly, before anything is done with it.
 */

/** Names and values by turns, in the order in which they came, duplicates kept: `[name, value, name, value, …]`. */
export type RawFields = readonly string[];

export interface H2RequestHead {
  readonly method: string;
  /** `http` or `https`, as the client said. */
  readonly scheme: string;
  /** `:authority`, else `host`. */
  readonly authority: string;
  /** Origin form, or `*` with OPTIONS. */
  readonly path: string;
  /** Without pseudo-header fields and without `host`. */
  readonly fields: RawFields;
  readonly contentLength: number | undefined;
}

export interface H2ResponseHead {
  readonly status: number;
  readonly fields: RawFields;
  readonly contentLength: number | undefined;
}

/** A head that must not be forwarded. `detail` names the rule, never the value. */
export interface BadHead {
  readonly ok: false;
  readonly status: 400 | 501;
  readonly detail: string;
}

export type RequestHeadResult = { readonly ok: true; readonly head: H2RequestHead } | BadHead;

/** RFC 9110 §5.6.2, without upper case (RFC 9113 §8.2.1). */
const fieldName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 9110 §9.1: methods are tokens, and case-sensitive. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 §5.5: visible characters, bytes above ASCII, blanks inside only. */
const fieldValue = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
/** RFC 3986 §3.3 and §3.4 as servers take them: visible ASCII, no fragment. */
const originForm = /^\/[\x21\x22\x24-\x7e]*$/;
/** Host and port, no user (RFC 9113 §8.3.1). */
const authorityForm = /^(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/;
const digits = /^[0-9]{1,15}$/;
/** RFC 9113 §8.2.2: of one connection, so of none in HTTP/2. */
const connectionFields: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

const bad = (detail: string, status: BadHead['status'] = 400): BadHead => ({ ok: false, status, detail });

/** Never throws. `raw`: as the client sent it, pseudo-header fields first. */
export function readRequestHead(raw: RawFields): RequestHeadResult {
  const pseudo = new Map<string, string>();
  const fields: string[] = [];
  let host: string | undefined;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name.startsWith(':')) {
      if (fields.length > 0 || host !== undefined) return bad('a pseudo-header field after other fields');
      if (pseudo.has(name)) return bad(`${shown(name)} twice`);
      pseudo.set(name, value);
      continue;
    }
    const fault = faultOf(name, value);
    if (fault !== undefined) return bad(fault);
    if (name !== 'host') fields.push(name, value);
    else if (host === undefined) host = value;
    else return bad('host twice');
  }
  return judgeRequest(pseudo, fields, host);
}

function judgeRequest(
  pseudo: ReadonlyMap<string, string>,
  fields: RawFields,
  host: string | undefined,
): RequestHeadResult {
  const method = pseudo.get(':method') ?? '';
  if (!token.test(method)) return bad(':method is not a token');
  if (method === 'CONNECT' || pseudo.has(':protocol')) return bad('CONNECT is not served here', 501);
  const scheme = pseudo.get(':scheme');
  if (scheme !== 'http' && scheme !== 'https') return bad(':scheme is neither http nor https');
  const path = pseudo.get(':path') ?? '';
  const asterisk = path === '*' && method === 'OPTIONS';
  if (!asterisk && !originForm.test(path)) return bad(':path is not in origin form');
  for (const name of pseudo.keys()) if (!requestPseudo.has(name)) return bad('an unknown pseudo-header field');
  const authority = pseudo.get(':authority') ?? host;
  if (authority === undefined || !authorityForm.test(authority)) return bad(':authority is not <host>:<port>');
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase()) return bad('host is not :authority');
  const length = contentLengthOf(fields);
  if (length === false) return bad('content-length is not one number');
  return { ok: true, head: { method, scheme, authority, path, fields, contentLength: length } };
}

const requestPseudo: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority']);

/** Undefined: it must not be forwarded. Never throws. `raw`: as an upstream sent it. */
export function readResponseHead(raw: RawFields): H2ResponseHead | undefined {
  const fields: string[] = [];
  let status = 0;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === ':status' && index === 0 && /^[1-9][0-9]{2}$/.test(value)) status = Number(value);
    else if (faultOf(name, value) !== undefined) return undefined;
    else fields.push(name, value);
  }
  const contentLength = contentLengthOf(fields);
  return status === 0 || contentLength === false ? undefined : { status, fields, contentLength };
}

/** Trailer fields in HTTP/2 (RFC 9113 §8.1): no pseudo-header fields, nothing that frames or routes the message. */
export function readTrailers(raw: RawFields): RawFields {
  const fields: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (faultOf(name, value) === undefined && !forbiddenTrailers.has(name)) fields.push(name, value);
  }
  return fields;
}

/** RFC 9110 §6.5.1: what must not come after the content. */
const forbiddenTrailers: ReadonlySet<string> = new Set([
  'content-length',
  'host',
  'te',
  'trailer',
  'content-encoding',
  'content-type',
  'content-range',
  'authorization',
  'cookie',
  'set-cookie',
]);

/** Of all names and values together. */
export function bytesOf(fields: RawFields): number {
  let bytes = 0;
  for (const text of fields) bytes += text.length;
  return bytes;
}

/** The first value of a field. `name` in lower case. */
export function fieldOf(fields: RawFields, name: string): string | undefined {
  for (let index = 0; index < fields.length; index += 2) if (fields[index] === name) return fields[index + 1];
  return undefined;
}

/** All values of a field, in their order. */
export function fieldsOf(fields: RawFields, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < fields.length; index += 2)
    if (fields[index] === name) values.push(fields[index + 1] ?? '');
  return values;
}

/** Why one field must not be forwarded; undefined: it may. */
function faultOf(name: string, value: string): string | undefined {
  if (!fieldName.test(name)) return 'a field name that is no lower-case token';
  if (!fieldValue.test(value)) return `${shown(name)} has a value with characters that no field may have`;
  if (connectionFields.has(name)) return `${name} in HTTP/2`;
  return name === 'te' && value !== 'trailers' ? 'te other than trailers' : undefined;
}

/** False: there are several, or it is no number. */
function contentLengthOf(fields: RawFields): number | undefined | false {
  let length: number | undefined;
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index] !== 'content-length') continue;
    const value = fields[index + 1] ?? '';
    if (length !== undefined || !digits.test(value)) return false;
    length = Number(value);
  }
  return length;
}

/** Of a name that a client chose, no more than this. */
function shown(name: string): string {
  return name.slice(0, 40).replace(/[^\x21-\x7e]/g, '?');
}

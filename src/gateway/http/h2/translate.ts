import { fieldsOf, type H2RequestHead, type RawFields } from './head.ts';

/**
 * Requests of HTTP/2 clients for upstreams of HTTP/1.1, and their responses back (RFC 9113 §8.2.2, RFC 9112). What
 * frames a message or concerns one connection is made anew on each side, never copied.
 */

/** Of one connection in HTTP/1.1, whether `connection` names them or not. */
const hopFields: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
]);

/**
 * Of a request only. An expectation is met by whoever speaks to the client; trailers do not go on, so that none are
 * promised; cookies are put together.
 */
const unsaid: ReadonlySet<string> = new Set(['expect', 'trailer', 'cookie']);

/** Fields of the request in HTTP/1.1, `host` first; its body's framing is left to whoever writes it. */
export function toH1Fields({ authority }: H2RequestHead, fields: RawFields): string[] {
  const all = ['host', authority];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    if (!hopFields.has(name) && !unsaid.has(name)) all.push(name, fields[index + 1] ?? '');
  }
  // RFC 9113 §8.2.3: what HTTP/2 may split is one field in HTTP/1.1.
  const cookies = fieldsOf(fields, 'cookie');
  if (cookies.length > 0) all.push('cookie', cookies.join('; '));
  return all;
}

/** Fields of a response as HTTP/2 has them: lower case, without those of the connection. */
export function fromH1Fields(raw: RawFields): RawFields {
  const lower = raw.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text.trim()));
  const named = new Set(fieldsOf(lower, 'connection').flatMap((value) => value.split(',').map(lowerTrimmed)));
  const fields: string[] = [];
  for (let index = 0; index + 1 < lower.length; index += 2) {
    const name = lower[index] ?? '';
    if (!hopFields.has(name) && !named.has(name)) fields.push(name, lower[index + 1] ?? '');
  }
  return fields;
}

function lowerTrimmed(text: string): string {
  return text.trim().toLowerCase();
}

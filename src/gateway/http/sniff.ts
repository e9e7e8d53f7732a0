/** The client's side of an HTTP/2 connection begins with these bytes (RFC 9113 §3.4). */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** A first line that is longer is none that detection knows: nothing more is held back. */
const maxLine = 4096;
const firstLine =
  /^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH) (?:\/|\*|https?:\/\/)[\x21-\x7e]* HTTP\/1\.[01]\r\n/;
const longestMethod = 'OPTIONS '.length;
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH'].map(
  (method) => `${method} `,
);

/** `more`: too little has come to tell. */
export type Sniffed = 'h1' | 'h2' | 'other' | 'more';

/** Whether these first bytes begin an HTTP/2 connection. Decides at the first byte that does not fit. */
export function sniffH2(bytes: Buffer): 'h2' | 'other' | 'more' {
  const length = Math.min(bytes.length, preface.length);
  if (bytes.compare(preface, 0, length, 0, length) !== 0) return 'other';
  return length === preface.length ? 'h2' : 'more';
}

/**
 * What a client speaks that nobody has named, by its first bytes: HTTP only when its whole first line says so, since
 * other protocols have words like `GET` too. Never waits once no more bytes could make it HTTP.
 */
export function sniff(bytes: Buffer): Sniffed {
  const h2 = sniffH2(bytes);
  if (h2 !== 'other') return h2;
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, maxLine));
  if (!methods.some((method) => method.startsWith(text.slice(0, longestMethod)) || text.startsWith(method))) {
    return 'other';
  }
  const end = text.indexOf('\n');
  if (end >= 0) return firstLine.test(text.slice(0, end + 1)) ? 'h1' : 'other';
  return bytes.length >= maxLine ? 'other' : 'more';
}

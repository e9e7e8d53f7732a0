/** The path of a request as rules are compared with it, or why it cannot be compared. */
export type ReadPath =
  | { readonly ok: true; readonly path: string }
  /** Completes the sentence "the path …". */
  | { readonly ok: false; readonly reason: string };

/** `/` and what a path may have unencoded (RFC 3986 §3.3, pchar), `;` and `%` among it. */
const characters = /^\/[-A-Za-z0-9._~!$&'()*+,;=:@%/]*$/;
/** What a segment must not come to when it is decoded: whoever decodes first and splits later would read it otherwise. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const misleading = /[/\\%;?#\u0000-\u001f\u007f-\u009f]/;

/**
 * Decodes the path of a request target in origin form. Gateways hand requests on as they came, so that a path which two
 * readers may take for two resources (RFC 3986 §6.2.2: dot segments, needless escapes of delimiters; beyond it, empty
 * segments, path parameters, backslashes) is not judged at all. `*` (RFC 9112 §3.2.4) is no path below any prefix. Case
 * counts. Never throws.
 */
export function readPath(target: string): ReadPath {
  if (target === '*') return { ok: true, path: target };
  const end = target.indexOf('?');
  const raw = end < 0 ? target : target.slice(0, end);
  if (!raw.startsWith('/')) return no('does not begin with /');
  if (!characters.test(raw)) return no('has a character that must be percent-encoded');
  const segments = raw.slice(1).split('/');
  const decoded: string[] = [];
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    const read = readSegment(segment, last);
    if (!read.ok) return read;
    decoded.push(read.path);
  }
  return { ok: true, path: `/${decoded.join('/')}` };
}

function readSegment(segment: string, last: boolean): ReadPath {
  if (segment === '') return last ? { ok: true, path: '' } : no('has an empty segment');
  const text = decode(segment);
  if (text === undefined) return no('is not percent-encoded UTF-8');
  if (text === '.' || text === '..') return no('has a dot segment');
  if (text.includes(';')) return no('has path parameters');
  if (misleading.test(text)) return no('has an encoded delimiter');
  return { ok: true, path: text };
}

function no(reason: string): ReadPath {
  return { ok: false, reason };
}

function decode(segment: string): string | undefined {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/** Whether a path is that of the prefix or below it; both as `readPath` gives them. */
export function isBelow(path: string, prefix: string): boolean {
  if (prefix === '/') return path.startsWith('/');
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/');
}

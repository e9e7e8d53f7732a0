import type { FieldKind as Kind } from './fields.ts';
import { FieldKind } from './fields.ts';
import type { RequestHead } from './request-head.ts';

/** What the gateway adds to a request. */
export interface RequestAdditions {
  /** Of a request that names none. */
  readonly host: string;
  /**
   * Address of the client, which is added to `x-forwarded-for`; `x-forwarded-proto` and `x-forwarded-host` come beside
   * it where they are missing. Undefined: the gateway of the client's own cluster has done that.
   */
  readonly clientAddress: string | undefined;
  /** Instead of what the client sent, if it did; undefined: that is good enough. */
  readonly requestId: string | undefined;
  /** Whether trace headers are the gateway's own business, each attempt having its own. */
  readonly traced: boolean;
}

/** Which fields do not go on as they are; a function of the kind alone, looked up by number. */
const dropped: readonly boolean[] = kinds([
  FieldKind.connection,
  FieldKind.keepAlive,
  FieldKind.hop,
  FieldKind.te,
  FieldKind.http2Settings,
  FieldKind.isthmus,
  FieldKind.upgrade,
]);
const trace: readonly boolean[] = kinds([FieldKind.traceparent, FieldKind.tracestate]);

function kinds(of: readonly Kind[]): boolean[] {
  const table: boolean[] = [];
  for (const kind of of) table[kind] = true;
  return table;
}

/**
 * The head as it goes to an upstream, without its last empty line, so that an attempt can add its own. Lines that stay
 * are copied as they were validated; a request line in absolute form or of HTTP/1.0, and all of this hop, is written
 * anew.
 */
export function forwardedRequest(head: RequestHead, additions: RequestAdditions): string {
  const { fields, bytes, connection, upgrade } = head;
  const { named } = connection;
  const { traced, clientAddress, requestId } = additions;
  let text = head.lineStays ? '' : `${head.method} ${head.target} HTTP/1.1\r\n`;
  let forwardedFor = '';
  let [hasHost, hasForwardedHost, hasForwardedProto] = [false, false, false];
  let from = head.lineStays ? head.start : head.fieldsStart;
  for (let index = 0; index < fields.count; index += 1) {
    const kind = fields.kind(index);
    if (kind === FieldKind.host) hasHost = true;
    else if (kind === FieldKind.forwardedHost) hasForwardedHost = true;
    else if (kind === FieldKind.forwardedProto) hasForwardedProto = true;
    else if (kind === FieldKind.forwardedFor) forwardedFor += `${fields.value(index)}, `;
    const leaves =
      dropped[kind] === true ||
      (traced && trace[kind] === true) ||
      (named.size > 0 && named.has(fields.name(index))) ||
      (kind === FieldKind.forwardedFor && clientAddress !== undefined) ||
      (kind === FieldKind.requestId && requestId !== undefined) ||
      (kind === FieldKind.expect && !head.expectsContinue);
    if (!leaves) continue;
    const start = fields.start(index);
    if (start > from) text += bytes.toString('latin1', from, start);
    from = fields.end(index);
  }
  const end = fields.count === 0 ? head.fieldsStart : fields.end(fields.count - 1);
  if (end > from) text += bytes.toString('latin1', from, end);
  const host = head.authority ?? additions.host;
  if (!hasHost) text += `host: ${host}\r\n`;
  if (clientAddress !== undefined) {
    text += `x-forwarded-for: ${forwardedFor}${clientAddress}\r\n`;
    if (!hasForwardedProto) text += 'x-forwarded-proto: http\r\n';
    if (!hasForwardedHost) text += `x-forwarded-host: ${host}\r\n`;
  }
  if (requestId !== undefined) text += `x-request-id: ${requestId}\r\n`;
  if (upgrade !== undefined) text += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  return text;
}

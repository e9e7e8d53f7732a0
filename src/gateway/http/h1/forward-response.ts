import { FieldKind } from './fields.ts';
import type { ResponseHead } from './response-head.ts';

/** What the client of a response must be told by the gateway. */
export interface ResponseAdditions {
  /** The connection ends after this response. */
  readonly close: boolean;
  /** The client speaks HTTP/1.0, which keeps a connection only when told, and knows no chunks. */
  readonly old: boolean;
  /** Where it came from, for a client that has asked. */
  readonly servedBy: string | undefined;
}

/** Fields of one hop. */
const dropped: readonly boolean[] = dropTable();

function dropTable(): boolean[] {
  const table: boolean[] = [];
  for (const kind of [
    FieldKind.connection,
    FieldKind.keepAlive,
    FieldKind.hop,
    FieldKind.upgrade,
    FieldKind.isthmus,
    FieldKind.http2Settings,
  ]) {
    table[kind] = true;
  }
  return table;
}

/**
 * The head as it goes to the client, or undefined: as it came, byte for byte. That is so when nothing is of this hop
 * only, besides a `Connection: keep-alive`, which the gateway says too.
 */
export function forwardedResponse(head: ResponseHead, additions: ResponseAdditions): string | undefined {
  const { close, old, servedBy } = additions;
  if (!close && !old && servedBy === undefined && head.minor === 1 && staysAsItIs(head)) return undefined;
  const { fields, bytes, start, fieldsStart, connection } = head;
  const { named } = connection;
  const unchunked = old && head.framing.kind === 'chunked';
  let text = `HTTP/1.1${bytes.toString('latin1', start + 'HTTP/1.1'.length, fieldsStart)}`;
  let from = fieldsStart;
  let upgrade: string | undefined;
  for (let index = 0; index < fields.count; index += 1) {
    const kind = fields.kind(index);
    if (kind === FieldKind.upgrade) upgrade = fields.value(index);
    const leaves =
      dropped[kind] === true ||
      (named.size > 0 && named.has(fields.name(index))) ||
      (unchunked && (kind === FieldKind.transferEncoding || kind === FieldKind.trailer));
    if (!leaves) continue;
    const lineStart = fields.start(index);
    if (lineStart > from) text += bytes.toString('latin1', from, lineStart);
    from = fields.end(index);
  }
  const end = fields.count === 0 ? from : fields.end(fields.count - 1);
  if (end > from) text += bytes.toString('latin1', from, end);
  if (head.status === 101) text += `connection: upgrade\r\nupgrade: ${upgrade ?? ''}\r\n`;
  else if (close) text += 'connection: close\r\n';
  else if (old) text += 'connection: keep-alive\r\n';
  if (servedBy !== undefined) text += `x-isthmus-served-by: ${servedBy}\r\n`;
  return `${text}\r\n`;
}

function staysAsItIs({ fields, connection, status }: ResponseHead): boolean {
  if (connection.close || connection.upgrade || connection.named.size > 0 || status === 101) return false;
  for (let index = 0; index < fields.count; index += 1) {
    const kind = fields.kind(index);
    if (dropped[kind] === true && kind !== FieldKind.connection) return false;
  }
  return true;
}

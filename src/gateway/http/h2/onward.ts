import type { TraceFields } from '../trace/tracer.ts';
import { fieldOf, fieldsOf, type H2RequestHead, type RawFields } from './head.ts';

/** What a gateway adds to a request on its way on. */
export interface OnwardFacts {
  /** Of the client, without its port; undefined: the gateway of the client's own cluster has said it. */
  readonly clientAddress: string | undefined;
  /** For a request that has none. */
  readonly requestId: () => string;
  /** Traces are followed here, so that every try says its own. */
  readonly traced: boolean;
}

/** The head of a request as it is sent on, but for what each try says anew. */
export interface OnwardHead {
  readonly fields: string[];
  readonly requestId: string;
  readonly forwardedFor: string | undefined;
}

/** Looked at below, so not among what is copied. */
const replaced: ReadonlySet<string> = new Set(['x-forwarded-for', 'x-request-id', 'http2-settings']);
const traceNames: ReadonlySet<string> = new Set(['traceparent', 'tracestate']);
/** Between gateways only. */
const isthmusPrefix = 'x-isthmus-';
const requestIdForm = /^[\x21-\x7e]{1,200}$/;

/**
 * Fields without pseudo-header fields, in their order: nothing that only gateways may say, and what tells the upstream
 * of its client as in HTTP/1.1 (docs/adr/0010): `x-forwarded-for` grows by the client's address, host and protocol come
 * beside it where they are missing, a request id is made where there is none of use.
 */
export function onwardFields(head: H2RequestHead, { clientAddress, requestId, traced }: OnwardFacts): OnwardHead {
  const fields: string[] = [];
  const { fields: raw } = head;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const leaves =
      replaced.has(name) ||
      name === 'grpc-timeout' ||
      name.startsWith(isthmusPrefix) ||
      (traced && traceNames.has(name));
    if (!leaves) fields.push(name, raw[index + 1] ?? '');
  }
  const before = fieldsOf(raw, 'x-forwarded-for');
  if (clientAddress !== undefined) {
    before.push(clientAddress);
    if (fieldOf(raw, 'x-forwarded-proto') === undefined) fields.push('x-forwarded-proto', 'http');
    if (fieldOf(raw, 'x-forwarded-host') === undefined) fields.push('x-forwarded-host', head.authority);
  }
  const forwardedFor = before.length === 0 ? undefined : before.join(', ');
  if (forwardedFor !== undefined) fields.push('x-forwarded-for', forwardedFor);
  const given = fieldOf(raw, 'x-request-id');
  const id = given !== undefined && requestIdForm.test(given) ? given : requestId();
  fields.push('x-request-id', id);
  return { fields, requestId: id, forwardedFor };
}

/** What one try says beside all the others. `grpcTimeout`: what is left of the caller's deadline. */
export interface TryFields {
  readonly trace: TraceFields | undefined;
  readonly grpcTimeout: string | undefined;
}

export function withTryFields(fields: RawFields, { trace, grpcTimeout }: TryFields): RawFields {
  if (!trace && grpcTimeout === undefined) return fields;
  const all = [...fields];
  if (grpcTimeout !== undefined) all.push('grpc-timeout', grpcTimeout);
  if (trace) all.push('traceparent', trace.traceparent);
  if (trace?.tracestate !== undefined) all.push('tracestate', trace.tracestate);
  return all;
}

/** With the pseudo-header fields in front. */
export function requestFields({ method, authority, path }: H2RequestHead, fields: RawFields): string[] {
  return [':method', method, ':scheme', 'http', ':authority', authority, ':path', path, ...fields];
}

/** A response's fields for the client: what only gateways say is not among them, but for who has served it if asked. */
export function responseFields(status: number, fields: RawFields, servedBy: string | undefined): string[] {
  const all = [':status', String(status)];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    if (!name.startsWith(isthmusPrefix)) all.push(name, fields[index + 1] ?? '');
  }
  if (servedBy !== undefined) all.push('x-isthmus-served-by', servedBy);
  return all;
}

/** As Node takes trailers: one property a name, several values as a list. */
export function asHeaders(fields: RawFields): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else headers[name] = typeof before === 'string' ? [before, value] : [...before, value];
  }
  return headers;
}

/** gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md, statuscodes.md), as far as a gateway speaks it by itself. */

/** A number of statuscodes.md. */
export type GrpcStatus = number;

/** Those that a gateway answers with. */
export type GrpcStatusName =
  | 'ok'
  | 'cancelled'
  | 'unknown'
  | 'invalidArgument'
  | 'deadlineExceeded'
  | 'permissionDenied'
  | 'resourceExhausted'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'unauthenticated';

export const grpcStatus: Readonly<Record<GrpcStatusName, GrpcStatus>> = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
};

/**
 * http-grpc-status-mapping.md, but for what a gateway means itself: a call that is not well-formed is its caller's
 * mistake, where a client that sees a bare 400 can only guess at a broken server; a time-out is the caller's deadline;
 * and what is too large is too large for gRPC as well.
 */
const byHttp: ReadonlyMap<number, GrpcStatus> = new Map([
  [400, grpcStatus.invalidArgument],
  [401, grpcStatus.unauthenticated],
  [403, grpcStatus.permissionDenied],
  [404, grpcStatus.unimplemented],
  [408, grpcStatus.deadlineExceeded],
  [413, grpcStatus.resourceExhausted],
  [414, grpcStatus.resourceExhausted],
  [429, grpcStatus.unavailable],
  [431, grpcStatus.resourceExhausted],
  [501, grpcStatus.unimplemented],
  [502, grpcStatus.unavailable],
  [503, grpcStatus.unavailable],
  [504, grpcStatus.deadlineExceeded],
]);

/** What a gRPC client is told in place of an HTTP status. */
export function grpcStatusOf(httpStatus: number): GrpcStatus {
  return byHttp.get(httpStatus) ?? grpcStatus.unknown;
}

/** `application/grpc`, `application/grpc+proto`, with or without parameters; not grpc-web. */
export function isGrpc(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/grpc(?:[+; \t]|$)/i.test(contentType);
}

/** The value of a `grpc-status` field; undefined for anything that is no status. */
export function parseGrpcStatus(value: string | readonly string[] | undefined): GrpcStatus | undefined {
  return typeof value === 'string' && /^(?:[0-9]|1[0-6])$/.test(value) ? Number(value) : undefined;
}

/** "Status-Message": UTF-8, percent-encoded outside of printable ASCII. */
export function encodeGrpcMessage(message: string): string {
  let encoded = '';
  for (const byte of Buffer.from(message, 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

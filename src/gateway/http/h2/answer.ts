import { encodeGrpcMessage, grpcStatusOf, type GrpcStatus } from '../grpc/status.ts';
import type { Reply } from '../reply.ts';
import type { RawFields } from './head.ts';

/** What the gateway answers by itself, as it goes out over HTTP/2. */
export interface Answer {
  readonly fields: RawFields;
  readonly body: string | undefined;
  /** Of a gRPC call. */
  readonly grpcStatus: GrpcStatus | undefined;
}

/** A reply to a request: text for people, or for a gRPC client its status in a response that is trailers only. */
export function answerOf({ status, reason }: Reply, grpc: boolean): Answer {
  if (grpc) {
    const fields = [':status', '200', 'content-type', 'application/grpc', ...grpcTrailers(status, reason)];
    return { fields, body: undefined, grpcStatus: grpcStatusOf(status) };
  }
  const body = `${reason}\n`;
  const length = String(Buffer.byteLength(body));
  return {
    fields: [':status', String(status), 'content-type', 'text/plain; charset=utf-8', 'content-length', length],
    body,
    grpcStatus: undefined,
  };
}

/** What ends a gRPC call whose response has begun and will not be completed. */
export function grpcTrailers(status: number, reason: string): RawFields {
  return ['grpc-status', String(grpcStatusOf(status)), 'grpc-message', encodeGrpcMessage(reason)];
}

import { grpcStatus, parseGrpcStatus } from '../grpc/status.ts';
import { fieldOf, type RawFields } from './head.ts';

const unavailable: ReadonlySet<number> = new Set([502, 503, 504]);

/** Whether a response speaks against the upstream that sent it: it could not do what it is there for. */
export function speaksAgainst(status: number, fields: RawFields, endStream: boolean): boolean {
  if (unavailable.has(status)) return true;
  return endStream && parseGrpcStatus(fieldOf(fields, 'grpc-status')) === grpcStatus.unavailable;
}

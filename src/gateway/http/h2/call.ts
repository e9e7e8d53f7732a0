import {
  defaultRequestTimeoutMs,
  type GrpcRetryCondition,
  type HttpPlan,
  type RetryCondition,
} from '../../../model/traffic.ts';
import { grpcStatus, type GrpcStatus, isGrpc, parseGrpcStatus } from '../grpc/status.ts';
import { formatGrpcTimeout, parseGrpcTimeout } from '../grpc/timeout.ts';
import { fieldOf, type H2RequestHead, type RawFields } from './head.ts';

/** What makes a request a gRPC call, and what bounds it in time. */
export interface Call {
  readonly grpc: boolean;
  /** From the request's beginning until its response begins; undefined: no bound. */
  readonly answerMs: number | undefined;
  /** The caller's own deadline for the whole call, from its beginning. */
  readonly deadlineMs: number | undefined;
}

/** The time-out of the policy holds for every request, the default one not for calls: they say how long they may take. */
export function callOf(head: H2RequestHead, { timeoutMs }: Pick<HttpPlan, 'timeoutMs'>): Call {
  const grpc = isGrpc(fieldOf(head.fields, 'content-type'));
  const wanted = timeoutMs ?? (grpc ? 0 : defaultRequestTimeoutMs);
  const deadlineMs = grpc ? parseGrpcTimeout(fieldOf(head.fields, 'grpc-timeout')) : undefined;
  return { grpc, answerMs: wanted === 0 ? undefined : wanted, deadlineMs };
}

/** `grpc-timeout` of a try that begins `elapsedMs` after the call did; undefined: the caller has set no deadline. */
export function timeoutLeft({ deadlineMs }: Call, elapsedMs: number): string | undefined {
  return deadlineMs === undefined ? undefined : formatGrpcTimeout(Math.max(0, deadlineMs - elapsedMs));
}

const conditions: ReadonlyMap<GrpcStatus, GrpcRetryCondition> = new Map([
  [grpcStatus.cancelled, 'cancelled'],
  [grpcStatus.deadlineExceeded, 'deadline-exceeded'],
  [grpcStatus.internal, 'internal'],
  [grpcStatus.resourceExhausted, 'resource-exhausted'],
  [grpcStatus.unavailable, 'unavailable'],
]);

/**
 * What a response's head says of trying again; undefined: it is an answer. A call has failed when it says so at once; a
 * server that says when to come back (gRFC A6, "Pushback") is believed: that is for the client to wait.
 */
export function conditionOf(
  { grpc }: Call,
  { status, fields, endStream }: { readonly status: number; readonly fields: RawFields; readonly endStream: boolean },
): RetryCondition | undefined {
  if (status >= 500) return status;
  if (!grpc || !endStream || fieldOf(fields, 'grpc-retry-pushback-ms') !== undefined) return undefined;
  const failed = parseGrpcStatus(fieldOf(fields, 'grpc-status'));
  return failed === undefined ? undefined : conditions.get(failed);
}

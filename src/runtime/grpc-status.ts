import { IsthmusError, type ErrorCode } from '../model/error.ts';

/** Status codes of gRPC by our codes; the numbers are gRPC's own (grpc/grpc doc/statuscodes.md). */
const statusOf: Readonly<Record<ErrorCode, number>> = {
  cancelled: 1,
  invalid: 3,
  timeout: 4,
  'not-found': 5,
  conflict: 6,
  denied: 7,
  exhausted: 8,
  internal: 13,
  unavailable: 14,
  corrupt: 15,
  unauthenticated: 16,
};

const codeOf: ReadonlyMap<number, ErrorCode> = new Map([
  ...Object.entries(statusOf).map(([code, status]) => [status, code as ErrorCode] as const),
  // FAILED_PRECONDITION and ABORTED: the state is not as the caller thought.
  [9, 'conflict'],
  [10, 'conflict'],
]);

/** What a gRPC handler hands to its callback. */
export interface GrpcFailure {
  readonly code: number;
  readonly details: string;
}

/** An error as a caller may see it: the message of what we said ourselves, nothing of what surprised us. */
export function toGrpcFailure(thrown: unknown): GrpcFailure {
  if (thrown instanceof IsthmusError) return { code: statusOf[thrown.code], details: thrown.message };
  return { code: statusOf.internal, details: 'Internal error' };
}

/** What a failed call means. `what` names the call and the address. */
export function fromGrpcFailure(what: string, thrown: unknown): IsthmusError {
  if (thrown instanceof IsthmusError) return thrown;
  const { code, details } = thrown as Partial<GrpcFailure>;
  const known = typeof code === 'number' ? codeOf.get(code) : undefined;
  const said = typeof details === 'string' && details !== '' ? plainDetails(details) : String(thrown);
  return new IsthmusError(known ?? 'unavailable', `${what}: ${said}`, { cause: thrown });
}

/** grpc-js wraps the one thing that matters, why a connection failed, into its own words. */
function plainDetails(details: string): string {
  return /Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(details)?.[1] ?? details;
}

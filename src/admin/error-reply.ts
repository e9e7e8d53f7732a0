import { type ErrorCode, IsthmusError } from '../model/error.ts';

/** How an error crosses the admin API. */
export interface ErrorReply {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
}

/** RFC 9110 §15 status of each code. */
const statuses: Readonly<Record<ErrorCode, number>> = {
  invalid: 400,
  unauthenticated: 401,
  denied: 403,
  'not-found': 404,
  conflict: 409,
  exhausted: 429,
  cancelled: 499,
  corrupt: 500,
  internal: 500,
  unavailable: 503,
  timeout: 504,
};

/** The HTTP status and body that stand for an error. Its cause stays here. */
export function replyOf(error: IsthmusError): { readonly status: number; readonly body: ErrorReply } {
  const { code, message, hint } = error;
  return { status: statuses[code], body: { error: { code, message, ...(hint !== undefined && { hint }) } } };
}

/** The error that a reply stands for, whatever the other side sent. */
export function errorOf(status: number, body: unknown): IsthmusError {
  const error = field(body, 'error');
  const code = field(error, 'code');
  const message = field(error, 'message');
  const hint = field(error, 'hint');
  if (!isErrorCode(code) || typeof message !== 'string') {
    return new IsthmusError('internal', `The server answered with status ${status} and no reason`);
  }
  return new IsthmusError(code, message, typeof hint === 'string' ? { hint } : {});
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(statuses, value);
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

/** What went wrong, as a closed set that callers may switch on. */
export type ErrorCode =
  /** Input that can never be right: bad syntax, an unknown key, a value out of range. */
  | 'invalid'
  /** The caller could not prove who it is. */
  | 'unauthenticated'
  /** The caller is known and may not do this. */
  | 'denied'
  | 'not-found'
  /** The state changed underneath, or the name is taken. */
  | 'conflict'
  /** A dependency cannot be reached now; trying again later may work. */
  | 'unavailable'
  | 'timeout'
  /** A configured bound was reached. */
  | 'exhausted'
  | 'cancelled'
  /** Bytes that do not decode, or do not verify. */
  | 'corrupt'
  | 'internal';

export interface ErrorDetails {
  /** What the reader can do about it, as one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** For `exhausted`: when it may work again, in ms from now. */
  readonly retryAfterMs?: number;
}

/**
 * The one error class of Isthmus. The message says what was attempted and with which value; the cause is attached and
 * never pasted into the message.
 */
export class IsthmusError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'IsthmusError';
    this.code = code;
    this.hint = details.hint;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Wraps whatever was thrown; an `IsthmusError` passes through unchanged. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): IsthmusError {
    if (thrown instanceof IsthmusError) return thrown;
    if (thrown instanceof Error) return new IsthmusError(code, thrown.message, { cause: thrown });
    return new IsthmusError(code, String(thrown), { cause: thrown });
  }
}

/** The message of anything thrown, for one line of a log. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

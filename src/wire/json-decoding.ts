import { z } from 'zod';
import { IsthmusError, messageOf } from '../model/error.ts';

/** Encoded bytes, and how many of them there may be. */
export interface BoundedBytes {
  readonly bytes: Uint8Array;
  readonly limit: number;
}

/** What is quoted of a reason: part of it may be a stranger's words. */
const maxReasonChars = 300;

/**
 * Decodes one JSON value in UTF-8 that has the form of a schema.
 * @param what names it in errors, with its article: `A roster`
 * @throws IsthmusError `corrupt`: which rule was broken, and where
 */
export function decodeJson<T>(what: string, schema: z.ZodType<T>, { bytes, limit }: BoundedBytes): T {
  if (bytes.length > limit) {
    throw new IsthmusError('corrupt', `${what} of ${bytes.length} bytes is over the limit of ${limit}`);
  }
  try {
    return schema.parse(parseUtf8(bytes));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${what} does not decode: ${brokenRule(cause)}`, { cause });
  }
}

/** @throws whatever the platform throws for bytes that are not UTF-8, or not JSON */
export function parseUtf8(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

/** The first rule that was broken, and where: `at ports.0.port: Too big…`. Bounded, whatever was thrown. */
export function brokenRule(thrown: unknown): string {
  const issue = thrown instanceof z.ZodError ? thrown.issues[0] : undefined;
  const rule = issue ? `at ${issue.path.join('.').slice(0, 100) || 'its root'}: ${issue.message}` : messageOf(thrown);
  return rule.slice(0, maxReasonChars);
}

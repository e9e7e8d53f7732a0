import { createHash } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import type { JoinTokenEntry } from './change.ts';

/** Longest life of a join token in ms, and the default. */
export const maxTokenTtlMs: number = 15 * 60_000;

/** Under what a secret is kept: lower-case hex of its SHA-256. */
export function tokenHash(secret: Uint8Array): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** The name of a token that may be shown: the first 48 bits of its hash. */
export function tokenId(hash: string): string {
  return hash.slice(0, 12);
}

/** `now`: wall clock in ms. */
export function tokenState(token: JoinTokenEntry, now: number): 'open' | 'used' | 'expired' | 'revoked' {
  if (token.usedBy !== undefined) return 'used';
  if (token.revoked) return 'revoked';
  return token.expiresAt <= now ? 'expired' : 'open';
}

export function isOpen(token: JoinTokenEntry, now: number): boolean {
  return tokenState(token, now) === 'open';
}

/** What whoever shows such a token is told. */
export function unusableToken(token: JoinTokenEntry, now: number): IsthmusError {
  const state = tokenState(token, now);
  const why = state === 'expired' ? `expired at ${new Date(token.expiresAt).toISOString()}` : `was ${state} already`;
  return new IsthmusError('unauthenticated', `The join token ${why}`, { hint: 'Issue a new token.' });
}

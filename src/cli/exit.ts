import type { ErrorCode, IsthmusError } from '../model/error.ts';
import { clean } from './text.ts';

/** Exit statuses of every command. */
export const exit = {
  ok: 0,
  /** A check failed, or the server refused. */
  failed: 1,
  /** Bad usage or configuration; nothing was done. */
  usage: 2,
  /** Unreachable, or timed out. */
  unreachable: 4,
} as const;

/** Codes that mean "your input", whoever noticed. */
const usageCodes: readonly ErrorCode[] = ['invalid'];
/** A role that cannot start for these needs another configuration: a port in use, a key that may not be read. */
const startCodes: readonly ErrorCode[] = ['invalid', 'conflict', 'denied'];

/** The exit status that an error stands for; `starting`: it kept a role from starting. */
export function exitOf(error: IsthmusError, starting = false): number {
  if ((starting ? startCodes : usageCodes).includes(error.code)) return exit.usage;
  return error.code === 'unavailable' || error.code === 'timeout' ? exit.unreachable : exit.failed;
}

/** `file:line: …`, as configuration problems begin: they are lines of their own, which editors understand. */
const located = /^\S+:\d+: /;

/** An error as a person reads it on stderr, its closing newline included. */
export function describeError(error: IsthmusError): string {
  const message = clean(error.message);
  const lines = [located.test(message) ? message : `isthmus: ${message}`];
  if (error.hint !== undefined) lines.push(`  → ${clean(error.hint)}`);
  return `${lines.join('\n')}\n`;
}

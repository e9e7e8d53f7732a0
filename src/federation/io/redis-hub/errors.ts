import { type ErrorCode, IsthmusError, messageOf } from '../../../model/error.ts';

/** First word of Redis' own errors → our code; the rest is `unavailable`. */
const codes: Readonly<Record<string, ErrorCode>> = {
  NOPERM: 'denied',
  NOAUTH: 'denied',
  WRONGPASS: 'denied',
  OOM: 'exhausted',
  TOOLARGE: 'corrupt',
};

/**
 * What a failed command means. The library's errors carry the command with its arguments, among them passwords, so
 * only their message and stack are passed on. `lost`: why there is no connection, if that is known.
 */
export function hubError(hub: string, action: string, thrown: unknown, lost?: string): IsthmusError {
  if (thrown instanceof IsthmusError) return thrown;
  const text = messageOf(thrown);
  const code = /timed out/i.test(text) ? 'timeout' : (codes[/^(?:ERR )?(\w+)/.exec(text)?.[1] ?? ''] ?? 'unavailable');
  const notConnected = lost === undefined ? 'not connected' : `not connected: ${lost}`;
  const plain = text.startsWith("Stream isn't writeable") ? notConnected.slice(0, 300) : text.slice(0, 300);
  const cause = new Error(plain);
  if (thrown instanceof Error && thrown.stack) cause.stack = thrown.stack;
  return new IsthmusError(code, `Cannot ${action} on hub ${hub}: ${plain}`, { cause });
}

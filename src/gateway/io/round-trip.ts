import type { Http2Session } from 'node:http2';

/**
 * Asks the peer for a sign of life. Node sends no ping on a session that takes no more streams, and those that it still
 * carries may be silent for hours: there, settings that change nothing do it, which must be acknowledged too (RFC 9113
 * §6.5.3). `answered` is not called when the session is destroyed: its 'close' tells then.
 */
export function roundTrip(session: Http2Session, answered: () => void): void {
  const settled = (error: Error | null): void => {
    if (error === null) answered();
  };
  if (session.closed) session.settings({}, settled);
  else session.ping(settled);
}

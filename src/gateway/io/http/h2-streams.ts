import { constants, type Http2Stream } from 'node:http2';
import { addAbortSignal, PassThrough } from 'node:stream';

/**
 * The one error for which Node resets a stream with CANCEL and without an END_STREAM before it: the class is not
 * exported, so one is caught from where it is made.
 */
const cancelled: Error = ((): Error => {
  const abort = new AbortController();
  const stream = new PassThrough().on('error', () => undefined);
  addAbortSignal(abort.signal, stream);
  abort.abort();
  return stream.errored ?? new Error('The request was cancelled');
})();

/**
 * Ends a stream whose peer must not take what it got for everything: RST_STREAM with CANCEL for whoever no longer
 * wants an answer, with INTERNAL_ERROR for whoever does not get one. `stream.close(code)` would send END_STREAM first.
 */
export function abortStream(stream: Http2Stream, why: 'cancel' | 'error'): void {
  if (stream.destroyed) return;
  stream.destroy(why === 'cancel' ? cancelled : new Error('The message cannot be completed'));
}

/** A stream that its peer reset with CANCEL ends like a clean end of file; only the code tells. */
export function endedCleanly(stream: Http2Stream): boolean {
  return (stream.rstCode ?? 0) === constants.NGHTTP2_NO_ERROR;
}

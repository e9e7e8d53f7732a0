import { constants, type Http2Stream } from 'node:http2';
import { Socket } from 'node:net';

/**
 * Joins two connections so that each side sees exactly what the other did: bytes, end of file in either direction, or
 * a reset. Node's own notions differ in ways that would turn a reset into a clean end, hence the care below.
 */
export type SpliceEnd = Socket | Http2Stream;

export type SpliceCause =
  /** Both directions ended with a clean end of file. */
  | 'complete'
  | 'client-reset'
  | 'upstream-reset'
  | 'idle'
  /** This gateway ended it. */
  | 'cut';

export interface SpliceResult {
  readonly cause: SpliceCause;
  readonly bytesFromClient: number;
  readonly bytesFromUpstream: number;
}

/** A running splice, as the owner of all of them sees it. */
export interface Splice {
  /** Bytes that wait in this process for a receiver. */
  buffered(): number;
  /** Called regularly: cuts what was idle, or lingered after an abort, for too long. */
  sweep(now: number, limits: { readonly idleTimeoutMs: number; readonly lingerMs: number }): void;
  /** Resets both sides at once. */
  cut(): void;
}

/** `done` is called once, after both sides are closed. Both must be open and without 'data' listeners. */
export function splice(client: SpliceEnd, upstream: SpliceEnd, done: (result: SpliceResult) => void): Splice {
  let fromClient = 0;
  let fromUpstream = 0;
  let clientEnded = false;
  let upstreamEnded = false;
  let open = 2;
  let cause: SpliceCause | undefined;
  let sweptBytes = -1;
  let quietSince = 0;

  const abort = (why: SpliceCause): void => {
    cause ??= why;
    abortEnd(client);
    abortEnd(upstream);
  };
  const closed = (): void => {
    open -= 1;
    if (open > 0) return;
    done({ cause: cause ?? 'complete', bytesFromClient: fromClient, bytesFromUpstream: fromUpstream });
  };

  client.on('data', (chunk: Buffer) => {
    fromClient += chunk.length;
    if (!upstream.write(chunk)) client.pause();
  });
  upstream.on('data', (chunk: Buffer) => {
    fromUpstream += chunk.length;
    if (!client.write(chunk)) upstream.pause();
  });
  upstream.on('drain', () => client.resume());
  client.on('drain', () => upstream.resume());
  client.on('end', () => {
    if (wasReset(client)) return abort('client-reset');
    clientEnded = true;
    upstream.end();
  });
  upstream.on('end', () => {
    if (wasReset(upstream)) return abort('upstream-reset');
    upstreamEnded = true;
    client.end();
  });
  client.on('error', () => abort('client-reset'));
  upstream.on('error', () => abort('upstream-reset'));
  client.on('close', () => {
    if (!(clientEnded && upstreamEnded) || wasReset(client)) abort('client-reset');
    closed();
  });
  upstream.on('close', () => {
    if (!(clientEnded && upstreamEnded) || wasReset(upstream)) abort('upstream-reset');
    closed();
  });
  // Either may have died between being connected and being joined; its 'close' is then gone for good.
  if (client.destroyed) abort('client-reset');
  if (upstream.destroyed) abort('upstream-reset');
  if (client.closed) closed();
  if (upstream.closed) closed();

  return {
    buffered: () => client.writableLength + upstream.writableLength + client.readableLength + upstream.readableLength,
    sweep(now, { idleTimeoutMs, lingerMs }) {
      const bytes = fromClient + fromUpstream;
      if (bytes !== sweptBytes) {
        sweptBytes = bytes;
        quietSince = now;
        return;
      }
      if (now - quietSince < (cause === undefined ? idleTimeoutMs : lingerMs)) return;
      abort('idle');
      client.destroy();
      upstream.destroy();
    },
    cut() {
      abort('cut');
      client.destroy();
    },
  };
}

/** A stream that its peer reset with CANCEL ends like a clean end of file; only the code tells. */
function wasReset(end: SpliceEnd): boolean {
  return !(end instanceof Socket) && (end.rstCode ?? 0) !== constants.NGHTTP2_NO_ERROR;
}

/**
 * Ends one side so that its peer cannot take what it got for everything. A bare `destroy()` would look like a clean end
 * of file to the peer; `resetAndDestroy()` after `end()` leaks the descriptor for ever (Node 20 to 24).
 */
export function abortEnd(end: SpliceEnd): void {
  if (end.destroyed) return;
  if (!(end instanceof Socket)) {
    end.destroy(new Error('The other side of the tunnel was reset'));
  } else if (!end.writableEnded) {
    end.resetAndDestroy();
  } else if (end.writableFinished) {
    end.destroy();
  } else {
    // Everything for this side has come, cleanly: let it arrive. The sweep cuts one that does not take it.
    end.resume();
    end.once('finish', () => end.destroy());
  }
}

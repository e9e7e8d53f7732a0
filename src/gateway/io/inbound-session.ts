import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { HeaderFields } from '../../wire/connect.ts';
import type { GatewayLimits } from '../limits.ts';
import type { CountedReason } from '../metrics/refusals.ts';
import { brokeRules } from '../tunnel/session-fault.ts';
import { type Abuse, SessionGuard } from '../tunnel/session-guard.ts';
import { serverBoundsOf, settingsOf } from './http2-settings.ts';
import { watchSession } from './watchdog.ts';

export interface InboundSessionOptions {
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  /** The session was ended for what its peer did or did not do. */
  readonly onFault: (reason: CountedReason, detail: string) => void;
  /** The peer has given up a stream that was not answered. @returns what it has become too much of */
  readonly onAbandoned: () => Abuse | undefined;
  readonly onStream: (stream: ServerHttp2Stream, headers: HeaderFields) => void;
}

const ignore = (): void => undefined;

/** Serves HTTP/2 on a connection whose peer is known, and ends it when that peer breaks the rules or falls silent. */
export function serveSession(socket: TLSSocket, options: InboundSessionOptions): ServerHttp2Session {
  const { limits, clock, onFault } = options;
  const session = performServerHandshake(socket, { settings: settingsOf(limits), ...serverBoundsOf(limits) });
  const guard = new SessionGuard(limits, clock.monotonic());
  let streams = 0;
  session.setLocalWindowSize(limits.sessionWindowBytes);

  const punish = (abuse: Abuse | undefined): void => {
    if (!abuse || session.destroyed) return;
    onFault(abuse, `The session is ended for ${abuse}`);
    session.destroy(new IsthmusError('denied', `Peer was cut off: ${abuse}`), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  };
  // The socket may be half open, HTTP/2 may not: who sends no more frames cannot answer, nor open a window.
  socket.once('end', () => session.destroy(new IsthmusError('unavailable', 'The peer closed the connection')));
  const control = (): void => punish(guard.control(clock.monotonic()));
  session.on('ping', control).on('remoteSettings', control);

  const unwatch = watchSession(session, {
    socket,
    clock,
    rules: {
      pingIntervalMs: limits.idlePingIntervalMs,
      idlePingIntervalMs: limits.idlePingIntervalMs,
      silenceMs: limits.inboundSilenceMs,
    },
    streams: () => streams,
    onDead: (silentMs) => {
      const detail = `No answer to a ping, nothing heard for ${Math.round(silentMs)} ms`;
      onFault('session-silent', detail);
      session.destroy(new IsthmusError('timeout', detail));
    },
  });
  session.on('error', (error) => {
    // What we ended ourselves has been told; a connection that just breaks is nobody's fault.
    if (brokeRules(error)) onFault('session-protocol', messageOf(error));
  });
  session.on('close', unwatch);
  session.on('stream', (stream: ServerHttp2Stream, headers: HeaderFields) => {
    streams += 1;
    stream.once('close', () => {
      streams -= 1;
      if (abandoned(stream)) punish(options.onAbandoned());
    });
    stream.on('error', ignore);
    // What is given up in the packet that opened it costs nothing more.
    setImmediate(begin, stream, headers);
  });
  const begin = (stream: ServerHttp2Stream, headers: HeaderFields): void => {
    if (stream.destroyed) return;
    try {
      options.onStream(stream, headers);
    } catch (thrown) {
      // A fault of ours that this request has found: it must not cost the other streams, let alone the process.
      onFault('internal', messageOf(thrown));
      stream.destroy(IsthmusError.from(thrown));
    }
  };
  return session;
}

/** Whether the peer has given it up without ever having been let through. */
function abandoned(stream: ServerHttp2Stream): boolean {
  if ((stream.rstCode ?? 0) === constants.NGHTTP2_NO_ERROR) return false;
  if (stream.headersSent && stream.sentHeaders[constants.HTTP2_HEADER_STATUS] === constants.HTTP_STATUS_OK)
    return false;
  // An error that is not from the peer's frame is our own doing.
  const cause: (Error & { readonly code?: string }) | null = stream.errored;
  return cause === null || cause.code === 'ERR_HTTP2_STREAM_ERROR';
}

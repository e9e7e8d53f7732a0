import type { Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import { endSoon } from './farewell.ts';
import { Liveness, type LivenessRules } from '../tunnel/liveness.ts';
import { roundTrip } from './round-trip.ts';

export interface WatchdogOptions {
  /** That the session runs on: it hides its own. */
  readonly socket: Socket;
  readonly clock: Clock;
  readonly rules: LivenessRules;
  /** Streams that the session carries now, or has carried since the last call. */
  readonly streams: () => number;
  /** After each answered ping. */
  readonly onRtt?: (ms: number) => void;
  readonly onPing?: () => void;
  /** Called once; the watchdog has then ended. */
  readonly onDead: (silentMs: number) => void;
}

/**
 * Pings a session and says when its peer has gone silent. However the session ends, its connection does too: Node waits
 * for the last write of a session that was destroyed, which a peer that is gone, or does not read, never takes.
 * The result ends the watch; call it at the session's 'close'.
 */
export function watchSession(session: Http2Session, options: WatchdogOptions): () => void {
  const { clock, socket } = options;
  const liveness = new Liveness(options.rules, clock.monotonic());
  let timer: Timer | undefined;

  const look = (): void => {
    const verdict = session.destroyed
      ? undefined
      : liveness.check(clock.monotonic(), socket.bytesRead, options.streams());
    if (verdict?.kind === 'alive') {
      if (verdict.ping) ping();
      timer = clock.schedule(verdict.nextMs, look);
      return;
    }
    timer = undefined;
    endSoon(socket, clock);
    if (verdict) options.onDead(verdict.silentMs);
  };
  const ping = (): void => {
    options.onPing?.();
    roundTrip(session, () => {
      const rttMs = liveness.pong(clock.monotonic());
      options.onRtt?.(rttMs);
    });
  };
  look();
  return () => timer?.cancel();
}

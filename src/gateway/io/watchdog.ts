import type { Http2Session } from 'node:http2';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import { Liveness, type LivenessRules } from '../tunnel/liveness.ts';

export interface WatchdogOptions {
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

/** Pings a session and says when its peer has gone silent. The result ends it. */
export function watchSession(session: Http2Session, options: WatchdogOptions): () => void {
  const { clock } = options;
  const liveness = new Liveness(options.rules, clock.monotonic());
  let timer: Timer | undefined;

  const look = (): void => {
    if (session.destroyed) return;
    const verdict = liveness.check(clock.monotonic(), session.socket.bytesRead, options.streams());
    if (verdict.kind === 'dead') return options.onDead(verdict.silentMs);
    if (verdict.ping) ping();
    timer = clock.schedule(verdict.nextMs, look);
  };
  const ping = (): void => {
    options.onPing?.();
    // Fails, or answers with an error, only when the session is ending: its 'close' tells then.
    session.ping((error) => {
      if (error !== null) return;
      const rttMs = liveness.pong(clock.monotonic());
      options.onRtt?.(rttMs);
    });
  };
  look();
  return () => timer?.cancel();
}

import type { Duplex } from 'node:stream';
import type { Clock } from '../../model/ports/clock.ts';
import { Socket } from 'node:net';

/** For what a session that ends still has to say. */
const farewellMs = 1000;

/**
 * Call when an HTTP/2 session was destroyed: its connection `end` is ended too, a moment later. Node waits for the last
 * write of such a session, which a peer that is gone, or does not read, never takes.
 */
export function endSoon(end: Duplex, clock: Clock): void {
  if (end.destroyed) return;
  const timer = clock.schedule(farewellMs, () => {
    // Of a tunnel, a bare `destroy()` would look like a clean end of file.
    if (end instanceof Socket) end.destroy();
    else end.destroy(new Error('The session on this connection has ended'));
  });
  end.once('close', () => timer.cancel());
}

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Chunks from this size on take the paths for bulk; smaller ones are sent and forgotten at once. */
export const bulkBytes = 8192;
/** Sockets that wait for the end of this turn of the event loop; the list keeps its room for the next one. */
const corked: (Socket | undefined)[] = [];
let count = 0;

function uncorkAll(): void {
  for (let index = 0; index < count; index += 1) {
    corked[index]?.uncork();
    corked[index] = undefined;
  }
  count = 0;
}

/**
 * Holds back what is written to a socket until all that has come in this turn of the event loop was looked at. Then it
 * leaves in one system call, and one right after the other to all sockets: whoever is woken by the first of them is
 * still awake for the rest. Streams of HTTP/2 do that by themselves.
 */
export function corkForTurn(end: Duplex): void {
  // One that is uncorked before its time is still listed: uncorking it again does nothing.
  if (end.writableCorked > 0 || !(end instanceof Socket)) return;
  end.cork();
  if (count === 0) setImmediate(uncorkAll);
  corked[count] = end;
  count += 1;
}

import type { Socket } from 'node:net';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { seeded } from './seeded.ts';

/** What one end of a connection does, all of it decided by a seed. */
export interface Script {
  readonly bytes: number;
  /** Marks where its bytes come from, so that misdelivered ones are told apart. */
  readonly stamp: number;
  readonly finish: 'end' | 'reset';
  /** Bytes of the other side that it waits for before it finishes. */
  readonly finishAfterReceived: number;
  readonly random: () => number;
}

export interface Ended {
  readonly script: Script;
  readonly received: number;
  /** `eof`: a clean end of file was seen. `reset`: it was not. */
  readonly saw: 'eof' | 'reset';
  /** The first byte that was not what the other side sends there. */
  readonly wrongAt: number | undefined;
}

/** The script of one side of the connection with that number. */
export function scriptOf(connection: number, side: 'client' | 'server'): Script {
  const random = seeded(connection * 2 + (side === 'client' ? 0 : 1));
  const bytes = sizeOf(random);
  const other = seeded(connection * 2 + (side === 'client' ? 1 : 0));
  const otherBytes = sizeOf(other);
  return {
    bytes,
    stamp: connection * 2 + (side === 'client' ? 0 : 1),
    finish: random() < 0.7 ? 'end' : 'reset',
    finishAfterReceived: random() < 0.5 ? 0 : Math.floor(random() * otherBytes),
    random,
  };
}

function sizeOf(random: () => number): number {
  const kind = random();
  if (kind < 0.15) return 0;
  return Math.floor(random() ** 3 * (kind < 0.9 ? 60_000 : 1_500_000));
}

const patternBytes = 65_521;
const pattern = Buffer.from(Uint8Array.from({ length: patternBytes }, (_, index) => (index * 31 + (index >> 8)) & 255));

/** `length` bytes from `offset` of what a side with that stamp sends. */
function content(stamp: number, offset: number, length: number): Buffer {
  const start = (offset + stamp * 7919) % patternBytes;
  const parts: Buffer[] = [];
  for (let at = start, left = length; left > 0; at = 0) {
    const part = pattern.subarray(at, Math.min(patternBytes, at + left));
    parts.push(part);
    left -= part.length;
  }
  return Buffer.concat(parts);
}

/** Plays a script on a connected socket. `skip`: leading bytes that are not part of it and were not read yet. */
export async function play(socket: Socket, own: Script, peer: Script): Promise<Ended> {
  let received = 0;
  let saw: Ended['saw'] = 'reset';
  let wrongAt: number | undefined;
  let wake = (): void => undefined;
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  socket
    .on('error', () => undefined)
    .on('data', (chunk: Buffer) => {
      if (!chunk.equals(content(peer.stamp, received, chunk.length))) wrongAt ??= received;
      received += chunk.length;
      wake();
    })
    .on('end', () => {
      saw = 'eof';
      wake();
    })
    .on('close', () => wake());
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition() && !socket.destroyed) await new Promise<void>((resolve) => (wake = resolve));
  };
  await send(socket, own);
  await until(() => received >= own.finishAfterReceived || saw === 'eof');
  if (own.finish === 'end') socket.end();
  else if (!socket.destroyed) socket.resetAndDestroy();
  await closed;
  return { script: own, received, saw, wrongAt };
}

async function send(socket: Socket, { bytes, stamp, random }: Script): Promise<void> {
  for (let sent = 0; sent < bytes && !socket.destroyed; ) {
    const length = Math.min(bytes - sent, 1 + Math.floor(random() ** 3 * 100_000));
    const goOn = socket.write(content(stamp, sent, length));
    sent += length;
    if (!goOn) await new Promise<void>((resolve) => void socket.once('drain', resolve).once('close', () => resolve()));
    else if (random() < 0.1) await sleep(random() * 5);
    else await turn();
  }
}

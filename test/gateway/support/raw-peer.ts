import type { Socket } from 'node:net';
import { dialTls, secureContextOf } from '../../../src/runtime/io/tls.ts';
import type { Svid } from '../../../src/model/trust.ts';
import { fields, flag, frame, frameType, preface, readFrames, type SeenFrame, settings } from './frames.ts';

/** A peer with a good certificate that writes HTTP/2 by hand, as well or as badly as the test wants. */
export interface RawPeer {
  readonly socket: Socket;
  send(...frames: readonly Buffer[]): void;
  /** What the server has sent so far. */
  frames(): readonly SeenFrame[];
  /** Resolves with everything that came when the server has closed the connection. */
  readonly closed: Promise<readonly SeenFrame[]>;
}

export async function dialRaw(
  port: number,
  identity: Svid,
  anchor: Uint8Array,
  { answersPings = true }: { readonly answersPings?: boolean } = {},
): Promise<RawPeer> {
  const { socket } = await dialTls({
    host: '127.0.0.1',
    port,
    context: secureContextOf({ identity, anchors: [anchor] }),
    alpn: ['h2'],
    check: () => undefined,
    timeoutMs: 5000,
  });
  const seen: SeenFrame[] = [];
  let rest: Buffer = Buffer.alloc(0);
  socket
    .on('error', () => undefined)
    .on('data', (chunk: Buffer) => {
      const read = readFrames(Buffer.concat([rest, chunk]));
      rest = read.rest;
      seen.push(...read.frames);
      for (const { type, flags, payload } of answersPings ? read.frames : []) {
        if (type === frameType.ping && flags === 0) socket.write(frame(frameType.ping, flag.ack, 0, payload));
      }
    });
  return {
    socket,
    send: (...frames) => void socket.write(Buffer.concat(frames)),
    frames: () => seen,
    closed: new Promise((resolve) => void socket.once('close', () => resolve(seen))),
  };
}

/** The start of every session that gets that far. */
export const hello: Buffer = Buffer.concat([preface, settings(), frame(frameType.settings, flag.ack, 0)]);

/** A CONNECT that is in order. */
export function connectFrame(stream: number, authority: string): Buffer {
  const block = fields([
    [':method', 'CONNECT'],
    [':authority', authority],
  ]);
  return frame(frameType.headers, flag.endHeaders, stream, block);
}

/** Error code of the GOAWAY among `frames`; undefined: there is none. */
export function goawayCode(frames: readonly SeenFrame[]): number | undefined {
  return frames.findLast(({ type }) => type === frameType.goaway)?.payload.readUInt32BE(4);
}

/** Error code of the RST_STREAM for `stream`; undefined: there is none. */
export function resetCode(frames: readonly SeenFrame[], stream: number): number | undefined {
  return frames.find((one) => one.type === frameType.rstStream && one.stream === stream)?.payload.readUInt32BE(0);
}

import { createServer, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Svid } from '../../../src/model/trust.ts';
import { secureContextOf } from '../../../src/runtime/io/tls.ts';
import { frame, flag, frameType, preface, readFrames, type SeenFrame } from './frames.ts';

/** What a gateway does with those who dial it. */
export interface RawBehaviour {
  /** Takes the connection before TLS; absent: TLS follows. */
  readonly raw?: (socket: Socket) => void;
  readonly identity: Svid;
  /** Default `h2`. */
  readonly alpn?: string;
  /** Sent as soon as TLS is done. */
  readonly greeting: Buffer;
  /** Sent in answer to a CONNECT. */
  readonly answer?: (stream: number) => Buffer;
  /** Default true. */
  readonly answersPings?: boolean;
}

/** A gateway that writes HTTP/2 by hand, as badly as the test wants. */
export interface RawGateway {
  readonly port: number;
  /** From the next connection on; the present ones are dropped. */
  behave(next: RawBehaviour): void;
  /** What came on all connections since then. */
  frames(): readonly SeenFrame[];
  close(): Promise<void>;
}

export async function startRawGateway(first: RawBehaviour, anchor: Uint8Array): Promise<RawGateway> {
  let behaviour = first;
  let seen: SeenFrame[] = [];
  const open = new Set<Socket>();
  const server: Server = createServer((raw) => {
    open.add(raw);
    raw.on('error', () => undefined).on('close', () => open.delete(raw));
    if (behaviour.raw) return behaviour.raw(raw);
    serve(raw, behaviour);
  });
  const serve = (raw: Socket, { identity, alpn = 'h2', greeting, answer, answersPings = true }: RawBehaviour): void => {
    const socket = new TLSSocket(raw, {
      isServer: true,
      secureContext: secureContextOf({ identity, anchors: [anchor] }),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [alpn],
    });
    const mine = seen;
    let rest: Buffer = Buffer.alloc(0);
    let opening = preface.length;
    socket.on('error', () => undefined);
    socket.on('secure', () => socket.write(greeting));
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(opening, chunk.length);
      opening -= skipped;
      const read = readFrames(Buffer.concat([rest, chunk.subarray(skipped)]));
      rest = read.rest;
      mine.push(...read.frames);
      for (const { type, flags, stream, payload } of read.frames) {
        if (type === frameType.headers && answer) socket.write(answer(stream));
        if (type === frameType.ping && flags === 0 && answersPings)
          socket.write(frame(frameType.ping, flag.ack, 0, payload));
      }
    });
  };
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  const drop = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: bound && typeof bound === 'object' ? bound.port : 0,
    behave(next) {
      behaviour = next;
      seen = [];
      drop();
    },
    frames: () => seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        drop();
      }),
  };
}

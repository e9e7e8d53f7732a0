import { connect, type Socket } from 'node:net';
import { startBackend } from '../../../support/backend.ts';
import { until } from '../../support/mesh.ts';
import { fields, flag, frame, frameType, preface, readFrames, type SeenFrame, settings } from '../../support/frames.ts';

/** Peers that write HTTP/2 by hand, as well or as badly as the test wants. */

export interface RawH2 {
  readonly socket: Socket;
  send(...frames: readonly Buffer[]): void;
  /** What the other side has sent so far. */
  frames(): readonly SeenFrame[];
  /** Waits for a frame of a type, on a stream if given. */
  frame(type: number, stream?: number): Promise<SeenFrame>;
  closed(): boolean;
}

function follow(socket: Socket, from: Buffer = Buffer.alloc(0)): RawH2 {
  const seen: SeenFrame[] = [];
  let rest: Buffer = from;
  let closed = false;
  const take = (chunk: Buffer): void => {
    const read = readFrames(Buffer.concat([rest, chunk]));
    rest = read.rest;
    seen.push(...read.frames);
    for (const { type, flags, payload } of read.frames) {
      if (socket.destroyed || (flags & flag.ack) !== 0) continue;
      if (type === frameType.settings) socket.write(frame(frameType.settings, flag.ack, 0));
      if (type === frameType.ping) socket.write(frame(frameType.ping, flag.ack, 0, payload));
    }
  };
  socket
    .on('error', () => undefined)
    .on('data', take)
    .once('close', () => (closed = true));
  if (rest.length > 0) take(Buffer.alloc(0));
  const find = (type: number, stream?: number): SeenFrame | undefined =>
    seen.find((one) => one.type === type && (stream === undefined || one.stream === stream));
  return {
    socket,
    send: (...frames) => void (socket.destroyed || socket.write(Buffer.concat(frames))),
    frames: () => seen,
    closed: () => closed,
    async frame(type, stream) {
      await until(`a frame of type ${type}`, () => find(type, stream) !== undefined);
      const found = find(type, stream);
      if (!found) throw new Error('It was there a moment ago');
      return found;
    },
  };
}

/** A client; its preface and settings are sent already. */
export async function rawClient(port: number, values?: Parameters<typeof settings>[0]): Promise<RawH2> {
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => void socket.once('connect', resolve).once('error', reject));
  const client = follow(socket);
  client.send(preface, settings(values));
  return client;
}

export interface RawServer {
  readonly port: number;
  /** One per connection, oldest first. */
  readonly sessions: readonly RawH2[];
  close(): Promise<void>;
}

/** A server; `onSession` is called once the client's preface has come. */
export async function rawServer(
  onSession: (session: RawH2) => void,
  { values }: { readonly values?: Parameters<typeof settings>[0] } = {},
): Promise<RawServer> {
  const sessions: RawH2[] = [];
  const backend = await startBackend((socket) => {
    let head: Buffer = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      if (head.length < preface.length) return;
      socket.off('data', read);
      socket.write(settings(values));
      const session = follow(socket, head.subarray(preface.length));
      sessions.push(session);
      onSession(session);
    };
    socket.on('data', read);
  });
  return { port: backend.port, sessions, close: () => backend.close() };
}

/** HEADERS with everything in it. */
export function headersFrame(
  stream: number,
  pairs: readonly (readonly [string, string])[],
  { endStream = true }: { readonly endStream?: boolean } = {},
): Buffer {
  return frame(frameType.headers, flag.endHeaders | (endStream ? flag.endStream : 0), stream, fields(pairs));
}

/** A request that is in order, but for what the test changes. */
export function request(method = 'GET', path = '/'): [string, string][] {
  return [
    [':method', method],
    [':scheme', 'http'],
    [':authority', 'web.shop'],
    [':path', path],
  ];
}

export function dataFrame(stream: number, text: string, endStream = false): Buffer {
  return frame(frameType.data, endStream ? flag.endStream : 0, stream, Buffer.from(text));
}

/** Error code of a RST_STREAM, or of a GOAWAY. */
export function codeOf({ type, payload }: SeenFrame): number {
  return payload.readUInt32BE(type === frameType.goaway ? 4 : 0);
}

/** Serves each request of a raw session once its head has come. */
export function onRequests(session: RawH2, serve: (stream: number) => void): void {
  let served = 0;
  session.socket.on('data', () => {
    const heads = session.frames().filter(({ type }) => type === frameType.headers);
    for (const { stream } of heads.slice(served)) {
      served += 1;
      serve(stream);
    }
  });
  for (const { stream } of session.frames().filter(({ type }) => type === frameType.headers)) {
    served += 1;
    serve(stream);
  }
}

import { connect, type TLSSocket } from 'node:tls';

/**
 * As little of HTTP/2 (RFC 9113) as unary gRPC calls to one method take, one after another: what a caller costs is not
 * what is measured, and it shares the machine with what is.
 */
export interface LeanClient {
  /** Resolves when the server has answered with a message and ended the stream well. */
  call(message: Uint8Array): Promise<void>;
  close(): void;
}

export interface LeanClientOptions {
  readonly port: number;
  readonly path: string;
  /** PEM. */
  readonly anchor: string;
  readonly chain: string;
  readonly keyPem: string;
}

const frames = { data: 0, headers: 1, settings: 4, ping: 6, goaway: 7 } as const;
const flags = { ack: 1, endStream: 1, endHeaders: 4 } as const;
const headBytes = 9;
/** A refusal has no message; the smallest chain is longer. */
const leastMessageBytes = 500;

function frame(type: number, flag: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flag, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A string literal of HPACK (RFC 7541 §5.2), not Huffman-coded, shorter than 127 bytes. */
function literal(text: string): Buffer {
  return Buffer.concat([Buffer.of(text.length), Buffer.from(text, 'latin1')]);
}

/** Fields of the static table (RFC 7541 Appendix A), and literals that nobody needs to remember. */
function requestHeaders(path: string): Buffer {
  const [methodPost, schemeHttps] = [Buffer.of(0x83), Buffer.of(0x87)];
  const named = (index: number, value: string): Buffer =>
    Buffer.concat([index < 15 ? Buffer.of(index) : Buffer.of(15, index - 15), literal(value)]);
  return Buffer.concat([
    methodPost,
    schemeHttps,
    named(4, path),
    named(1, 'authority'),
    named(31, 'application/grpc'),
    Buffer.concat([Buffer.of(0), literal('te'), literal('trailers')]),
  ]);
}

/** gRPC over HTTP/2, "Length-Prefixed-Message": not compressed, length, message. */
function prefixed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

export async function connectLean({ port, path, anchor, chain, keyPem }: LeanClientOptions): Promise<LeanClient> {
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const tls = connect(
      {
        host: '127.0.0.1',
        port,
        ca: anchor,
        cert: chain,
        key: keyPem,
        ALPNProtocols: ['h2'],
        checkServerIdentity: () => undefined,
      },
      () => resolve(tls),
    );
    tls.once('error', reject);
  });
  socket.setNoDelay(true);
  socket.write(
    Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frames.settings, 0, 0, Buffer.alloc(0))]),
  );
  return new Connection(socket, requestHeaders(path));
}

class Connection implements LeanClient {
  readonly #socket: TLSSocket;
  readonly #headers: Buffer;
  #unread: Buffer = Buffer.alloc(0);
  #nextStream = 1;
  #messageBytes = 0;
  #waiting: { readonly resolve: () => void; readonly reject: (why: Error) => void } | undefined;

  constructor(socket: TLSSocket, headers: Buffer) {
    this.#socket = socket;
    this.#headers = headers;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#waiting?.reject(error));
    socket.on('close', () => this.#waiting?.reject(new Error('The server ended the connection')));
  }

  call(message: Uint8Array): Promise<void> {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#messageBytes = 0;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      const head = frame(frames.headers, flags.endHeaders, stream, this.#headers);
      this.#socket.write(Buffer.concat([head, frame(frames.data, flags.endStream, stream, prefixed(message))]));
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    let rest = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    while (rest.length >= headBytes) {
      const end = headBytes + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      this.#take(rest.readUInt8(3), rest.readUInt8(4), rest.subarray(headBytes, end));
      rest = rest.subarray(end);
    }
    this.#unread = rest;
  }

  #take(type: number, flag: number, payload: Buffer): void {
    if (type === frames.settings && (flag & flags.ack) === 0) {
      this.#socket.write(frame(frames.settings, flags.ack, 0, Buffer.alloc(0)));
    }
    if (type === frames.ping && (flag & flags.ack) === 0) this.#socket.write(frame(frames.ping, flags.ack, 0, payload));
    if (type === frames.data) this.#messageBytes += payload.length;
    if (type === frames.headers && (flag & flags.endStream) !== 0) this.#ended();
    if (type === frames.goaway) this.#waiting?.reject(new Error('The server goes away'));
  }

  /** The trailers are not decoded: a message this long is never sent with a failure. */
  #ended(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#messageBytes >= leastMessageBytes) waiting?.resolve();
    else waiting?.reject(new Error(`The call ended with a message of ${this.#messageBytes} bytes`));
  }
}

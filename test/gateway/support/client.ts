import { connect, type Socket } from 'node:net';

/** How one connection ended, as its client saw it. */
export interface Exchange {
  readonly received: Buffer;
  /** `eof`: a clean end of file came. `reset`: it was reset, or never connected. */
  readonly end: 'eof' | 'reset';
}

/** Connects, sends, half-closes, reads to the end. */
export function exchange(port: number, send: string | Buffer = ''): Promise<Exchange> {
  return readToEnd(connect({ port, host: '127.0.0.1', allowHalfOpen: true }).end(send));
}

export function readToEnd(socket: Socket): Promise<Exchange> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let end: Exchange['end'] = 'reset';
    if (socket.destroyed) return resolve({ received: Buffer.alloc(0), end });
    socket
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        end = 'eof';
        socket.end();
      })
      .on('error', () => {
        end = 'reset';
      })
      .on('close', () => resolve({ received: Buffer.concat(chunks), end }));
  });
}

export function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    socket
      .once('error', reject)
      .once('connect', () => resolve(socket.off('error', reject).on('error', () => undefined)));
  });
}

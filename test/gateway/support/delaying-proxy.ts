import { connect, createServer, type Socket } from 'node:net';

/** Bytes on the way at one time, as many as there ever were; `up`: from whoever dials the proxy. */
export interface InFlight {
  readonly up: number;
  readonly down: number;
}

/** Forwards TCP over a long way: every byte arrives so much later, however many there are. */
export interface DelayingProxy {
  readonly port: number;
  /** The most since the last call. */
  mostInFlight(): InFlight;
  close(): Promise<void>;
}

export async function startDelayingProxy(target: number, oneWayMs: number): Promise<DelayingProxy> {
  const open = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const now = { up: 0, down: 0 };
  let most = { up: 0, down: 0 };
  const later = (task: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      task();
    }, oneWayMs);
    timers.add(timer);
  };
  const forward = (from: Socket, to: Socket, way: keyof InFlight): void => {
    open.add(from);
    // Timers of one delay fire in the order in which they were set.
    from
      .on('data', (chunk: Buffer) => {
        now[way] += chunk.length;
        most[way] = Math.max(most[way], now[way]);
        later(() => {
          now[way] -= chunk.length;
          to.write(chunk);
        });
      })
      .on('error', () => undefined)
      .on('end', () => later(() => to.end()))
      .on('close', () => {
        open.delete(from);
        later(() => to.destroy());
      });
  };
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: target, host: '127.0.0.1', noDelay: true });
    forward(near, far, 'up');
    forward(far, near, 'down');
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    port: bound && typeof bound === 'object' ? bound.port : 0,
    mostInFlight() {
      const result = most;
      most = { ...now };
      return result;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
        for (const timer of timers) clearTimeout(timer);
      }),
  };
}

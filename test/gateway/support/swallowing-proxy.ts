import { connect, createServer, type Socket } from 'node:net';

/** Forwards TCP until told to swallow: then everything is taken and nothing arrives, as behind a black hole. */
export interface SwallowingProxy {
  readonly port: number;
  swallow(on: boolean): void;
  close(): Promise<void>;
}

export async function startSwallowingProxy(target: number): Promise<SwallowingProxy> {
  const open = new Set<Socket>();
  let swallowing = false;
  const forward = (from: Socket, to: Socket): void => {
    open.add(from);
    from
      .on('data', (chunk: Buffer) => {
        if (!swallowing) to.write(chunk);
      })
      .on('error', () => undefined)
      .on('end', () => {
        if (!swallowing) to.end();
      })
      .on('close', () => {
        open.delete(from);
        if (!swallowing) to.destroy();
      });
  };
  const server = createServer((inner) => {
    const outer = connect(target, '127.0.0.1');
    forward(inner, outer);
    forward(outer, inner);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    port: bound && typeof bound === 'object' ? bound.port : 0,
    swallow(on) {
      swallowing = on;
      // Connections whose bytes were lost are beyond repair.
      if (!on) for (const socket of open) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

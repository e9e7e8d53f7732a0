import { connect, createServer, type Socket } from 'node:net';

/** What happens to one connection after so many bytes in one direction. */
export interface Cut {
  readonly from: 'client' | 'server';
  readonly afterBytes: number;
  /** `silence`: everything is taken and nothing passed on, both ways, for `silenceMs`; then a reset. */
  readonly how: 'reset' | 'end' | 'silence';
}

/** Forwards TCP, but each new connection only up to its cut; when all cuts are used up, without end. */
export interface CuttingProxy {
  readonly port: number;
  /** Cuts that have not come to their end yet. */
  left(): number;
  close(): Promise<void>;
}

export async function startCuttingProxy(
  target: number,
  cuts: readonly Cut[],
  silenceMs: number,
): Promise<CuttingProxy> {
  const open = new Set<Socket>();
  let next = 0;
  let ended = 0;
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    const cut = cuts[next];
    next += 1;
    if (cut) client.once('close', () => (ended += 1));
    let silent = false;
    const reset = (): void => {
      for (const socket of [client, upstream]) {
        // A reset after an end leaks the descriptor (Node 20 to 24).
        if (socket.writableEnded) socket.destroy();
        else socket.resetAndDestroy();
      }
    };
    const strike = ({ how }: Cut): void => {
      silent = true;
      if (how === 'reset') reset();
      else if (how === 'end') for (const socket of [client, upstream]) socket.end();
      else setTimeout(reset, silenceMs);
    };
    const forward = (from: Socket, to: Socket, mine: Cut | undefined): void => {
      let bytes = 0;
      open.add(from);
      from.on('data', (chunk: Buffer) => {
        if (silent) return;
        const room = mine ? mine.afterBytes - bytes : Number.POSITIVE_INFINITY;
        bytes += chunk.length;
        to.write(chunk.subarray(0, Math.min(room, chunk.length)));
        if (mine && chunk.length >= room) strike(mine);
      });
      from
        .on('error', () => undefined)
        .on('close', () => {
          open.delete(from);
          to.destroy();
        });
    };
    forward(client, upstream, cut?.from === 'client' ? cut : undefined);
    forward(upstream, client, cut?.from === 'server' ? cut : undefined);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    port: bound && typeof bound === 'object' ? bound.port : 0,
    left: () => cuts.length - ended,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

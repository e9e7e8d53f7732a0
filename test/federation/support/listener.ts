import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Something that accepts TCP connections and says nothing, and can stop doing so. */
export interface Listener {
  readonly port: number;
  stop(): Promise<void>;
  /** Listens again on the same port. */
  restart(): Promise<void>;
}

export async function startListener(): Promise<Listener> {
  let server: Server;
  const listen = async (port: number): Promise<number> => {
    server = createServer((socket) => socket.on('error', () => undefined).resume());
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address ? address.port : 0;
  };
  const port = await listen(0);
  return {
    port,
    async stop(): Promise<void> {
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
    restart: async () => void (await listen(port)),
  };
}

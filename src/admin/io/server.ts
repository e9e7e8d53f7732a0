import { IsthmusError } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { clearStaleSocket, listenPrivately } from '../../runtime/io/unix-socket.ts';
import type { Routes } from '../routes.ts';
import { createApp } from './app.ts';

export interface AdminOptions {
  /** At most 103 bytes, in a directory that is there and private. */
  readonly socketPath: string;
  readonly routes: Routes;
  readonly log: Log;
}

export interface Admin {
  readonly socketPath: string;
  /** Ends every connection and removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves an API on a Unix socket of mode 0600: whoever may open it is the owner. The socket of a dead process is
 * replaced.
 * @throws IsthmusError `conflict` when a live process serves there or the path is something else than a socket
 */
export async function startAdmin({ socketPath, routes, log }: AdminOptions): Promise<Admin> {
  await clearStaleSocket(socketPath);
  const { fastify, server } = createApp(routes, () => true, log);
  await fastify.ready();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new IsthmusError('unavailable', `Cannot listen on ${socketPath}: ${cause.code ?? cause.message}`, { cause }),
      ),
    );
    listenPrivately(() => server.listen({ path: socketPath }, resolve));
  });
  return { socketPath, close: () => fastify.close() };
}

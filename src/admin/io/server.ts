import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { IsthmusError } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
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

/** A live server answers a connection at once; no answer within this is none. */
const probeTimeoutMs = 1000;

/**
 * Serves an API on a Unix socket of mode 0600: whoever may open it is the owner. The socket of a dead process is
 * replaced.
 * @throws IsthmusError `conflict` when a live process serves there or the path is something else than a socket
 */
export async function startAdmin({ socketPath, routes, log }: AdminOptions): Promise<Admin> {
  await clearStale(socketPath);
  const { fastify, server } = createApp(routes, () => true, log);
  await fastify.ready();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new IsthmusError('unavailable', `Cannot listen on ${socketPath}: ${cause.code ?? cause.message}`, { cause }),
      ),
    );
    // Binding happens inside the call, so the socket never exists with wider permissions.
    const mask = process.umask(0o177);
    try {
      server.listen({ path: socketPath }, resolve);
    } finally {
      process.umask(mask);
    }
  });
  return { socketPath, close: () => fastify.close() };
}

async function clearStale(path: string): Promise<void> {
  const info = await lstat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new IsthmusError('unavailable', `Cannot look at ${path}: ${cause.code ?? cause.message}`, { cause });
  });
  if (!info) return;
  if (!info.isSocket()) {
    throw new IsthmusError('conflict', `Cannot serve on ${path}: it is there and not a socket`, {
      hint: 'Move it away, or choose another path',
    });
  }
  if (await answers(path)) {
    throw new IsthmusError('conflict', `Cannot serve on ${path}: another process does`, {
      hint: 'Stop that one, or choose another state directory',
    });
  }
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (alive: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(alive);
    };
    // A full backlog keeps a connection waiting; only a live process has one.
    const timer = setTimeout(() => end(true), probeTimeoutMs);
    socket.once('connect', () => end(true));
    socket.once('error', (cause: NodeJS.ErrnoException) =>
      end(cause.code !== 'ECONNREFUSED' && cause.code !== 'ENOENT'),
    );
  });
}

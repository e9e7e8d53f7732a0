import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { IsthmusError } from '../../model/error.ts';

/** A live server answers a connection at once; no answer within this is none. */
const probeTimeoutMs = 1000;

/**
 * Removes the socket of a dead process.
 * @throws IsthmusError `conflict` when a live process serves there or the path is something else than a socket
 */
export async function clearStaleSocket(path: string): Promise<void> {
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

/** Calls `listen`, which must bind before it returns, so that a socket never exists with wider permissions than 0600. */
export function listenPrivately(listen: () => void): void {
  const mask = process.umask(0o177);
  try {
    listen();
  } finally {
    process.umask(mask);
  }
}

export interface UnixServer {
  /** Stops accepting, destroys what is open, removes the socket. */
  close(): Promise<void>;
}

export interface UnixServerOptions {
  readonly path: string;
  /** More are closed at once. */
  readonly maxConnections: number;
  readonly onConnection: (socket: Socket) => void;
}

/** Listens on a socket of mode 0600 in a directory that is there. @throws IsthmusError as `clearStaleSocket`, `unavailable` */
export async function listenUnix({ path, maxConnections, onConnection }: UnixServerOptions): Promise<UnixServer> {
  await clearStaleSocket(path);
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    onConnection(socket);
  });
  server.maxConnections = maxConnections;
  const gone = new Promise<void>((resolve) => void server.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    // Stays on: a failed accept is reported here too and must not end the process.
    server.on('error', (cause: NodeJS.ErrnoException) =>
      reject(new IsthmusError('unavailable', `Cannot listen on ${path}: ${cause.code ?? cause.message}`, { cause })),
    );
    listenPrivately(() => server.listen({ path }, resolve));
  });
  return {
    close(): Promise<void> {
      server.close();
      for (const socket of open) socket.destroy();
      return gone;
    },
  };
}

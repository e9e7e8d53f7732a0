import { createServer, type Server, type Socket } from 'node:net';
import { IsthmusError } from '../../model/error.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
}

export interface TcpServer {
  readonly host: string;
  /** The IP address that `host` came to. */
  readonly address: string;
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  /** Open connections. */
  readonly connections: ReadonlySet<Socket>;
  /** Stops accepting; open connections go on. */
  stop(): void;
  /** Stops accepting, destroys what is open, resolves when all is gone. */
  close(): Promise<void>;
}

/**
 * Listens for raw TCP with half-open connections allowed.
 * @throws IsthmusError `conflict` when the port is in use, `denied` when it may not be bound.
 */
export async function listenTcp(address: ListenAddress, onConnection: (socket: Socket) => void): Promise<TcpServer> {
  const connections = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    onConnection(socket);
  });
  const gone = new Promise<void>((resolve) => void server.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    // Stays on: a failed accept (no descriptors left) is reported here too and must not end the process; the client
    // is closed by the kernel and the listener goes on.
    server.on('error', (cause: NodeJS.ErrnoException) => reject(listenError(address, cause)));
    server.listen({ host: address.host, port: address.port, exclusive: true }, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new IsthmusError('internal', 'Listening socket has no port');
  return {
    host: address.host,
    address: bound.address,
    port: bound.port,
    connections,
    stop: () => void server.close(),
    close: () => {
      server.close();
      for (const socket of connections) socket.destroy();
      return gone;
    },
  };
}

/** Why an address cannot be listened on, as an IsthmusError: `conflict`, `denied` or `unavailable`. */
export function listenError(address: ListenAddress, cause: NodeJS.ErrnoException): IsthmusError {
  const where = `${address.host}:${address.port}`;
  if (cause.code === 'EADDRINUSE') {
    return new IsthmusError('conflict', `Cannot listen on ${where}: the port is in use`, { cause });
  }
  if (cause.code === 'EACCES') {
    return new IsthmusError('denied', `Cannot listen on ${where}: not permitted`, { cause });
  }
  return new IsthmusError('unavailable', `Cannot listen on ${where}: ${cause.code ?? cause.message}`, { cause });
}

import { createServer, type Server, type Socket } from 'node:net';

/** A TCP server of a test that can be made to misbehave. */
export interface Backend {
  readonly port: number;
  readonly connections: ReadonlySet<Socket>;
  /** Connections accepted so far. */
  readonly accepted: () => number;
  /** Stops listening and resets every connection, as a killed process would. */
  kill(): Promise<void>;
  /** Listens again on the same port. */
  revive(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a backend; `serve` owns each socket (half-open allowed). */
export async function startBackend(serve: (socket: Socket) => void, port = 0, host = '127.0.0.1'): Promise<Backend> {
  const connections = new Set<Socket>();
  let accepted = 0;
  let server: Server;
  const listen = (on: number): Promise<number> =>
    new Promise((resolve, reject) => {
      server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        accepted += 1;
        connections.add(socket);
        socket.on('error', () => undefined).once('close', () => connections.delete(socket));
        serve(socket);
      });
      server.once('error', reject).listen(on, host, () => {
        const bound = server.address();
        resolve(bound && typeof bound === 'object' ? bound.port : 0);
      });
    });
  const bound = await listen(port);
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of connections) {
        // Reset after `end()` it would never close, and this process never end.
        if (socket.writableEnded) socket.destroy();
        else socket.resetAndDestroy();
      }
    });
  return {
    port: bound,
    connections,
    accepted: () => accepted,
    kill,
    revive: async () => void (await listen(bound)),
    close: kill,
  };
}

/** Sends back what comes, ends when the client ends. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** Answers every connection with one line and ends. */
export function greet(line: string): (socket: Socket) => void {
  return (socket) => {
    socket.resume();
    socket.end(`${line}\n`);
  };
}

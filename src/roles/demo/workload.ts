import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { IsthmusError } from '../../model/error.ts';
import type { ClusterName, ServiceKey } from '../../model/names.ts';

/** One instance of a demo service: a plain HTTP server that says where it runs and can be killed abruptly. */
export class Workload {
  readonly cluster: ClusterName;
  readonly service: ServiceKey;
  /** Stays the same over a failure and its repair. */
  readonly port: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(cluster: ClusterName, service: ServiceKey, port: number) {
    this.cluster = cluster;
    this.service = service;
    this.port = port;
  }

  get running(): boolean {
    return this.#server !== undefined;
  }

  async start(): Promise<void> {
    if (this.#server) return;
    const body = `${this.service} answers from ${this.cluster}\n`;
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'text/plain');
      response.setHeader('x-served-by', this.cluster);
      response.end(body);
    });
    // The gateway decides how long a connection lives; a server that closes idle ones would race with its clients.
    server.keepAliveTimeout = 0;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(new IsthmusError('conflict', `Cannot start ${this.service} in ${this.cluster}`, { cause })),
      );
      server.listen({ host: '127.0.0.1', port: this.port }, resolve);
    });
    this.#server = server;
  }

  /** As a crash looks from outside: nothing listens any more and every connection is reset. */
  kill(): void {
    this.#server?.close();
    this.#server = undefined;
    for (const socket of this.#sockets) {
      // Reset after its end it would never close (Node 20 to 24).
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
}

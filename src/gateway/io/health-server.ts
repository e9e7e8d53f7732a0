import { createServer, type Server } from 'node:http';
import { IsthmusError } from '../../model/error.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * `/healthz/live` and `/healthz/ready`, the latter 503 with the reason while `waitingFor` gives one.
 * @throws IsthmusError `conflict`, `unavailable`
 */
export async function startHealthServer(
  address: ListenAddress,
  waitingFor: () => string | undefined,
): Promise<HealthServer> {
  const server: Server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    const reading = request.method === 'GET' || request.method === 'HEAD';
    const waiting = request.url === '/healthz/ready' ? waitingFor() : undefined;
    const known = request.url === '/healthz/ready' || request.url === '/healthz/live';
    const status = !known ? 404 : !reading ? 405 : waiting === undefined ? 200 : 503;
    const text = status === 200 ? 'ok' : (waiting ?? 'see /healthz/ready and /healthz/live');
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const where = `${address.host}:${address.port}`;
      const code = cause.code === 'EADDRINUSE' ? 'conflict' : 'unavailable';
      reject(new IsthmusError(code, `Cannot listen on ${where} for health checks: ${cause.code}`, { cause }));
    });
    server.listen({ host: address.host, port: address.port }, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new IsthmusError('internal', 'Listening socket has no port');
  return {
    port: bound.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

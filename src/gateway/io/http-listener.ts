import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { formatHostPort } from '../../model/address.ts';
import { IsthmusError } from '../../model/error.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';

/** A small HTTP server for machines that look after this one. */
export interface HttpListener {
  readonly port: number;
  close(): Promise<void>;
}

export interface HttpListenerOptions {
  readonly address: ListenAddress;
  /** What it is for, in an error's words: `health checks`. */
  readonly purpose: string;
  /** GET or HEAD only. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void;
}

/** @throws IsthmusError `conflict` when the port is in use, `unavailable` */
export async function listenHttp({ address, purpose, answer }: HttpListenerOptions): Promise<HttpListener> {
  const server: Server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    if (request.method === 'GET' || request.method === 'HEAD') return answer(request, response);
    sendText(response, 405, 'only GET and HEAD');
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'conflict' : 'unavailable';
      const why = cause.code === 'EADDRINUSE' ? 'the port is in use' : (cause.code ?? cause.message);
      reject(new IsthmusError(code, `Cannot listen on ${formatHostPort(address)} for ${purpose}: ${why}`, { cause }));
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

/** One line of text. */
export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}

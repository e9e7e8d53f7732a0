import { IsthmusError } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { refusalOf } from '../host-check.ts';
import type { Routes } from '../routes.ts';
import { createApp } from './app.ts';

export interface ReadOnlyOptions {
  /** A loopback address; port 0 = any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Only the `GET` ones are served. */
  readonly routes: Routes;
  readonly log: Log;
}

export interface ReadOnly {
  readonly host: string;
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

const readMethods: readonly string[] = ['GET', 'HEAD'];

/**
 * Serves the reading part of an API over TCP without sign-in: to programs of this machine, never to a page of another
 * origin (`host-check.ts`); there is no CORS. Nothing but GET and HEAD.
 * @throws IsthmusError `conflict` when the port is in use, `denied` when it may not be bound
 */
export async function startReadOnly({ listen, routes, log }: ReadOnlyOptions): Promise<ReadOnly> {
  const { fastify, server } = createApp(routes, ({ method }) => method === 'GET', log);
  let port = listen.port;
  fastify.addHook('onRequest', async (request, reply) => {
    const refusal = refusalOf(request.headers, { host: listen.host, port });
    if (refusal !== undefined) throw new IsthmusError('denied', `Refused: ${refusal}`);
    if (!readMethods.includes(request.method)) {
      reply.header('allow', readMethods.join(', '));
      return reply.code(405).send({ error: { code: 'denied', message: 'This listener is for reading only' } });
    }
    return undefined;
  });
  await fastify.ready();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(listen, cause)));
    server.listen({ host: listen.host, port: listen.port, exclusive: true }, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new IsthmusError('internal', 'Listening socket has no port');
  port = bound.port;
  return { host: listen.host, port, close: () => fastify.close() };
}

function listenError({ host, port }: ReadOnlyOptions['listen'], cause: NodeJS.ErrnoException): IsthmusError {
  const where = `${host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new IsthmusError('conflict', `Cannot listen on ${where}: the port is in use`, { cause });
  }
  if (cause.code === 'EACCES') {
    return new IsthmusError('denied', `Cannot listen on ${where}: not permitted`, { cause });
  }
  return new IsthmusError('unavailable', `Cannot listen on ${where}: ${cause.code ?? cause.message}`, { cause });
}

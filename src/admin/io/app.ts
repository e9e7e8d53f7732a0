import type { Server } from 'node:http';
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import { IsthmusError } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { replyOf } from '../error-reply.ts';
import { type Route, type RouteRequest, type Routes } from '../routes.ts';

/** A request is not longer, unless its route says so. */
const maxBodyBytes = 64 << 10;
/** From the first byte of a request to its last. */
const requestTimeoutMs = 5000;
const idleTimeoutMs = 10_000;
const maxConnections = 128;
const maxParamChars = 300;

/** Fastify around an own `Server`, which the caller makes listen. */
export interface App {
  readonly fastify: FastifyInstance;
  readonly server: Server;
}

/** An HTTP application of these routes, with `log` told of what no caller caused. Not listening yet. */
export function createApp(routes: Routes, which: (route: Route) => boolean, log: Log): App {
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    routerOptions: { maxParamLength: maxParamChars },
    forceCloseConnections: true,
    exposeHeadRoutes: true,
    // Messages of our own for what never reaches a route.
    frameworkErrors: (error, _request, reply) => void sendError(reply, clientError(error)),
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = clientError(thrown);
    if (error.code === 'internal' || error.code === 'corrupt') {
      log.error({ err: thrown, method: request.method, url: request.url }, 'admin request failed');
    }
    return sendError(reply, error);
  });
  app.setNotFoundHandler((request, reply) =>
    sendError(reply, new IsthmusError('not-found', `There is no ${request.method} ${request.url.slice(0, 200)}`)),
  );
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
  });
  for (const route of routes.filter(which)) {
    app.route({
      method: route.method,
      url: route.path,
      bodyLimit: route.maxBodyBytes ?? maxBodyBytes,
      handler: async (request, reply) => {
        const answer: unknown = await route.handler(requestOf(request));
        return reply.type('application/json; charset=utf-8').send(JSON.stringify(answer ?? null));
      },
    });
  }
  app.server.maxConnections = maxConnections;
  return { fastify: app, server: app.server };
}

function requestOf(request: { params: unknown; query: unknown; body: unknown }): RouteRequest {
  return { params: textsOf(request.params), query: textsOf(request.query), body: request.body };
}

/** Fastify gives an array for a repeated query parameter; the last one counts. */
function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null) return {};
  const texts = Object.entries(value).map(([key, each]): [string, string] => [
    key,
    String(Array.isArray(each) ? each.at(-1) : each),
  ]);
  return Object.fromEntries(texts);
}

/** Fastify's own refusals (bad JSON, too long) carry a status below 500: they are the caller's. */
function clientError(thrown: unknown): IsthmusError {
  const status = thrown instanceof Error && 'statusCode' in thrown ? thrown.statusCode : undefined;
  return IsthmusError.from(thrown, typeof status === 'number' && status < 500 ? 'invalid' : 'internal');
}

function sendError(reply: FastifyReply, error: IsthmusError): FastifyReply {
  const { status, body } = replyOf(error);
  return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body));
}

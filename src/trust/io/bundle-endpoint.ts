import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { IsthmusError, messageOf } from '../../model/error.ts';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import { readSecretFile } from '../../runtime/io/files.ts';
import { type ListenAddress, listenError } from '../../runtime/io/tcp-server.ts';
import { encodeBundle } from '../../wire/bundle.ts';
import { publishedBundles } from '../bundle/published.ts';

/** What readers are told to wait between two requests, in seconds (SPIFFE Federation §6.2 suggests five minutes). */
const refreshHintS = 300;
/** How often the certificate files are looked at, in ms: who renews them need not tell. */
const reloadMs = 30_000;
const requestTimeoutMs = 10_000;
const maxConnections = 1024;
const pathPrefix = '/v1/bundles/';

export interface BundleEndpointOptions {
  readonly listen: ListenAddress;
  /** PEM chain of a certificate that the Web PKI, or whoever reads, trusts for the host. */
  readonly certFile: string;
  /** PEM, 0600. */
  readonly keyFile: string;
  readonly trust: TrustSource;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BundleEndpoint {
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  /** Why the certificate in use is not the one of the files; undefined: it is. */
  problem(): string | undefined;
  close(): Promise<void>;
}

/**
 * Serves `GET /v1/bundles/<trust domain>` by the profile `https_web` (SPIFFE Federation §5.2.1): the newest bundle, to
 * everybody, without any client authentication.
 * @throws IsthmusError `invalid`, `denied` for the files, `conflict`, `denied` for the address
 */
export async function startBundleEndpoint(options: BundleEndpointOptions): Promise<BundleEndpoint> {
  const { listen, trust, clock, log } = options;
  let material = await readMaterial(options);
  let problem: string | undefined;
  const bodies = new BundleBodies(trust);
  const server = createServer(
    { ...material, maxHeaderSize: 8192, requestTimeout: requestTimeoutMs },
    (request, response) => reply(request, response, bodies),
  );
  server.headersTimeout = requestTimeoutMs;
  server.keepAliveTimeout = requestTimeoutMs;
  server.maxConnections = maxConnections;
  server.on('tlsClientError', (error) => log.debug({ why: error.message }, 'bundle endpoint: handshake failed'));
  const port = await listening(server, listen);

  let timer: Timer;
  let closed = false;
  const reload = async (): Promise<void> => {
    try {
      const next = await readMaterial(options);
      problem = undefined;
      if (next.cert !== material.cert || next.key !== material.key) {
        server.setSecureContext(next);
        material = next;
        log.info({}, 'bundle endpoint has a new certificate');
      }
    } catch (thrown) {
      const why = messageOf(thrown);
      if (why !== problem) log.error({ why }, 'bundle endpoint goes on with its old certificate');
      problem = why;
    }
    if (!closed) timer = clock.schedule(reloadMs, () => void reload());
  };
  timer = clock.schedule(reloadMs, () => void reload());
  log.info({ port }, 'bundles are served');
  return {
    port,
    problem: () => problem,
    close(): Promise<void> {
      closed = true;
      timer.cancel();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

type Material = SecureContextOptions & { readonly cert: string; readonly key: string };

/** TLS 1.2 and later, for readers of other makes; a foreign reader resumes nothing that would matter. */
async function readMaterial({ certFile, keyFile }: BundleEndpointOptions): Promise<Material> {
  const cert = await readFile(certFile, 'utf8').catch((cause: unknown) => {
    throw new IsthmusError('invalid', `Cannot read ${certFile}`, { cause });
  });
  const key = (await readSecretFile(keyFile)).toString('utf8');
  const material = { cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;
  try {
    createSecureContext(material);
  } catch (thrown) {
    // The cause could quote the key.
    throw new IsthmusError(
      'invalid',
      `${certFile} and ${keyFile} are no certificate with its key: ${messageOf(thrown)}`,
    );
  }
  return material;
}

async function listening(server: Server, listen: ListenAddress): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    // Stays on: a failed accept is reported here too and must not end the process.
    server.on('error', (cause: NodeJS.ErrnoException) => reject(listenError(listen, cause)));
    server.listen({ host: listen.host, port: listen.port, exclusive: true }, resolve);
  });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new IsthmusError('internal', 'Listening socket has no port');
  return bound.port;
}

/** The documents of the present trust, each encoded once. */
class BundleBodies {
  readonly #trust: TrustSource;
  #of: TrustSource['current'];
  #bodies: ReadonlyMap<TrustDomain, Uint8Array> = new Map();

  constructor(trust: TrustSource) {
    this.#trust = trust;
  }

  find(domain: TrustDomain): Uint8Array | undefined {
    const trust = this.#trust.current;
    if (trust && trust !== this.#of) {
      const contents = [...publishedBundles(trust)];
      this.#bodies = new Map(contents.map(([name, content]) => [name, encodeBundle({ ...content, refreshHintS })]));
      this.#of = trust;
    }
    return this.#bodies.get(domain);
  }
}

function reply(request: IncomingMessage, response: ServerResponse, bodies: BundleBodies): void {
  request.resume();
  response.setHeader('x-content-type-options', 'nosniff');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return end(response, 405, { allow: 'GET, HEAD' });
  }
  const domain = domainOf(request.url ?? '');
  const body = domain && bodies.find(domain);
  if (!body) return end(response, 404);
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-cache',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function end(response: ServerResponse, status: number, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { ...headers, 'content-length': 0, connection: 'close' }).end();
}

/** The trust domain of a path, spelled exactly: nothing is decoded, since its characters never need it. */
function domainOf(url: string): TrustDomain | undefined {
  const path = url.split('?', 1)[0] ?? '';
  if (!path.startsWith(pathPrefix)) return undefined;
  try {
    return parseTrustDomain(path.slice(pathPrefix.length));
  } catch {
    // Not a trust domain: there is nothing under this path.
    return undefined;
  }
}

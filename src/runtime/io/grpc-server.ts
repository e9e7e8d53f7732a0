import type { Server } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { injectorOf } from './grpc.ts';
import { type ListenAddress, listenTcp } from './tcp-server.ts';
import { acceptTls, type ChainCheck, secureContextOf, type TlsMaterial } from './tls.ts';

export interface GrpcListenerOptions<Peer> {
  readonly listen: ListenAddress;
  /** Holds the services; never listens itself. Shut down by `close`. */
  readonly server: Server;
  /** What to present now; the same object as long as nothing changed. Undefined: connections are refused. */
  readonly material: () => TlsMaterial | undefined;
  /** Says who the caller is; gets an empty chain from a caller without a certificate. Asked again for each call. */
  readonly check: ChainCheck<Peer>;
  /**
   * Whom a caller counts as that the check refuses at its handshake, so that its calls can be told why; undefined: it is
   * refused without a word. It is cut off a little later. Default: nobody is told.
   */
  readonly told?: (thrown: unknown) => Peer | undefined;
  readonly log: Log;
  /** Default 5,000. */
  readonly handshakeTimeoutMs?: number;
  /** Default 4,096; more are closed at once. */
  readonly maxConnections?: number;
}

/** The part of a gRPC call that tells connections apart. */
export interface PeerCall {
  getPeer(): string;
}

export interface GrpcListener<Peer> {
  readonly port: number;
  /** Who makes this call, verified anew; undefined: no longer trusted (or gone). */
  peerOf(call: PeerCall): Peer | undefined;
  /** Verifies every open connection anew and destroys those that fail: to be called when trust changed. */
  recheck(): void;
  close(): Promise<void>;
}

interface Connection {
  readonly socket: TLSSocket;
  readonly chain: readonly Uint8Array[];
  /** Refused already, and connected only to hear why. */
  readonly refused: boolean;
}

/** How long a refused caller has to ask and be told, in ms. */
const tellingMs = 1000;

/**
 * A gRPC server behind TLS of our own, so that the caller's whole chain is seen and judged by our verifier.
 * @throws IsthmusError as `listenTcp`
 */
export async function listenGrpc<Peer>(options: GrpcListenerOptions<Peer>): Promise<GrpcListener<Peer>> {
  const { log, maxConnections = 4096, handshakeTimeoutMs = 5000 } = options;
  const inject = injectorOf(options.server);
  const contexts = new WeakMap<TlsMaterial, SecureContext>();
  const connections = new Map<string, Connection>();

  const contextNow = (): SecureContext => {
    const material = options.material();
    if (!material) throw new IsthmusError('unavailable', 'No identity to present yet');
    const context = contexts.get(material) ?? secureContextOf(material);
    contexts.set(material, context);
    return context;
  };
  const accept = async (raw: Socket): Promise<void> => {
    const name = peerName(raw);
    let chain: readonly Uint8Array[] = [];
    let refused = false;
    const { socket, alpn } = await acceptTls(raw, {
      context: contextNow(),
      alpn: ['h2'],
      clientCertificate: 'optional',
      check: (presented) => {
        chain = presented;
        try {
          return options.check(presented);
        } catch (thrown) {
          refused = options.told?.(thrown) !== undefined;
          if (!refused) throw thrown;
          return undefined;
        }
      },
      timeoutMs: handshakeTimeoutMs,
    });
    if (alpn !== 'h2') {
      socket.destroy();
      throw new IsthmusError('invalid', 'Caller does not speak h2');
    }
    connections.set(name, { socket, chain, refused });
    socket.once('close', () => connections.delete(name));
    if (refused) {
      const timer = setTimeout(() => socket.destroy(), tellingMs).unref();
      socket.once('close', () => clearTimeout(timer));
    }
    // The HTTP/2 session reports errors of its own; this keeps a late one from ending the process.
    socket.on('error', (cause) => log.debug({ peer: name, err: cause.message }, 'gRPC connection failed'));
    inject(socket);
  };
  const server = await listenTcp(options.listen, (raw) => {
    raw.on('error', (cause) => log.debug({ peer: peerName(raw), err: cause.message }, 'connection failed'));
    if (server.connections.size > maxConnections) {
      log.warn({ limit: maxConnections }, 'too many gRPC connections, one is refused');
      raw.destroy();
      return;
    }
    accept(raw).catch((thrown: unknown) => {
      raw.destroy();
      log.info({ peer: peerName(raw), why: messageOf(thrown) }, 'gRPC connection refused');
    });
  });

  const judge = ({ socket, chain, refused }: Connection): Peer | undefined => {
    try {
      return options.check(chain);
    } catch (thrown) {
      if (refused) return options.told?.(thrown);
      log.info({ why: messageOf(thrown) }, 'gRPC connection closed: its caller is no longer trusted');
      socket.destroy();
      return undefined;
    }
  };
  return {
    port: server.port,
    peerOf(call): Peer | undefined {
      const connection = connections.get(call.getPeer());
      return connection && judge(connection);
    },
    recheck(): void {
      for (const connection of connections.values()) judge(connection);
    },
    async close(): Promise<void> {
      options.server.forceShutdown();
      await server.close();
    },
  };
}

/** As `getPeer` of grpc-js spells it. */
function peerName(socket: Socket): string {
  return `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
}

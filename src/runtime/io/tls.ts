import { constants } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  connect as connectTlsSocket,
  createSecureContext,
  type DetailedPeerCertificate,
  type SecureContext,
  TLSSocket,
} from 'node:tls';
import { IsthmusError } from '../../model/error.ts';

/**
 * TLS termination of our own, for every listener and dialler between roles.
 *
 * Why not `tls.Server`: a server must see the caller's whole chain to bind it to its trust domain and issuer, and
 * Node 24.21 hides all but the leaf at 'secureConnection'. A bare `TLSSocket` still shows it at 'secure', and can say
 * why a handshake was refused.
 */

/** Chains longer than this are refused unread. */
const maxChainLength = 6;

export interface TlsMaterial {
  /** DER, leaf first; undefined: a client without an identity. */
  readonly identity?: { readonly chain: readonly Uint8Array[]; readonly keyPem: string };
  /** DER anchors that OpenSSL checks against, before our own verifier binds the chain to its trust domain. */
  readonly anchors: readonly Uint8Array[];
}

/** Says who the peer is or throws why it is refused. `chain`: DER, leaf first, without what the peer did not send. */
export type ChainCheck<Peer> = (chain: readonly Uint8Array[]) => Peer;

export interface Secured<Peer> {
  readonly socket: TLSSocket;
  readonly peer: Peer;
  /** `h2`, or whatever was agreed; empty = the peer offered none. */
  readonly alpn: string;
}

export function pemOf(der: Uint8Array, label = 'CERTIFICATE'): string {
  const body = Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n');
  return `-----BEGIN ${label}-----\n${body}-----END ${label}-----\n`;
}

/** One context for many connections. TLS 1.3 only, never resumed: a resumed session would skip verification. */
export function secureContextOf(material: TlsMaterial): SecureContext {
  return createSecureContext({
    ca: material.anchors.map((der) => pemOf(der)),
    // An anchor may be an intermediate of a corporate hierarchy, whose root is no business of ours.
    allowPartialTrustChain: true,
    ...(material.identity && {
      cert: material.identity.chain.map((der) => pemOf(der)).join(''),
      key: material.identity.keyPem,
    }),
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
}

/** The peer's chain, leaf first. The library appends the anchor it found; a self-signed end is therefore kept. */
function chainOf(socket: TLSSocket): Uint8Array[] {
  return walkChain(socket.getPeerCertificate(true));
}

/** A detailed certificate of Node as DER, leaf first. Empty if the peer sent none. */
export function walkChain(leaf: DetailedPeerCertificate): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let next: DetailedPeerCertificate | undefined = leaf;
  while (next?.raw && chain.length < maxChainLength) {
    chain.push(next.raw);
    if (next.issuerCertificate === next) break;
    next = next.issuerCertificate;
  }
  return chain;
}

/** Undocumented parts of TLSSocket that own termination needs; a test notices when Node moves them. */
interface TlsInternals {
  readonly ssl: { verifyError(): (Error & { code?: string }) | null } | null;
  secureConnecting: boolean;
}

function refusal(socket: TLSSocket): string | undefined {
  const problem = (socket as unknown as TlsInternals).ssl?.verifyError();
  return problem ? (problem.code ?? problem.message) : undefined;
}

export interface AcceptOptions<Peer> {
  readonly context: SecureContext;
  readonly alpn: readonly string[];
  /** `required`: no certificate, no connection. `optional`: `check` is called with an empty chain. */
  readonly clientCertificate: 'required' | 'optional';
  readonly check: ChainCheck<Peer>;
  /** From the first byte to the end of the handshake. */
  readonly timeoutMs: number;
}

/** Server side. Rejects with `unauthenticated`, `timeout` or `unavailable`; the socket is then destroyed. */
export function acceptTls<Peer>(raw: Socket, options: AcceptOptions<Peer>): Promise<Secured<Peer>> {
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: options.context,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [...options.alpn],
  });
  return settle(socket, 'secure', options.timeoutMs, () => {
    const chain = chainOf(socket);
    if (chain.length > 0) {
      const problem = refusal(socket);
      if (problem) throw new IsthmusError('unauthenticated', `Peer's certificate was refused: ${problem}`);
    } else if (options.clientCertificate === 'required') {
      throw new IsthmusError('unauthenticated', 'Peer sent no certificate');
    }
    const peer = options.check(chain);
    // http2 and others wait for 'secureConnect' as long as this says the handshake goes on.
    (socket as unknown as TlsInternals).secureConnecting = false;
    return { socket, peer, alpn: socket.alpnProtocol || '' };
  });
}

export interface DialOptions<Peer> {
  readonly host: string;
  readonly port: number;
  readonly context: SecureContext;
  readonly alpn: readonly string[];
  readonly check: ChainCheck<Peer>;
  /**
   * Skip OpenSSL's own verdict because no anchor is known yet: only for a join, whose token pins the anchor that
   * `check` must then compare.
   */
  readonly unanchored?: boolean;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Client side. The peer's identity is a SPIFFE ID, so no host name is compared. */
export function dialTls<Peer>(options: DialOptions<Peer>): Promise<Secured<Peer>> {
  const raw = connectTcp({ host: options.host, port: options.port, noDelay: true });
  const socket = connectTlsSocket({
    socket: raw,
    secureContext: options.context,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [...options.alpn],
    ...(isIP(options.host) === 0 && { servername: options.host }),
  });
  const where = `${options.host}:${options.port}`;
  return settle(
    socket,
    'secureConnect',
    options.timeoutMs,
    () => {
      const problem = refusal(socket);
      if (problem && !options.unanchored) {
        throw new IsthmusError('unauthenticated', `Certificate of ${where} was refused: ${problem}`);
      }
      return { socket, peer: options.check(chainOf(socket)), alpn: socket.alpnProtocol || '' };
    },
    { raw, where, ...(options.signal && { signal: options.signal }) },
  );
}

interface SettleContext {
  readonly raw?: Socket;
  readonly where?: string;
  readonly signal?: AbortSignal;
}

/** Waits for the end of the handshake, whatever it is, and leaves no listener or timer behind. */
function settle<Peer>(
  socket: TLSSocket,
  event: 'secure' | 'secureConnect',
  timeoutMs: number,
  finish: () => Secured<Peer>,
  context: SettleContext = {},
): Promise<Secured<Peer>> {
  const { raw, where = 'peer', signal } = context;
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      socket.off(event, secured).off('error', failed).off('_tlsError', failed).off('close', closed).off('end', closed);
      raw?.off('error', failed);
      signal?.removeEventListener('abort', aborted);
    };
    const refuse = (error: IsthmusError): void => {
      end();
      // Whatever else the dying socket says is about a connection that nobody owns any more.
      socket.on('error', () => undefined);
      raw?.on('error', () => undefined);
      socket.destroy();
      raw?.destroy();
      reject(error);
    };
    const failed = (cause: Error): void =>
      refuse(new IsthmusError('unavailable', `TLS with ${where} failed: ${cause.message}`, { cause }));
    const closed = (): void =>
      refuse(new IsthmusError('unavailable', `TLS with ${where}: closed during the handshake`));
    const aborted = (): void => refuse(IsthmusError.from(signal?.reason, 'cancelled'));
    const timer = setTimeout(
      () => refuse(new IsthmusError('timeout', `TLS with ${where}: no handshake within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const secured = (): void => {
      let result: Secured<Peer>;
      try {
        result = finish();
      } catch (thrown) {
        return refuse(IsthmusError.from(thrown, 'unauthenticated'));
      }
      end();
      resolve(result);
    };
    socket.once(event, secured).once('error', failed).once('_tlsError', failed).once('close', closed);
    // With half-open sockets the peer's end does not close ours, yet no handshake can follow it.
    socket.once('end', closed);
    raw?.once('error', failed);
    if (signal?.aborted) return aborted();
    signal?.addEventListener('abort', aborted, { once: true });
  });
}

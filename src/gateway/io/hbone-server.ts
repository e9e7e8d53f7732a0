import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { listenTcp, type ListenAddress, type TcpServer } from '../../runtime/io/tcp-server.ts';
import { acceptTls } from '../../runtime/io/tls.ts';
import { encodeRefused, type HeaderFields, type MalformedReason, type RefusalReason } from '../../wire/connect.ts';
import type { GatewayLimits } from '../limits.ts';
import type { CountedReason, Refusals } from '../metrics/refusals.ts';
import { Handshakes } from '../tunnel/handshakes.ts';
import type { Credentials, GatewayPeer } from './credentials.ts';
import { handshakeFault } from '../tunnel/session-fault.ts';
import { PeerGuard } from '../tunnel/session-guard.ts';
import { serveSession } from './inbound-session.ts';
import type { BoundAddress } from './local-addresses.ts';
import { RefusalLog } from './refusal-log.ts';

export interface HboneServerOptions {
  readonly listen: ListenAddress;
  readonly credentials: Credentials;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly refusals?: Refusals;
  /** Each request of a verified gateway or workload. */
  readonly onConnect: (stream: ServerHttp2Stream, headers: HeaderFields, from: InboundPeer) => void;
}

export interface InboundPeer {
  readonly peer: GatewayPeer;
  readonly remoteAddress: string;
  /** Counts a request that makes no sense, and logs it once a minute. */
  malformed(reason: MalformedReason, detail: string): void;
}

/** Time for a refused caller to end its stream by itself. */
const refusedLingerMs = 2000;

/** Accepts sessions of other clusters' gateways. */
export class HboneServer {
  readonly #options: HboneServerOptions;
  readonly #refusals: RefusalLog;
  readonly #sessions = new Map<ServerHttp2Session, GatewayPeer>();
  readonly #handshakes: Handshakes<Socket>;
  readonly #guard: PeerGuard;
  #server: TcpServer | undefined;

  private constructor(options: HboneServerOptions) {
    this.#options = options;
    this.#refusals = new RefusalLog(options.log, options.clock, options.refusals);
    this.#handshakes = new Handshakes(options.limits);
    this.#guard = new PeerGuard(options.limits, options.limits.inboundSessions);
  }

  /** @throws IsthmusError `conflict`, `denied`, `unavailable` when the port cannot be had */
  static async start(options: HboneServerOptions): Promise<HboneServer> {
    const hbone = new HboneServer(options);
    hbone.#server = await listenTcp(options.listen, (socket) => void hbone.#accept(socket));
    return hbone;
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  /** Where it listens; undefined once it has stopped. */
  get bound(): BoundAddress | undefined {
    return this.#server && { address: this.#server.address, port: this.#server.port };
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Sessions of the peer that has most. */
  get mostOfOnePeer(): number {
    const counts = new Map<string, number>();
    for (const { id } of this.#sessions.values()) counts.set(id, (counts.get(id) ?? 0) + 1);
    return Math.max(0, ...counts.values());
  }

  /** Connections whose peer has not proved yet who it is; and those of the address that has most. */
  get handshakes(): { readonly all: number; readonly ofOneAddress: number } {
    return { all: this.#handshakes.size, ofOneAddress: this.#handshakes.mostOfOneAddress };
  }

  /** Time has passed: looks again at peers whose certificate has run out. `now`: wall clock in ms. */
  recheckExpired(now: number): void {
    this.#recheck((peer) => peer.notAfter <= now);
  }

  /** Trust has changed: sessions of peers that are no longer accepted end. */
  recheck(): void {
    this.#recheck(() => true);
  }

  #recheck(concerns: (peer: GatewayPeer) => boolean): void {
    for (const [session, peer] of this.#sessions) {
      if (!concerns(peer)) continue;
      const verdict = this.#options.credentials.recheck(peer);
      if (verdict.ok) continue;
      this.#options.log.warn({ peer: peer.id, reason: verdict.reason }, 'session of a peer ends: no longer accepted');
      if (verdict.reason === 'expired') session.close();
      else session.destroy(new IsthmusError('unauthenticated', verdict.detail), constants.NGHTTP2_NO_ERROR);
    }
  }

  /** Stops accepting sessions and tells the peers to go away; streams in progress go on. */
  drain(): void {
    this.#server?.stop();
    this.sendAway();
  }

  /** Tells the peers of all sessions to go away (GOAWAY); streams in progress go on. */
  sendAway(): void {
    for (const session of this.#sessions.keys()) session.close();
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const session of this.#sessions.keys()) session.destroy();
    await this.#server?.close();
  }

  async #accept(raw: Socket): Promise<void> {
    const { credentials, limits } = this.#options;
    const address = raw.remoteAddress ?? '';
    const remoteAddress = `${address}:${raw.remotePort}`;
    const context = credentials.context();
    if (!context) return this.#turnAway(raw, address, 'no-identity');
    if (this.#full) return this.#turnAway(raw, address, 'limit-inboundSessions');
    const oldest = this.#handshakes.enter(address, raw);
    if (oldest) this.#turnAway(oldest.connection, oldest.address, `limit-${oldest.limit}`);
    try {
      const { socket, peer, alpn } = await acceptTls(raw, {
        context,
        alpn: ['h2'],
        clientCertificate: 'required',
        check: (chain) => credentials.checkCaller(chain),
        timeoutMs: limits.handshakeTimeoutMs,
      });
      this.#handshakes.leave(address, raw);
      if (alpn !== 'h2') {
        this.#refusals.note(address, 'handshake-alpn', `Peer must speak 'h2': it offered '${alpn}'`);
      } else if (this.#full) {
        // Others have come in during the handshake.
        this.#refusals.note(peer.id, 'limit-inboundSessions');
      } else if (this.#sessionsOf(peer) >= limits.sessionsPerPeer) {
        this.#refusals.note(peer.id, 'limit-sessionsPerPeer');
      } else if (this.#guard.shuns(peer.id, this.#options.clock.monotonic())) {
        this.#refusals.note(peer.id, 'rapid-reset', 'It was cut off a moment ago');
      } else return this.#serve(socket, { peer, remoteAddress });
      socket.on('error', () => undefined).destroy();
    } catch (thrown) {
      // One that had to give way was counted then.
      if (!this.#handshakes.leave(address, raw)) return;
      const error = IsthmusError.from(thrown);
      this.#refusals.note(address, handshakeFault(error), error.message);
    }
  }

  get #full(): boolean {
    return this.#sessions.size >= this.#options.limits.inboundSessions;
  }

  #sessionsOf({ id }: GatewayPeer): number {
    let count = 0;
    for (const peer of this.#sessions.values()) if (peer.id === id) count += 1;
    return count;
  }

  #turnAway(raw: Socket, address: string, reason: CountedReason): void {
    this.#refusals.note(address, reason);
    raw.on('error', () => undefined).resetAndDestroy();
  }

  #serve(socket: TLSSocket, { peer, remoteAddress }: Omit<InboundPeer, 'malformed'>): void {
    const { clock, limits, onConnect } = this.#options;
    const note = (reason: CountedReason, detail: string): void => this.#refusals.note(peer.id, reason, detail);
    const from: InboundPeer = { peer, remoteAddress, malformed: note };
    const session = serveSession(socket, {
      limits,
      clock,
      onFault: note,
      onAbandoned: () => this.#guard.abandoned(peer.id, clock.monotonic()),
      onStream: (stream, headers) => onConnect(stream, headers, from),
    });
    this.#sessions.set(session, peer);
    session.on('close', () => this.#sessions.delete(session));
  }
}

/** Answers with a reason and lets the caller end the stream; one that does not is ended for it. */
export function refuseStream(stream: ServerHttp2Stream, reason: RefusalReason, clock: Clock): void {
  stream.on('error', () => undefined);
  if (stream.destroyed) return;
  stream.respond(encodeRefused(reason), { endStream: true });
  stream.resume();
  const timer = clock.schedule(refusedLingerMs, () => stream.close());
  stream.once('close', () => timer.cancel());
}

import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { listenTcp, type ListenAddress, type TcpServer } from '../../runtime/io/tcp-server.ts';
import { acceptTls } from '../../runtime/io/tls.ts';
import { encodeRefused, type HeaderFields, type RefusalReason } from '../../wire/connect.ts';
import type { GatewayLimits } from '../limits.ts';
import type { Refusals } from '../metrics/refusals.ts';
import type { Credentials, GatewayPeer } from './credentials.ts';
import { resetAllowance, settingsOf } from './http2-settings.ts';
import type { BoundAddress } from './local-addresses.ts';
import { RefusalLog } from './refusal-log.ts';
import { watchSession } from './watchdog.ts';

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
}

/** Time for a refused caller to end its stream by itself. */
const refusedLingerMs = 2000;

/** Accepts sessions of other clusters' gateways. */
export class HboneServer {
  readonly #options: HboneServerOptions;
  readonly #refusals: RefusalLog;
  readonly #sessions = new Map<ServerHttp2Session, GatewayPeer>();
  #handshakes = 0;
  #server: TcpServer | undefined;

  private constructor(options: HboneServerOptions) {
    this.#options = options;
    this.#refusals = new RefusalLog(options.log, options.clock, options.refusals);
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
    for (const session of this.#sessions.keys()) session.close();
  }

  /** Ends everything. */
  async close(): Promise<void> {
    for (const session of this.#sessions.keys()) session.destroy();
    await this.#server?.close();
  }

  async #accept(raw: Socket): Promise<void> {
    const { credentials, limits } = this.#options;
    const remoteAddress = `${raw.remoteAddress}:${raw.remotePort}`;
    const context = credentials.context();
    const room = this.#sessions.size + this.#handshakes < limits.inboundSessions;
    if (!context || !room) {
      this.#refusals.note(raw.remoteAddress ?? '', room ? 'no-identity' : 'too-many-sessions');
      raw.on('error', () => undefined).resetAndDestroy();
      return;
    }
    this.#handshakes += 1;
    try {
      const { socket, peer, alpn } = await acceptTls(raw, {
        context,
        alpn: ['h2'],
        clientCertificate: 'required',
        check: (chain) => credentials.checkCaller(chain),
        timeoutMs: limits.handshakeTimeoutMs,
      });
      if (alpn !== 'h2') {
        socket.on('error', () => undefined).destroy();
        throw new IsthmusError('invalid', `Peer must speak 'h2': it offered '${alpn}'`);
      }
      const session = performServerHandshake(socket, { settings: settingsOf(limits), ...resetAllowance });
      this.#serve(session, { peer, remoteAddress });
    } catch (thrown) {
      this.#refusals.note(raw.remoteAddress ?? '', `handshake-${IsthmusError.from(thrown).code}`, messageOf(thrown));
    } finally {
      this.#handshakes -= 1;
    }
  }

  #serve(session: ServerHttp2Session, from: InboundPeer): void {
    const { clock, limits, log } = this.#options;
    let streams = 0;
    this.#sessions.set(session, from.peer);
    session.setLocalWindowSize(limits.sessionWindowBytes);
    const unwatch = watchSession(session, {
      clock,
      rules: {
        pingIntervalMs: limits.idlePingIntervalMs,
        idlePingIntervalMs: limits.idlePingIntervalMs,
        silenceMs: limits.inboundSilenceMs,
      },
      streams: () => streams,
      onDead: (silentMs) =>
        session.destroy(new IsthmusError('timeout', `Nothing heard for ${Math.round(silentMs)} ms`)),
    });
    session.on('error', (error) => log.debug({ peer: from.peer.id, reason: messageOf(error) }, 'session failed'));
    session.on('close', () => {
      unwatch();
      this.#sessions.delete(session);
    });
    session.on('stream', (stream: ServerHttp2Stream, headers: HeaderFields) => {
      streams += 1;
      stream.once('close', () => {
        streams -= 1;
      });
      this.#options.onConnect(stream, headers, from);
    });
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

import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { ClusterRoute, GatewayTarget } from '../../model/route.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { dialTls } from '../../runtime/io/tls.ts';
import type { GatewayLimits } from '../limits.ts';
import { brokeRules, faultOf, type GatewayFault } from '../tunnel/session-fault.ts';
import { SessionGuard } from '../tunnel/session-guard.ts';
import { mayBecome, type SessionState } from '../tunnel/session-state.ts';
import type { Credentials, GatewayPeer } from './credentials.ts';
import { sessionBounds, settingsOf } from './http2-settings.ts';
import { watchSession } from './watchdog.ts';

/** A new stream is not put on a session that is this full while another could be opened. */
const busyAt = 0.8;

export interface SessionOptions {
  readonly cluster: ClusterRoute['name'];
  readonly target: GatewayTarget;
  readonly credentials: Credentials;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface SessionEvents {
  onRtt(ms: number): void;
  onPing(): void;
  /** The peer is to blame that there is no session, or none any more. */
  onFault(fault: GatewayFault, detail: string): void;
  /** No new streams from now on: draining or dead. */
  onLeave(session: TunnelSession): void;
  /** It is closed. */
  onEnd(session: TunnelSession): void;
}

/** A connection whose peer has sent its settings. */
interface Opened {
  readonly http2: ClientHttp2Session;
  readonly socket: TLSSocket;
  readonly peer: GatewayPeer;
}

/** One HTTP/2 session to one gateway of another cluster. */
export class TunnelSession {
  readonly peer: GatewayPeer;
  readonly instance: ReplicaName;
  /** Monotonic ms. */
  readonly openedAt: number;
  /** Of the identity that it was opened with, see `Credentials.generation`. */
  readonly generation: number;
  readonly #http2: ClientHttp2Session;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #limit: number;
  #state: SessionState;
  #active = 0;
  #opened = 0;
  #failure: Error | undefined;

  constructor({ http2, socket, peer }: Opened, options: SessionOptions, events: SessionEvents) {
    this.peer = peer;
    this.instance = options.target.instance;
    this.generation = options.credentials.generation;
    this.#http2 = http2;
    this.#clock = options.clock;
    this.#events = events;
    this.openedAt = options.clock.monotonic();
    this.#state = { kind: 'ready', since: this.openedAt };
    const { streamsPerSession, pingIntervalMs, idlePingIntervalMs, silenceMs } = options.limits;
    this.#limit = Math.min(streamsPerSession, http2.remoteSettings.maxConcurrentStreams ?? streamsPerSession);
    const unwatch = watchSession(http2, {
      socket,
      clock: options.clock,
      rules: { pingIntervalMs, idlePingIntervalMs, silenceMs },
      streams: () => this.#used(),
      onRtt: (ms) => events.onRtt(ms),
      onPing: () => events.onPing(),
      onDead: (silentMs) =>
        this.#blame('gateway-silent', `Nothing heard for ${Math.round(silentMs)} ms, a ping unanswered`),
    });
    http2.on('error', (error) => {
      this.#failure ??= error;
      if (brokeRules(error)) events.onFault('gateway-protocol', messageOf(error));
    });
    const guard = new SessionGuard(options.limits, this.openedAt);
    const control = (): void => {
      const abuse = http2.destroyed ? undefined : guard.control(options.clock.monotonic());
      if (abuse) this.#blame('gateway-control-flood', 'The peer was cut off: too many PING or SETTINGS frames');
    };
    http2.on('ping', control).on('remoteSettings', control);
    http2.on('goaway', () => this.#leave('draining', 'The peer is going away'));
    http2.on('close', () => {
      unwatch();
      this.#leave('dead', this.#failure ? messageOf(this.#failure) : 'The peer closed the connection');
      events.onEnd(this);
    });
  }

  get state(): SessionState {
    return this.#state;
  }

  /** It ended under its streams; they say nothing then. */
  get broken(): boolean {
    return this.#http2.destroyed;
  }

  get active(): number {
    return this.#active;
  }

  /** Streams beyond the peer's limit would be queued without a word, so they are counted here. */
  get full(): boolean {
    return this.#active >= this.#limit;
  }

  get busy(): boolean {
    return this.#active >= this.#limit * busyAt;
  }

  /** @throws IsthmusError `unavailable`, `exhausted` */
  open(headers: Record<string, string>): ClientHttp2Stream {
    if (this.#state.kind !== 'ready') throw new IsthmusError('unavailable', `The session is ${this.#state.kind}`);
    if (this.full) throw new IsthmusError('exhausted', `The session carries ${this.#active} streams, its limit`);
    let stream: ClientHttp2Stream;
    try {
      stream = this.#http2.request(headers, { endStream: false });
    } catch (cause) {
      throw new IsthmusError('unavailable', 'The session takes no more streams', { cause });
    }
    this.#active += 1;
    this.#opened += 1;
    stream.once('close', () => {
      this.#active -= 1;
    });
    return stream;
  }

  /** No new streams; ends when the last one has. */
  close(reason: string): void {
    this.#leave('draining', reason);
    if (!this.#http2.closed) this.#http2.close();
  }

  /** Ends it and every stream on it with `error`. */
  destroy(error: IsthmusError, code: number = constants.NGHTTP2_INTERNAL_ERROR): void {
    this.#failure ??= error;
    this.#leave('dead', error.message);
    this.#http2.destroy(error, code);
  }

  #blame(fault: GatewayFault, detail: string): void {
    this.#events.onFault(fault, detail);
    const flood = fault === 'gateway-control-flood';
    const code = flood ? constants.NGHTTP2_ENHANCE_YOUR_CALM : undefined;
    this.destroy(new IsthmusError(flood ? 'denied' : 'timeout', detail), code);
  }

  /** Streams open now or opened since the last call. */
  #used(): number {
    const used = this.#active + this.#opened;
    this.#opened = 0;
    return used;
  }

  #leave(kind: 'draining' | 'dead', reason: string): void {
    if (!mayBecome(this.#state, kind)) return;
    const wasReady = this.#state.kind === 'ready';
    this.#state = { kind, since: this.#clock.monotonic(), reason };
    if (wasReady) this.#events.onLeave(this);
  }
}

/**
 * Dials one gateway and waits for its settings: only then has it accepted our certificate.
 * @throws IsthmusError `unauthenticated`, `denied`, `invalid`, `timeout`, `unavailable`, `cancelled`
 */
export async function openSession(options: SessionOptions, events: SessionEvents): Promise<TunnelSession> {
  try {
    return await tryToOpen(options, events);
  } catch (thrown) {
    const fault = faultOf(thrown);
    if (fault) events.onFault(fault, messageOf(thrown));
    throw thrown;
  }
}

async function tryToOpen(options: SessionOptions, events: SessionEvents): Promise<TunnelSession> {
  const { target, credentials, limits } = options;
  const context = credentials.context();
  if (!context) throw new IsthmusError('unavailable', 'This gateway has no identity yet');
  const { socket, peer, alpn } = await dialTls({
    host: target.address,
    port: target.port,
    context,
    alpn: ['h2'],
    check: (chain) => credentials.check(chain, options.cluster),
    timeoutMs: limits.handshakeTimeoutMs,
    signal: options.signal,
  });
  const http2 = startHttp2(socket, limits);
  try {
    if (alpn !== 'h2') throw new IsthmusError('invalid', `The peer must speak 'h2': it chose '${alpn}'`);
    await settled(http2, options);
    return new TunnelSession({ http2, socket, peer }, options, events);
  } catch (thrown) {
    http2.destroy();
    // It would wait for its last write, which a peer that is gone never takes.
    socket.destroy();
    throw IsthmusError.from(thrown, 'unavailable');
  }
}

function startHttp2(socket: TLSSocket, limits: GatewayLimits): ClientHttp2Session {
  const http2 = connectHttp2('http://gateway', {
    createConnection: () => socket,
    settings: settingsOf(limits),
    ...sessionBounds,
  });
  // Owned from the first moment: an error that nobody hears would end the process.
  http2.on('error', () => undefined);
  http2.once('connect', () => http2.setLocalWindowSize(limits.sessionWindowBytes));
  return http2;
}

function settled(http2: ClientHttp2Session, { clock, limits, signal }: SessionOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      timer.cancel();
      http2.off('remoteSettings', accepted).off('error', failed).off('close', refused);
      signal.removeEventListener('abort', aborted);
    };
    const fail = (error: IsthmusError): void => {
      end();
      reject(error);
    };
    const accepted = (): void => {
      end();
      resolve();
    };
    const failed = (cause: Error): void => fail(new IsthmusError('unavailable', messageOf(cause), { cause }));
    const refused = (): void =>
      fail(
        new IsthmusError('unavailable', 'The peer closed the connection after the handshake: it may have refused us'),
      );
    const aborted = (): void => fail(new IsthmusError('cancelled', 'No longer wanted'));
    const timer = clock.schedule(limits.handshakeTimeoutMs, () =>
      fail(new IsthmusError('timeout', `No HTTP/2 settings within ${limits.handshakeTimeoutMs} ms`)),
    );
    http2.once('remoteSettings', accepted).once('error', failed).once('close', refused);
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
  });
}

import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { IsthmusError, messageOf } from '../../../model/error.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type { Outcome } from '../../balance/service-book.ts';
import { requestFields } from '../../http/h2/onward.ts';
import { Pulse } from '../../http/h2/pulse.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Dialled } from '../dial.ts';
import { endSoon } from '../farewell.ts';
import { roundTrip } from '../round-trip.ts';
import type { Channel, Outgoing, TryEvents, UpstreamTry } from './h2-channel.ts';
import { upstreamBounds, upstreamSettings } from './h2-settings.ts';
import { H2Try, type H2TryOwner } from './h2-try.ts';

export interface H2UpstreamOptions {
  readonly clock: Clock;
  readonly limits: GatewayLimits;
}

export interface H2UpstreamEvents {
  /** A stream has ended: there is room. */
  onRoom(upstream: H2Upstream): void;
  /** It takes no more streams. */
  onLeave(upstream: H2Upstream): void;
  onClose(upstream: H2Upstream): void;
}

/** A server that says nothing for so long while a request waits is asked whether it is there… */
const doubtMs = 10_000;
/** …and given up after this. */
const unansweredMs = 5000;
/** A session that is to end, and in which nothing runs, is over after this, whether the server has heard it or not. */
const leaveMs = 5000;

/** One HTTP/2 session, by prior knowledge, to one endpoint or through one tunnel. */
export class H2Upstream implements Channel, H2TryOwner {
  readonly dialled: Dialled;
  /** Monotonic ms. */
  readonly openedAt: number;
  /** Its part of the age that is meant, so that not all end at once: 0.5 to 1.5. */
  readonly ageShare: number;
  readonly headBytes: number;
  readonly #http2: ClientHttp2Session;
  readonly #clock: Clock;
  readonly #events: H2UpstreamEvents;
  readonly #limit: number;
  readonly #pulse = new Pulse({ doubtMs, unansweredMs });
  #active = 0;
  #leaving = false;
  #ending = false;
  #idleSince: number;

  constructor(http2: ClientHttp2Session, dialled: Dialled, options: H2UpstreamOptions, events: H2UpstreamEvents) {
    const { clock, limits } = options;
    this.dialled = dialled;
    this.#http2 = http2;
    this.headBytes = limits.httpHeadBytes;
    this.#clock = clock;
    this.#events = events;
    this.openedAt = clock.monotonic();
    this.ageShare = 0.5 + clock.random();
    this.#idleSince = this.openedAt;
    this.#limit = Math.min(limits.streamsPerSession, http2.remoteSettings.maxConcurrentStreams ?? Infinity);
    http2.on('goaway', () => this.#leave());
    http2.once('close', () => {
      this.#leave();
      events.onClose(this);
    });
  }

  get active(): number {
    return this.#active;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  /** Streams beyond the peer's limit would be queued without a word, so they are counted here. */
  get hasRoom(): boolean {
    return !this.#leaving && this.#active < this.#limit && this.dialled.usable && this.#open;
  }

  /** A session that breaks tells its streams first, and itself is not closed yet. */
  get #open(): boolean {
    return !this.#http2.closed && !this.#http2.destroyed;
  }

  /** Monotonic ms since which nothing runs; undefined: something does. */
  get idleSince(): number | undefined {
    return this.#active === 0 ? this.#idleSince : undefined;
  }

  send({ head, fields, endStream, trailers }: Outgoing, events: TryEvents): UpstreamTry {
    let stream: ClientHttp2Stream;
    try {
      stream = this.#http2.request(requestFields(head, fields), { endStream, waitForTrailers: trailers && !endStream });
    } catch (cause) {
      throw new IsthmusError('unavailable', 'The session takes no more requests', { cause });
    }
    this.#active += 1;
    this.dialled.reuse();
    this.#pulse.sent(this.#clock.monotonic());
    return new H2Try(stream, this, events);
  }

  /** The stream has ended. */
  release(outcome: Outcome): void {
    this.#active -= 1;
    this.dialled.release(outcome);
    if (this.#active === 0) this.#idleSince = this.#clock.monotonic();
    if (this.#leaving) this.#closeWhenDone();
    else this.#events.onRoom(this);
  }

  /** More of a request has been sent. */
  sent(): void {
    this.#pulse.sent(this.#clock.monotonic());
  }

  /** Something of a response has come. */
  heard(): void {
    this.#pulse.heard();
  }

  /** Call about once a second until it is closed. */
  check(now: number): void {
    // Whoever destroyed it: Node does, too.
    if (this.#http2.destroyed) return this.destroy();
    if (this.#active === 0) {
      if (this.#leaving && now - this.#idleSince >= leaveMs) this.destroy();
      return;
    }
    const verdict = this.#pulse.check(now);
    if (verdict === 'dead') return this.destroy(new IsthmusError('timeout', 'The server does not answer pings'));
    if (verdict !== 'ping') return;
    roundTrip(this.#http2, () => this.#pulse.pong());
  }

  /** Takes no more requests and ends after those in progress. */
  retire(): void {
    this.#leave();
  }

  destroy(error?: IsthmusError): void {
    this.#leave();
    this.#http2.destroy(error, constants.NGHTTP2_CANCEL);
    if (this.#ending) return;
    this.#ending = true;
    endSoon(this.dialled.end, this.#clock);
  }

  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#events.onLeave(this);
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#active === 0 && this.#open) this.#http2.close();
  }
}

/**
 * Begins HTTP/2 on a connection and waits for the peer's settings: only then it is known to speak it, and how many
 * streams it takes. The connection is owned from here on.
 * @returns ends it without a result
 */
export function openH2(
  dialled: Dialled,
  options: H2UpstreamOptions,
  done: (result: ClientHttp2Session | IsthmusError) => void,
): () => void {
  const { clock, limits } = options;
  const end: Duplex = dialled.end;
  const http2 = connectHttp2('http://upstream', {
    createConnection: () => end,
    settings: upstreamSettings(limits),
    ...upstreamBounds(limits),
  });
  let failure: Error | undefined;
  // Owned from the first moment: an error that nobody hears would end the process.
  http2.on('error', (error) => {
    failure ??= error;
  });
  http2.once('connect', () => http2.setLocalWindowSize(limits.sessionWindowBytes));
  // The connection may be half open, HTTP/2 may not. And a reset that is met while writing shows as no more than this.
  end.once('end', () => http2.destroy(new IsthmusError('unavailable', 'The server closed the connection')));
  const settle = (result: ClientHttp2Session | IsthmusError | undefined): void => {
    timer.cancel();
    http2.off('remoteSettings', ready).off('close', closed);
    if (!(result instanceof Object) || result instanceof IsthmusError) {
      http2.destroy();
      endSoon(end, clock);
    }
    if (result) done(result);
  };
  const ready = (): void => settle(http2);
  const closed = (): void => {
    const why = failure ? messageOf(failure) : 'it closed the connection';
    settle(new IsthmusError('unavailable', `${dialled.host} does not speak HTTP/2: ${why}`, { cause: failure }));
  };
  const timer = clock.schedule(limits.handshakeTimeoutMs, () =>
    settle(
      new IsthmusError('timeout', `${dialled.host} sent no HTTP/2 settings within ${limits.handshakeTimeoutMs} ms`),
    ),
  );
  http2.once('remoteSettings', ready).once('close', closed);
  return () => settle(undefined);
}

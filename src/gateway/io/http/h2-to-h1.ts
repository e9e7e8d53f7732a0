import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { Client, type Dispatcher, errors } from 'undici';
import { IsthmusError } from '../../../model/error.ts';
import type { Outcome } from '../../balance/service-book.ts';
import type { ServiceEntry } from '../../balance/service-entry.ts';
import { type RawFields, readResponseHead, readTrailers } from '../../http/h2/head.ts';
import { speaksAgainst } from '../../http/h2/outcome.ts';
import { fromH1Fields, toH1Fields } from '../../http/h2/translate.ts';
import { type Idle, IdlePool } from '../../http/idle-pool.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Dialled, Place } from '../dial.ts';
import { Link } from '../link.ts';
import { abortEnd } from '../splice.ts';
import type { Channel, Incoming, Outgoing, Seat, Seats, SeatWant, TryEvents, UpstreamTry } from './h2-channel.ts';
import type { H2SessionsOptions } from './h2-sessions.ts';

type Controller = Dispatcher.DispatchController;

/** Before an upstream's own limit it is not used any more: a request must not meet a connection that just closes. */
const keepAliveThresholdMs = 500;

/** What undici says, beside its parser, of a response that is none. */
const notHttp: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH']);

/** Connections to upstreams that speak HTTP/1.1, for requests that came over HTTP/2: one request at a time in each. */
export class H1Channels implements Seats {
  readonly speaks = 'HTTP/1.1';
  readonly #entry: ServiceEntry;
  readonly #options: H2SessionsOptions;
  readonly #idle: IdlePool<Place, H1Channel>;
  readonly #all = new Set<H1Channel>();
  readonly #stops = new Set<() => void>();

  constructor(entry: ServiceEntry, options: H2SessionsOptions) {
    const { httpUpstreams, httpUpstreamsPerPlace } = options.limits;
    this.#entry = entry;
    this.#options = options;
    this.#idle = new IdlePool({ total: httpUpstreams, perPlace: httpUpstreamsPerPlace });
  }

  get size(): number {
    return this.#all.size;
  }

  take(want: SeatWant, done: (seat: Seat) => void): () => void {
    const { upstreams, clock } = this.#options;
    const first = upstreams.first(this.#entry, want);
    const { key } = want;
    const now = clock.monotonic();
    const idle = first && this.#idle.take(first, now, (one) => !(first instanceof Link) || one.key === key);
    if (idle) {
      done({ channel: idle, attempts: 1 });
      return () => undefined;
    }
    const stop = upstreams.dial(this.#entry, want, {
      first,
      done: ({ dialled, attempts, nowhere, error }) => {
        this.#stops.delete(stop);
        if (dialled) return done({ channel: this.#open(dialled, key), attempts });
        done({ channel: undefined, attempts, why: nowhere ? 'nowhere' : 'failed', place: undefined, error });
      },
    });
    this.#stops.add(stop);
    return () => {
      this.#stops.delete(stop);
      stop();
    };
  }

  sweep(now: number, serves: (place: Place) => boolean): void {
    this.#idle.sweep(now, serves);
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#idle.clear();
    for (const one of this.#all) one.close();
  }

  #open(dialled: Dialled, key: string): H1Channel {
    const { clock, limits } = this.#options;
    const ageMs = limits.httpTunnelAgeMs * (0.5 + clock.random());
    const endsAt = dialled.place instanceof Link ? clock.monotonic() + ageMs : Number.POSITIVE_INFINITY;
    const channel = new H1Channel(dialled, key, {
      limits,
      onFree: (one) => {
        const now = clock.monotonic();
        one.reuseUntil = Math.min(endsAt, now + limits.httpUpstreamIdleMs);
        if (one.usable && now < endsAt) this.#idle.put(dialled.place, one);
        else one.close();
      },
      onClosed: (one) => {
        this.#all.delete(one);
        this.#idle.remove(dialled.place, one);
      },
    });
    this.#all.add(channel);
    return channel;
  }
}

interface H1ChannelOptions {
  readonly limits: GatewayLimits;
  /** Its request has ended in order. */
  readonly onFree: (channel: H1Channel) => void;
  readonly onClosed: (channel: H1Channel) => void;
}

/** One connection, written to and read from by undici. */
class H1Channel implements Channel, Idle {
  readonly dialled: Dialled;
  /** Whose requests may use it. */
  readonly key: string;
  reuseUntil: number = 0;
  readonly #client: Client;
  readonly #options: H1ChannelOptions;
  #used = false;
  #busy = false;
  #closed = false;

  constructor(dialled: Dialled, key: string, options: H1ChannelOptions) {
    const { limits } = options;
    this.dialled = dialled;
    this.key = key;
    this.#options = options;
    let given = false;
    const socket = dialled.end;
    socket.once('close', () => this.#gone());
    this.#client = new Client('http://upstream', {
      pipelining: 1,
      // Time is measured by whoever sends the request.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: limits.httpUpstreamIdleMs,
      keepAliveMaxTimeout: limits.httpUpstreamIdleMs,
      keepAliveTimeoutThreshold: keepAliveThresholdMs,
      maxHeaderSize: limits.httpHeadBytes,
      // It has this one connection; there is no second one behind its back.
      connect: (_options, callback) => {
        if (given || socket.destroyed)
          return callback(new IsthmusError('unavailable', 'The connection has ended'), null);
        given = true;
        // Not at once: undici, which has just asked, would not look again.
        queueMicrotask(() => callback(null, socket as Socket));
      },
    });
    this.#client.on('disconnect', () => this.#gone());
    this.#client.on('connectionError', () => this.#gone());
  }

  get hasRoom(): boolean {
    return !this.#busy && this.usable;
  }

  get usable(): boolean {
    return !this.#closed && !this.dialled.end.destroyed && this.dialled.usable;
  }

  send(outgoing: Outgoing, events: TryEvents): UpstreamTry {
    if (!this.usable) throw new IsthmusError('unavailable', 'The connection has ended');
    // The dialling counts for the first request.
    if (this.#used) this.dialled.reuse();
    this.#used = true;
    this.#busy = true;
    return new H1Try(this.#client, outgoing, {
      events,
      ended: (outcome, reusable) => {
        this.#busy = false;
        this.dialled.release(outcome);
        if (reusable) this.#options.onFree(this);
        else this.close();
      },
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#gone();
    void this.#client.destroy().catch(() => undefined);
    abortEnd(this.dialled.end);
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#used) this.dialled.release('neutral');
    this.#options.onClosed(this);
    this.close();
  }
}

/** What undici reads the request's body from. */
class UploadBody extends Readable {
  /** It wants more. */
  wanted: () => void = () => undefined;

  override _read(): void {
    this.wanted();
  }
}

interface H1TryOptions {
  readonly events: TryEvents;
  /** Once. `reusable`: another request may follow. */
  readonly ended: (outcome: Outcome, reusable: boolean) => void;
}

/** One request through undici. */
class H1Try implements UpstreamTry, Dispatcher.DispatchHandler {
  readonly #events: TryEvents;
  readonly #options: H1TryOptions;
  readonly #body: UploadBody | undefined;
  #controller: Controller | undefined;
  #head: Incoming | undefined;
  #outcome: Outcome | undefined;
  #uploaded: boolean;
  #silent = false;
  #ended = false;

  constructor(client: Client, { head, fields, endStream }: Outgoing, options: H1TryOptions) {
    this.#events = options.events;
    this.#options = options;
    this.#uploaded = endStream;
    if (!endStream) {
      this.#body = new UploadBody({ highWaterMark: 65_536 });
      this.#body.on('error', () => undefined);
      this.#body.wanted = () => {
        if (!this.#silent) this.#events.onDrain();
      };
    }
    client.dispatch(
      {
        path: head.path,
        method: head.method,
        headers: toH1Fields(head, fields),
        body: this.#body ?? null,
        idempotent: false,
      },
      this,
    );
    // Whoever speaks to the client meets its expectation (RFC 9110 §10.1.1).
    if (fields.some((name, index) => index % 2 === 0 && name === 'expect')) this.#events.onInfo(100, []);
  }

  write(chunk: Buffer): boolean {
    return this.#body === undefined || this.#body.destroyed || this.#body.push(chunk);
  }

  /** Trailers of a request have no way through undici; RFC 9110 §6.5.1 lets a recipient drop them. */
  end(): void {
    if (this.#uploaded) return;
    this.#uploaded = true;
    if (this.#body && !this.#body.destroyed) this.#body.push(null);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  buffered(): number {
    return this.#body?.readableLength ?? 0;
  }

  abort(outcome: Outcome): void {
    this.#silent = true;
    this.#outcome ??= outcome;
    this.#controller?.abort(new Error('The request is no longer wanted'));
    this.#body?.destroy();
    this.#end(false);
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#silent) controller.abort(new Error('The request is no longer wanted'));
  }

  onResponseStart(controller: Controller, status: number): void {
    if (this.#silent) return;
    const fields = fromH1Fields(textsOf(controller.rawHeaders));
    const head = readResponseHead([':status', String(status), ...fields]);
    if (!head || status > 599) return this.#refuse(controller);
    if (status < 200) return this.#events.onInfo(status, head.fields);
    this.#outcome = speaksAgainst(status, head.fields, false) ? 'failed' : 'good';
    this.#head = { ...head, endStream: false };
    this.#events.onHead(this.#head);
  }

  onRequestUpgrade(controller: Controller): void {
    // Nobody asked for it.
    this.#refuse(controller);
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    if (!this.#silent) this.#events.onData(chunk);
  }

  onResponseEnd(controller: Controller): void {
    const trailers = readTrailers(fromH1Fields(textsOf(controller.rawTrailers)));
    const silent = this.#silent;
    this.#silent = true;
    // What is left of the request would be taken for the next one.
    this.#end(this.#uploaded);
    if (!silent) this.#events.onEnd(trailers);
  }

  onResponseError(_controller: Controller, error: Error & { readonly code?: string }): void {
    const silent = this.#silent;
    this.#silent = true;
    this.#body?.destroy();
    const protocol = error instanceof errors.HTTPParserError || notHttp.has(error.code ?? '');
    const sent = this.#controller !== undefined;
    this.#end(false);
    if (!silent) this.#events.onFailed(protocol ? 'protocol' : sent ? 'reset' : 'away');
  }

  #refuse(controller: Controller): void {
    this.#silent = true;
    this.#outcome = 'failed';
    controller.abort(new Error('The response is not safe to pass on'));
    this.#end(false);
    this.#events.onFailed('protocol');
  }

  #end(reusable: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.ended(this.#outcome ?? 'reset', reusable);
  }
}

/** Raw names and values by turns, as latin1 texts; several values of one name come as a list in some versions. */
function textsOf(raw: Controller['rawHeaders']): RawFields {
  if (!Array.isArray(raw)) return [];
  return raw.map((text) => (typeof text === 'string' ? text : text.toString('latin1')));
}

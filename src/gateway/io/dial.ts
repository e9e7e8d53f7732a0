import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { IsthmusError } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import { type ConnectRequest, decodeAnswer, encodeConnect, type RefusalReason } from '../../wire/connect.ts';
import type { Attempt, Candidate } from '../balance/race.ts';
import type { Outcome, ServiceBook, Subject } from '../balance/service-book.ts';
import type { EndpointState, ServiceEntry } from '../balance/service-entry.ts';
import { timingOf } from '../balance/timing.ts';
import { addressOf, type Link } from './link.ts';
import type { LocalAddresses } from './local-addresses.ts';
import type { TunnelSession } from './session.ts';
import type { SpliceEnd } from './splice.ts';

/** Where one connection can lead: an endpoint here, or one gateway of another cluster. The same object while it is. */
export type Place = EndpointState | Link;

/** An upstream that is connected and has not seen a byte. */
export interface Dialled {
  readonly end: SpliceEnd;
  readonly place: Place;
  readonly cluster: ClusterName;
  /** `address:port` of the endpoint or of the gateway. */
  readonly host: string;
  /** Whether it may be used once more: the session below it, if any, is not about to end. */
  readonly usable: boolean;
  /** Must be called once, when it is no longer used. */
  release(outcome: Outcome): void;
  /** After `release`: it is in use again, and must be released again. */
  reuse(): void;
  /** An answer began so many ms after it was asked for. */
  answered(ms: number): void;
}

export interface DialContext {
  readonly book: ServiceBook;
  readonly now: () => number;
  readonly self: ClusterName;
  readonly limits: { readonly connectTimeoutMs: number; readonly raceAfterMs: number };
  readonly local: LocalAddresses;
}

/** Refusals that say something of the service there, not of the gateway or of this request. */
const aboutService: ReadonlySet<RefusalReason> = new Set(['not-exported', 'no-ready-endpoint', 'connect-failed']);
/** An endpoint that has not even accepted the connection by then is let go without a word. */
const giveUpMs = 5000;

const ignore = (): void => undefined;

/** A connected upstream in the books of its target. */
class Upstream implements Dialled {
  readonly end: SpliceEnd;
  readonly place: Place;
  readonly cluster: ClusterName;
  readonly host: string;
  readonly #context: DialContext;
  readonly #subject: Subject;
  readonly #session: TunnelSession | undefined;

  constructor(
    context: DialContext,
    subject: Subject,
    of: Pick<Dialled, 'end' | 'place' | 'host'> & { readonly session: TunnelSession | undefined },
  ) {
    this.#context = context;
    this.#subject = subject;
    this.#session = of.session;
    this.end = of.end;
    this.place = of.place;
    this.host = of.host;
    this.cluster = subject.kind === 'remote' ? subject.cluster : context.self;
  }

  get usable(): boolean {
    return this.#session === undefined || this.#session.state.kind === 'ready';
  }

  release(outcome: Outcome): void {
    const subject = this.#subject;
    subject.entry.target(this.cluster).active -= 1;
    if (subject.kind === 'endpoint') subject.state.active -= 1;
    // A tunnel that broke says nothing of the service behind it.
    const { book, now } = this.#context;
    book.ended(subject, this.#session?.broken ? 'neutral' : outcome, now());
  }

  reuse(): void {
    const subject = this.#subject;
    const target = subject.entry.target(this.cluster);
    target.active += 1;
    target.connections += 1;
    if (subject.kind === 'endpoint') subject.state.active += 1;
  }

  answered(ms: number): void {
    // Of a gateway, latency is that of the way to it: what it waits for is the business of the service.
    if (this.#subject.kind === 'endpoint') this.#subject.state.latency.observe(ms, this.#context.now());
  }
}

/** TCP to one local endpoint. */
export function localCandidate(
  context: DialContext,
  entry: ServiceEntry,
  { state, port }: { readonly state: EndpointState; readonly port: number },
): Candidate<Dialled> {
  return { ...timingOf(entry.connection, context.limits, 0), start: (won, lost) => dialEndpoint(won, lost) };

  function dialEndpoint(won: (value: Dialled) => void, lost: (error: IsthmusError) => void): Attempt {
    const { book, self, now, local } = context;
    const host = state.endpoint.address;
    const target = entry.target(self);
    const subject: Subject = { kind: 'endpoint', entry, state };
    const startedAt = now();
    target.active += 1;
    state.active += 1;
    const leave = (): void => {
      target.active -= 1;
      state.active -= 1;
    };
    const failed = (reason: string): void => {
      target.failures += 1;
      book.failed(subject, { reason, now: now() });
    };
    const socket = connectTcp({ host, port, noDelay: true, allowHalfOpen: true, lookup: local.lookup(port) });
    const refused = (cause: NodeJS.ErrnoException): void => {
      leave();
      failed(cause.code ?? cause.message);
      lost(new IsthmusError('unavailable', `Endpoint ${host}:${port} cannot be reached: ${cause.code}`, { cause }));
    };
    socket.once('error', refused).once('connect', () => {
      socket.off('error', refused);
      target.connections += 1;
      state.latency.observe(now() - startedAt, now());
      book.reached(subject, now());
      won(new Upstream(context, subject, { end: socket, place: state, host: `${host}:${port}`, session: undefined }));
    });
    return {
      cancel(why) {
        giveUp(socket.off('error', refused).on('error', ignore));
        leave();
        if (why === 'unwanted') return;
        state.latency.observe(now() - startedAt, now());
        failed(why === 'timeout' ? 'timeout' : 'slow');
      },
    };
  }
}

/**
 * Ends a connection that nobody wants any more. The endpoint may have accepted it: a plain close would look to it like a
 * client that had nothing to say, when in truth it was cut.
 */
function giveUp(socket: Socket): void {
  socket.setTimeout(giveUpMs, () => socket.destroy());
  socket.resetAndDestroy();
}

/** CONNECT through a session of one link; waits for a session when there is none. */
export function remoteCandidate(
  context: DialContext,
  entry: ServiceEntry,
  options: { readonly link: Link; readonly request: ConnectRequest; readonly wait: boolean },
): Candidate<Dialled> {
  const { link } = options;
  const timing = timingOf(entry.connection, context.limits, link.rttMs);
  return { ...timing, start: (won, lost) => new RemoteAttempt(context, entry, { ...options, won, lost }) };
}

interface RemoteOptions {
  readonly link: Link;
  readonly request: ConnectRequest;
  /** Wait for a session also when the gateway is known to be lost. */
  readonly wait: boolean;
  readonly won: (value: Dialled) => void;
  readonly lost: (error: IsthmusError) => void;
}

class RemoteAttempt implements Attempt {
  readonly #context: DialContext;
  readonly #entry: ServiceEntry;
  readonly #options: RemoteOptions;
  #stopWaiting: () => void = ignore;
  #stream: ClientHttp2Stream | undefined;
  #session: TunnelSession | undefined;
  #over = false;

  constructor(context: DialContext, entry: ServiceEntry, options: RemoteOptions) {
    this.#context = context;
    this.#entry = entry;
    this.#options = options;
    const { link } = options;
    entry.target(link.cluster).active += 1;
    const session = link.pick();
    if (session) this.#open(session);
    else if (link.reach === 'down' && !options.wait) this.#fail(new IsthmusError('unavailable', 'The gateway is lost'));
    else this.#wait();
  }

  cancel(why: 'timeout' | 'overtaken' | 'unwanted'): void {
    if (this.#over) return;
    this.#stopWaiting();
    // Silence of a gateway without a session says nothing of the service.
    if (why !== 'unwanted' && this.#stream) this.#blame(why === 'timeout' ? 'timeout' : 'slow');
    this.#end();
    this.#stream?.destroy(new Error('No longer wanted'));
  }

  #wait(): void {
    this.#stopWaiting = this.#options.link.whenReady((outcome) => {
      this.#stopWaiting = ignore;
      if (this.#over) return;
      if (!(outcome instanceof IsthmusError)) return this.#open(outcome);
      // Whatever lies between the gateways, it is not this caller who was refused.
      this.#fail(new IsthmusError('unavailable', outcome.message, { cause: outcome }));
    });
  }

  #open(session: TunnelSession): void {
    let stream: ClientHttp2Stream;
    try {
      stream = session.open(encodeConnect(this.#options.request));
    } catch (thrown) {
      return this.#fail(IsthmusError.from(thrown, 'unavailable'));
    }
    this.#stream = stream;
    this.#session = session;
    const { link } = this.#options;
    const died = (cause?: Error): void => {
      if (this.#over) return;
      this.#fail(
        new IsthmusError('unavailable', `Gateway ${addressOf(link.target)} did not answer: the stream was closed`, {
          ...(cause && { cause }),
        }),
      );
    };
    // Before an answer a lost session may show as a mere 'close'.
    stream.on('error', died).on('close', died);
    stream.once('response', (headers) => {
      stream.off('error', died).off('close', died);
      if (!this.#over) this.#answered(stream, headers);
    });
  }

  #answered(stream: ClientHttp2Stream, headers: IncomingHttpHeaders): void {
    const { link, won } = this.#options;
    const answer = decodeAnswer(headers);
    link.answered(answer);
    if (!answer.ok) {
      // A clean end, since resets count against a foreign peer's patience.
      stream.on('error', ignore).resume().end();
      if (answer.reason === undefined || aboutService.has(answer.reason)) {
        this.#blame(answer.reason ?? `status ${answer.status}`);
      }
      const why = answer.reason ?? `status ${answer.status}`;
      const code = answer.reason === 'denied' ? 'denied' : 'unavailable';
      return this.#fail(new IsthmusError(code, `Gateway ${addressOf(link.target)} refused: ${why}`));
    }
    this.#over = true;
    const { book, now } = this.#context;
    const target = this.#entry.target(link.cluster);
    target.connections += 1;
    const subject = this.#subject;
    book.reached(subject, now());
    if (answer.load !== undefined) target.load.note(link.target.instance, answer.load, now());
    const session = this.#session;
    won(new Upstream(this.#context, subject, { end: stream, place: link, host: addressOf(link.target), session }));
  }

  #blame(reason: string): void {
    this.#context.book.failed(this.#subject, { reason, now: this.#context.now() });
  }

  get #subject(): Subject {
    return { kind: 'remote', entry: this.#entry, cluster: this.#options.link.cluster };
  }

  #fail(error: IsthmusError): void {
    this.#end();
    this.#entry.target(this.#options.link.cluster).failures += 1;
    this.#options.lost(error);
  }

  #end(): void {
    this.#over = true;
    this.#entry.target(this.#options.link.cluster).active -= 1;
  }
}

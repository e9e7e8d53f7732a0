import type { ServerHttp2Stream } from 'node:http2';
import type { Timer } from '../../../model/ports/clock.ts';
import type { RetryCondition } from '../../../model/traffic.ts';
import { sourceOf } from '../../http/hash-source.ts';
import { Exchange } from '../../http/exchange.ts';
import { parseGrpcStatus } from '../../http/grpc/status.ts';
import { answerOf, grpcTrailers } from '../../http/h2/answer.ts';
import { BodyCopy } from '../../http/h2/body-copy.ts';
import { type Call, callOf, conditionOf, timeoutLeft } from '../../http/h2/call.ts';
import { fieldOf, fieldsOf, type H2RequestHead, type RawFields, readTrailers } from '../../http/h2/head.ts';
import { asHeaders, onwardFields, responseFields, withTryFields } from '../../http/h2/onward.ts';
import {
  bodyTooLarge,
  forbidden,
  noConnection,
  noEndpoint,
  overloaded,
  type Reply,
  upstreamMalformed,
  upstreamReset,
  upstreamTimeout,
} from '../../http/reply.ts';
import { mayRetry } from '../../http/retry.ts';
import { describeClient, describeServer } from '../../http/trace/describe.ts';
import type { AttemptTrace, RequestTrace } from '../../http/trace/tracer.ts';
import type { Place } from '../dial.ts';
import type { CutReason } from '../splice.ts';
import type { HttpClient, HttpContext } from './context.ts';
import type { Channel, Incoming, Seat, Seats, TryFailure, UpstreamTry } from './h2-channel.ts';
import { abortStream } from './h2-streams.ts';
import type { HttpPort } from './ports.ts';
import { tunnelFor } from './tunnel-key.ts';

/** What all requests of one client's connection share. */
export interface H2Side {
  readonly client: HttpClient;
  readonly context: HttpContext;
  readonly port: HttpPort;
  readonly seats: Seats;
}

export interface H2Accepted {
  readonly stream: ServerHttp2Stream;
  readonly head: H2RequestHead;
  /** It has no body. */
  readonly endStream: boolean;
  /** Monotonic ms. */
  readonly startedAt: number;
}

/** The try in progress. */
interface Current {
  readonly channel: Channel;
  readonly trace: AttemptTrace | undefined;
  readonly startedAt: number;
  sent: UpstreamTry | undefined;
}

/** Statuses whose responses have no content (RFC 9110 §6.4.1). */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304]);
/** What is told, and logged, of a request that is cut. */
const cutReplies: Readonly<Record<CutReason, Reply>> = {
  cut: { ...noConnection, flag: 'LR', details: 'gateway_drained' },
  overload: overloaded('receiveBudgetBytes'),
  denied: forbidden,
};
/** Of 1xx before a response. */
const maxInfos = 64;
/** Then an upstream that is about to leave counts as one that fails. */
const maxMoves = 3;
const cancelledDetails = 'downstream_remote_disconnect';

/** One request of an HTTP/2 client, from its head to the end of its response, over as many tries as it takes. */
export class H2Request {
  readonly exchange: Exchange;
  readonly #side: H2Side;
  readonly #stream: ServerHttp2Stream;
  readonly #head: H2RequestHead;
  readonly #endStream: boolean;
  readonly #call: Call;
  readonly #fields: RawFields;
  readonly #source: string | undefined;
  readonly #trace: RequestTrace | undefined;
  readonly #copy: BodyCopy;
  readonly #done: (request: H2Request) => void;
  readonly #tried: Place[] = [];
  readonly #timers: Timer[] = [];
  #tryTimer: Timer | undefined;
  #answerTimer: Timer | undefined;
  #stopWaiting: () => void = () => undefined;
  #current: Current | undefined;
  #tries = 0;
  /** Of these, such as only met an upstream that was leaving. */
  #moves = 0;
  #granted = false;
  /** Responses of the upstream that were not the last. */
  #infos = 0;
  /** The client's stream is read: an upstream takes what comes. */
  #reading = false;
  #requestEnded: boolean;
  #trailersIn: RawFields = [];
  #trailersOut: RawFields = [];
  /** The head of a response has gone to the client. */
  #answered = false;
  /** Everything has gone to the client. */
  #complete = false;
  #settled = false;
  #seenBytes = -1;
  #quietSince = 0;

  constructor(side: H2Side, accepted: H2Accepted, done: (request: H2Request) => void) {
    const { stream, head, endStream, startedAt } = accepted;
    const { client, context, port } = side;
    this.#side = side;
    this.#stream = stream;
    this.#head = head;
    this.#endStream = endStream;
    this.#requestEnded = endStream;
    this.#done = done;
    this.#call = callOf(head, port.plan);
    this.#copy = new BodyCopy(context.limits.httpReplayBytes);
    this.#source = sourceOf(port.entry.loadBalancing, client.source, {
      header: (name) => fieldOf(head.fields, name),
      cookies: () => fieldsOf(head.fields, 'cookie'),
    });
    this.#trace = context.tracer?.begin(one(fieldsOf(head.fields, 'traceparent')), fieldsOf(head.fields, 'tracestate'));
    const onward = onwardFields(head, {
      clientAddress: client.onward && client.source,
      requestId: context.requestId,
      traced: this.#trace !== undefined,
    });
    this.#fields = onward.fields;
    this.exchange = new Exchange({
      about: client.about,
      service: client.service,
      port: client.port,
      startedAt,
      request: {
        protocol: 'HTTP/2',
        method: head.method,
        path: head.path,
        authority: head.authority,
        userAgent: fieldOf(head.fields, 'user-agent'),
        requestId: onward.requestId,
        forwardedFor: onward.forwardedFor,
      },
    });
    this.exchange.traceparent = this.#trace?.traceparent ?? fieldOf(head.fields, 'traceparent');
  }

  /** Bytes that wait in this process for a receiver. */
  buffered(): number {
    const { readableLength, writableLength } = this.#stream;
    return readableLength + writableLength + (this.#current?.sent?.buffered() ?? 0);
  }

  /** `refusal`: it is not to be sent on. */
  start(refusal: Reply | undefined): void {
    const { entry, budget } = this.#side.port;
    const stream = this.#stream;
    entry.circuit.begin();
    budget.begin();
    stream.on('error', () => undefined);
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.on('drain', () => this.#current?.sent?.resume());
    stream.on('close', () => this.#closed());
    if (stream.destroyed) return this.#closed();
    if (refusal) return this.#reply(refusal);
    this.#startTimers();
    this.#try();
  }

  /** Answers by itself. */
  #reply(reply: Reply): void {
    this.#settle();
    const stream = this.#stream;
    const { fields, body, grpcStatus } = answerOf(reply, this.#call.grpc);
    this.exchange.replied(reply);
    this.exchange.answeredCall(grpcStatus);
    this.#answered = true;
    this.#complete = true;
    if (stream.destroyed) return;
    const bare = body === undefined || this.#head.method === 'HEAD';
    stream.respond([...fields], { endStream: bare });
    if (!bare) stream.end(body);
    this.exchange.bytesSent = bare ? 0 : Buffer.byteLength(body);
    this.#endUpload();
  }

  /** Ends what was idle for too long. `now`: monotonic ms. */
  sweep(now: number): void {
    const bytes = this.exchange.bytesReceived + this.exchange.bytesSent;
    if (bytes !== this.#seenBytes) {
      this.#side.context.goesOn(this.exchange);
      this.#seenBytes = bytes;
      this.#quietSince = now;
      return;
    }
    const { plan, entry } = this.#side.port;
    const idleMs = plan.idleTimeoutMs ?? entry.connection.idleTimeoutMs ?? this.#side.context.limits.idleTimeoutMs;
    if (now - this.#quietSince >= idleMs)
      this.#giveUp({ ...upstreamTimeout, flag: 'SI', details: 'stream_idle_timeout' });
  }

  /** This gateway ends it. */
  cut(why: CutReason): void {
    this.#giveUp(cutReplies[why]);
  }

  #startTimers(): void {
    const { clock } = this.#side.context;
    const { answerMs, deadlineMs } = this.#call;
    const elapsed = clock.monotonic() - this.exchange.startedAt;
    if (answerMs !== undefined) {
      this.#answerTimer = clock.schedule(answerMs - elapsed, () => this.#giveUp(upstreamTimeout));
    }
    if (deadlineMs === undefined) return;
    const expired = { ...upstreamTimeout, reason: 'Deadline exceeded', details: 'grpc_deadline_exceeded' };
    this.#timers.push(clock.schedule(Math.max(0, deadlineMs - elapsed), () => this.#giveUp(expired)));
  }

  /** Looks for a way to an upstream, and sends the request there. */
  #try(): void {
    const { client, port, seats } = this.#side;
    this.#tries += 1;
    const tunnel = tunnelFor(client.onward, port.entry.loadBalancing, this.#source);
    const want = { port: client.port, source: this.#source, ...tunnel, tried: this.#tried };
    this.#stopWaiting = seats.take(want, (seat) => this.#seated(seat));
  }

  #seated(seat: Seat): void {
    if (this.exchange.ended || this.#complete) return;
    this.#stopWaiting = () => undefined;
    const { channel, attempts } = seat;
    this.exchange.attempts += attempts;
    if (!channel) return this.#unreachable(seat);
    const { clock } = this.#side.context;
    const { host, cluster } = channel.dialled;
    const now = clock.monotonic();
    this.#settle();
    this.exchange.host = host;
    this.exchange.cluster = cluster;
    this.exchange.reason = this.#side.port.entry.result.reasons.get(cluster);
    this.exchange.connectedAt = now;
    const current: Current = { channel, trace: this.#trace?.attempt(), startedAt: now, sent: undefined };
    this.#current = current;
    const { perTryMs } = this.#side.port.plan.retries;
    if (perTryMs !== undefined) this.#tryTimer = clock.schedule(perTryMs, () => this.#tryLate());
    this.#send(current);
  }

  #send(current: Current): void {
    const { channel, trace, startedAt } = current;
    const grpcTimeout = timeoutLeft(this.#call, startedAt - this.exchange.startedAt);
    try {
      current.sent = channel.send(
        {
          head: this.#head,
          fields: withTryFields(this.#fields, { trace: trace?.fields, grpcTimeout }),
          endStream: this.#endStream,
          // A call has none (PROTOCOL-HTTP2.md, "Requests").
          trailers: !this.#call.grpc,
        },
        {
          onInfo: (status, fields) => this.#info(status, fields),
          onHead: (head) => this.#responded(head),
          onData: (chunk) => this.#data(chunk),
          onEnd: (trailers) => this.#responseEnded(trailers),
          onFailed: (failure) => this.#failed(failure),
          onDrain: () => this.#stream.resume(),
        },
      );
    } catch {
      // The session was about to end; nothing was sent.
      return this.#failed('away');
    }
    for (const chunk of this.#copy.chunks) current.sent.write(chunk);
    if (this.#endStream) return;
    if (this.#requestEnded) current.sent.end(this.#trailersIn);
    else this.#read();
  }

  /** From now on what the client sends goes to the upstream. */
  #read(): void {
    const stream = this.#stream;
    if (this.#reading) return void stream.resume();
    this.#reading = true;
    stream.on('trailers', (_headers: unknown, _flags: unknown, raw: RawFields) => {
      this.#trailersIn = readTrailers(raw);
    });
    stream.on('data', (chunk: Buffer) => this.#upload(chunk));
    stream.on('end', () => {
      // A reset by the client ends like this, too; its 'close' follows at once.
      if (stream.rstCode) return;
      this.#requestEnded = true;
      this.#current?.sent?.end(this.#trailersIn);
    });
  }

  #upload(chunk: Buffer): void {
    this.exchange.bytesReceived += chunk.length;
    if (this.exchange.bytesReceived > this.#side.context.limits.httpBodyBytes) return this.#giveUp(bodyTooLarge);
    if (!this.#answered) this.#copy.add(chunk);
    if (this.#current?.sent?.write(chunk) === false) this.#stream.pause();
  }

  #info(status: number, fields: RawFields): void {
    this.#infos += 1;
    // They are written whether the client reads or not.
    if (this.#infos > maxInfos) {
      this.#current?.sent?.abort('failed');
      return this.#failed('protocol');
    }
    if (!this.#answered && !this.#stream.destroyed) {
      this.#stream.additionalHeaders({ ...asHeaders(fields), ':status': status });
    }
  }

  #responded(head: Incoming): void {
    const { clock } = this.#side.context;
    const current = this.#current;
    const now = clock.monotonic();
    if (current) current.channel.dialled.answered(now - current.startedAt);
    const condition = conditionOf(this.#call, head);
    if (condition !== undefined && this.#mayRetry(condition)) {
      const { status, fields } = head;
      current?.sent?.abort('failed');
      return this.#again({ status, grpcStatus: parseGrpcStatus(fieldOf(fields, 'grpc-status')) }, String(condition));
    }
    this.#answerTimer?.cancel();
    this.#tryTimer?.cancel();
    this.#copy.drop();
    this.exchange.answeredAt = now;
    this.exchange.status = head.status;
    const stream = this.#stream;
    if (stream.destroyed) return;
    const bare = head.endStream || this.#head.method === 'HEAD' || bodiless.has(head.status);
    this.#answered = true;
    stream.respond(responseFields(head.status, head.fields, this.#servedBy), {
      endStream: bare,
      waitForTrailers: !bare,
    });
    if (!bare) return;
    this.#noteGrpc(head.fields);
    this.#complete = true;
    this.#endUpload();
  }

  #data(chunk: Buffer): void {
    if (this.#complete || this.#stream.destroyed) return;
    this.exchange.bytesSent += chunk.length;
    if (!this.#stream.write(chunk)) this.#current?.sent?.pause();
  }

  #responseEnded(trailers: RawFields): void {
    this.#endTry(undefined);
    if (this.#complete) return;
    this.#noteGrpc(trailers);
    this.#finish(trailers);
  }

  /** All of the body has been handed to the client's stream. */
  #finish(trailers: RawFields): void {
    this.#complete = true;
    this.#trailersOut = trailers;
    if (!this.#stream.destroyed) this.#stream.end();
  }

  #sendTrailers(): void {
    if (this.#stream.destroyed) return;
    this.#stream.sendTrailers(asHeaders(this.#trailersOut));
    this.#endUpload();
  }

  /** The response is whole: a client that is still sending may stop (RFC 9113 §8.1). */
  #endUpload(): void {
    if (this.#requestEnded) return;
    this.#requestEnded = true;
    this.#stream.close();
  }

  #noteGrpc(fields: RawFields): void {
    if (this.#call.grpc) this.exchange.grpcStatus = parseGrpcStatus(fieldOf(fields, 'grpc-status'));
  }

  #tryLate(): void {
    this.#current?.sent?.abort('failed');
    if (this.#mayRetry('reset')) return this.#again({ status: 0, grpcStatus: undefined }, 'per_try_timeout');
    this.#current = this.#endTry('per_try_timeout');
    this.#giveUp(upstreamTimeout);
  }

  #failed(failure: TryFailure): void {
    if (this.#complete) return this.#endTry(undefined);
    if (this.#answered) return this.#giveUp(failure === 'protocol' ? upstreamMalformed : upstreamReset);
    if (failure === 'away' && this.#mayMove()) return this.#again({ status: 0, grpcStatus: undefined }, failure);
    if (failure !== 'protocol' && this.#mayRetry(failure === 'reset' ? 'reset' : 'connect')) {
      return this.#again({ status: 0, grpcStatus: undefined }, failure);
    }
    this.#giveUp(failure === 'protocol' ? upstreamMalformed : upstreamReset);
  }

  #unreachable(seat: Extract<Seat, { channel: undefined }>): void {
    // The gateway over there does not know who asks for what, only that this caller gets nothing.
    if (seat.error?.code === 'denied') return this.#giveUp(forbidden);
    if (seat.place && this.#mayRetry('connect')) {
      this.#tried.push(seat.place);
      return this.#try();
    }
    this.#giveUp(
      seat.why === 'busy' ? overloaded('httpSessionsPerPlace') : seat.why === 'nowhere' ? noEndpoint : noConnection,
    );
  }

  #mayRetry(condition: RetryCondition): boolean {
    const { plan, budget } = this.#side.port;
    if (!this.#allows(condition)) return false;
    this.#granted ||= budget.take(plan.retries);
    return this.#granted;
  }

  /**
   * Whether it goes elsewhere because an upstream that it met was about to leave. All requests in progress may meet that
   * at once, and none has cost it anything, so that counts neither as a try nor against the budget (as in gRFC A6).
   */
  #mayMove(): boolean {
    if (this.#moves >= maxMoves || !this.#allows('connect')) return false;
    this.#moves += 1;
    return true;
  }

  #allows(condition: RetryCondition): boolean {
    const failed = {
      condition,
      method: this.#head.method,
      tries: this.#tries - this.#moves,
      replayable: this.#copy.whole,
    };
    return !this.#answered && !this.#stream.destroyed && mayRetry(this.#side.port.plan.retries, failed);
  }

  #again(of: { readonly status: number; readonly grpcStatus: number | undefined }, error: string): void {
    const place = this.#current?.channel.dialled.place;
    if (place) this.#tried.push(place);
    this.#endTry(error, of);
    if (this.#reading) this.#stream.pause();
    this.#try();
  }

  /** Ends the span of the present try; what runs there is no longer this request's. */
  #endTry(
    error: string | undefined,
    of: { readonly status: number; readonly grpcStatus: number | undefined } = this.exchange,
  ): undefined {
    this.#tryTimer?.cancel();
    const current = this.#current;
    this.#current = undefined;
    if (!current) return;
    const { host, cluster } = current.channel.dialled;
    const { status, grpcStatus } = of;
    current.trace?.end(() =>
      describeClient(this.exchange, { host, cluster, status, grpcStatus, resends: this.#tries - 1, error }),
    );
  }

  /** It will not be answered by an upstream, or not to the end. */
  #giveUp(reply: Reply): void {
    if (this.exchange.ended) return;
    this.#stopWaiting();
    this.#current?.sent?.abort(reply === upstreamTimeout ? 'failed' : 'neutral');
    this.#endTry(reply.details);
    if (!this.#answered) return this.#reply(reply);
    this.exchange.broken(reply.flag, reply.details);
    if (this.#complete || !this.#call.grpc) return abortStream(this.#stream, 'error');
    // A client of gRPC is told the reason in the trailers that it waits for.
    const trailers = grpcTrailers(reply.status, reply.reason);
    this.#noteGrpc(trailers);
    this.#finish(trailers);
  }

  /** For a client of this cluster that asks. */
  get #servedBy(): string | undefined {
    const asks = this.#side.client.onward && fieldOf(this.#head.fields, 'x-isthmus-served-by') !== undefined;
    return asks ? this.exchange.cluster : undefined;
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#side.port.entry.circuit.settled();
  }

  /** The client's stream has closed, one way or the other. */
  #closed(): void {
    if (!this.exchange.end()) return;
    const { context, port } = this.#side;
    // What we have broken off ourselves was told before.
    const cancelled = !this.#complete || (this.#stream.rstCode ?? 0) !== 0;
    if (cancelled) this.exchange.broken('DC', cancelledDetails);
    this.#stopWaiting();
    this.#current?.sent?.abort('neutral');
    this.#endTry(cancelled ? 'cancelled' : undefined);
    this.#answerTimer?.cancel();
    for (const timer of this.#timers) timer.cancel();
    this.#settle();
    port.entry.circuit.ended();
    port.budget.ended(this.#granted);
    this.#trace?.end(() => describeServer(this.exchange));
    context.ended(this.exchange);
    this.#done(this);
  }
}

/** A field that is there once is a text, else what a parser makes of several. */
function one(values: readonly string[]): string | readonly string[] | undefined {
  return values.length <= 1 ? values[0] : values;
}

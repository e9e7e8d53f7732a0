import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import type { SpiffeId } from '../../../model/identity.ts';
import { IsthmusError } from '../../../model/error.ts';
import { Exchange } from '../../http/exchange.ts';
import { answerOf } from '../../http/h2/answer.ts';
import { isGrpc } from '../../http/grpc/status.ts';
import { parseGrpcTimeout } from '../../http/grpc/timeout.ts';
import { bytesOf, fieldOf, fieldsOf, type H2RequestHead, type RawFields, readRequestHead } from '../../http/h2/head.ts';
import {
  forbidden,
  headTooLarge,
  malformed,
  noRoute,
  notImplemented,
  overloaded,
  type Reply,
  targetTooLong,
} from '../../http/reply.ts';
import type { GatewayLimits } from '../../limits.ts';
import { type Abuse, SessionGuard } from '../../tunnel/session-guard.ts';
import type { Held } from '../carried.ts';
import { endSoon } from '../farewell.ts';
import { abortEnd, type CutReason } from '../splice.ts';
import type { HttpClient, HttpContext } from './context.ts';
import { H2Request } from './h2-request.ts';
import { clientBounds, clientSettings } from './h2-settings.ts';
import type { HttpPort } from './ports.ts';

/** A client that is gone without a word is noticed after about so long. */
const keepAliveMs = 60_000;
/** A client that was told to go away, and for which nothing runs, is gone after this, whether it has heard it or not. */
const leaveMs = 5000;
/** How long who comes to a gateway that sends its clients away may stay before it is told so, too. */
const visitMs = 10_000;

const asterisk: Reply = notImplemented("'OPTIONS *' is not carried from HTTP/2 to HTTP/1.1");

/** Serves HTTP/2 to a client that has begun with its preface (RFC 9113 §3.3, prior knowledge). */
export function serveH2(client: HttpClient, context: HttpContext): void {
  new H2Connection(client, context).start();
}

/** One HTTP/2 connection of a client. */
class H2Connection implements Held {
  readonly #client: HttpClient;
  readonly #context: HttpContext;
  readonly #guard: SessionGuard;
  readonly #requests = new Set<H2Request>();
  #session: ServerHttp2Session | undefined;
  readonly #openedAt: number;
  #idleSince: number;
  #ending = false;

  constructor(client: HttpClient, context: HttpContext) {
    this.#client = client;
    this.#context = context;
    this.#openedAt = context.clock.monotonic();
    this.#idleSince = this.#openedAt;
    this.#guard = new SessionGuard(context.limits, this.#idleSince);
  }

  get peer(): SpiffeId | undefined {
    return this.#client.about.peer;
  }

  start(): void {
    const { limits, clock, connections } = this.#context;
    const { end } = this.#client;
    if (end instanceof Socket) end.setKeepAlive(true, keepAliveMs);
    const session = performServerHandshake(end, { settings: clientSettings(limits), ...clientBounds(limits) });
    this.#session = session;
    session.setLocalWindowSize(limits.sessionWindowBytes);
    connections.add(this);
    this.#dropOpened();
    const control = (): void => this.#punish(this.#guard.control(clock.monotonic()));
    session.on('ping', control).on('remoteSettings', control);
    // The connection may be half open, HTTP/2 may not: who sends no more frames opens no window either.
    end.once('end', () => this.#destroy());
    session.on('error', () => undefined);
    session.once('close', () => connections.remove(this));
    session.on('stream', (stream: ServerHttp2Stream, _headers, flags, raw: RawFields) =>
      this.#request(stream, flags, raw),
    );
    if (this.#context.draining()) this.drain();
  }

  buffered(): number {
    let sum = 0;
    for (const request of this.#requests) sum += request.buffered();
    return sum;
  }

  sweep(now: number): void {
    // Whoever destroyed it: Node does, too.
    if (this.#session?.destroyed) this.#destroy();
    for (const request of this.#requests) request.sweep(now);
    if (this.#requests.size > 0) this.#idleSince = now;
    const idleMs = now - this.#idleSince;
    if (this.#session?.closed && idleMs >= leaveMs) this.#destroy();
    else if (idleMs >= this.#context.limits.httpKeepAliveMs || this.#staysTooLong(now)) this.drain();
  }

  /** It came although the gateway sends clients away: it may have nowhere else to go, or not have known. */
  #staysTooLong(now: number): boolean {
    return this.#context.sendsAway() && now - this.#openedAt >= visitMs;
  }

  /** Tells the client to go away; requests in progress go on. */
  drain(): void {
    if (this.#session && !this.#session.closed) this.#session.close();
  }

  /** What is in progress has no more right to go on than what is still to come. */
  recheck(): void {
    const { judge, permit } = this.#client;
    if (permit?.revoked() !== undefined) return this.cut('denied');
    for (const request of this.#requests) {
      const { method = '', path = '' } = request.exchange.request;
      if (judge?.(method, path).decision === 'denied') request.cut('denied');
    }
  }

  cut(why: CutReason = 'cut'): void {
    for (const request of this.#requests) request.cut(why);
    if (why !== 'overload') this.#destroy();
  }

  /** Requests find their sessions by themselves: one that many share is of more use than a fresh connection. */
  #dropOpened(): void {
    const { opened } = this.#client;
    if (!opened) return;
    opened.end.on('error', () => undefined);
    abortEnd(opened.end);
    opened.release('neutral');
  }

  #punish(abuse: Abuse | undefined): void {
    const session = this.#session;
    if (!abuse || !session || session.destroyed) return;
    const error = new IsthmusError('denied', `Client was cut off: ${abuse}`);
    session.destroy(error, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.#destroy();
  }

  /** Its connection ends as well, whether the client reads or not. */
  #destroy(): void {
    this.#session?.destroy();
    if (this.#ending) return;
    this.#ending = true;
    endSoon(this.#client.end, this.#context.clock);
  }

  #request(stream: ServerHttp2Stream, flags: number, raw: RawFields): void {
    const startedAt = this.#context.clock.monotonic();
    const { service, port: number } = this.#client;
    const port = this.#context.ports.get(service, number);
    const read = readRequestHead(raw);
    if (!read.ok || !port) {
      const refusal = read.ok ? noRoute : read.status === 501 ? notImplemented(read.detail) : malformed(read.detail);
      return this.#turnAway(stream, { startedAt, refusal, grpc: isGrpc(fieldOf(raw, 'content-type')) });
    }
    const { head } = read;
    const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const seats = this.#context.h2.of(port);
    const side = { client: this.#client, context: this.#context, port, seats };
    const request = new H2Request(side, { stream, head, endStream, startedAt }, (ended) => this.#ended(ended, stream));
    this.#requests.add(request);
    // undici, which speaks HTTP/1.1 for us, has no way to say it.
    const unsaid = head.path === '*' && seats.speaks === 'HTTP/1.1' ? asterisk : undefined;
    request.start(this.#refusal(port, { head, raw, request }) ?? unsaid);
  }

  #ended(request: H2Request, stream: ServerHttp2Stream): void {
    this.#requests.delete(request);
    // Given up before there was an answer: it has cost an upstream, and nothing is left of it (CVE-2023-44487).
    if (request.exchange.flag === 'DC' && stream.rstCode !== constants.NGHTTP2_NO_ERROR && !stream.headersSent) {
      this.#punish(this.#guard.abandoned(this.#context.clock.monotonic()));
    }
  }

  /** Why a request is not sent on; undefined: it is. */
  #refusal(
    { entry }: HttpPort,
    { head, raw, request }: { readonly head: H2RequestHead; readonly raw: RawFields; readonly request: H2Request },
  ): Reply | undefined {
    const { limits, connections } = this.#context;
    if (head.path.length > limits.httpTargetBytes) return targetTooLong;
    const large = tooLarge(raw, limits);
    if (large) return large;
    if (badDeadline(head)) return malformed("'grpc-timeout' must be 1 to 8 digits and one of H, M, S, m, u and n");
    const { judge, about } = this.#client;
    const verdict = judge?.(head.method, head.path);
    if (verdict) request.exchange.rule = verdict.rule;
    if (verdict?.decision === 'denied') return forbidden;
    const bound = connections.overRequests(entry, about.peer);
    return bound && overloaded(bound);
  }

  /** What is no request, or leads nowhere. */
  #turnAway(
    stream: ServerHttp2Stream,
    { startedAt, refusal, grpc }: { readonly startedAt: number; readonly refusal: Reply; readonly grpc: boolean },
  ): void {
    const context = this.#context;
    stream.on('error', () => undefined);
    const exchange = new Exchange({
      about: this.#client.about,
      service: this.#client.service,
      port: this.#client.port,
      request: { protocol: 'HTTP/2' },
      startedAt,
    });
    exchange.replied(refusal);
    stream.once('close', () => context.ended(exchange));
    if (stream.destroyed) return;
    const { fields, body, grpcStatus } = answerOf(refusal, grpc);
    exchange.answeredCall(grpcStatus);
    stream.respond([...fields], { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    // Nobody reads what it sends; it may stop.
    stream.close();
  }
}

/** A deadline that nobody can read must not be taken for none. */
function badDeadline({ fields }: H2RequestHead): boolean {
  if (!isGrpc(fieldOf(fields, 'content-type'))) return false;
  const given = fieldsOf(fields, 'grpc-timeout');
  return given.length > 1 || given.some((value) => parseGrpcTimeout(value) === undefined);
}

/** RFC 6585 §5. What is larger still was reset by the library. */
function tooLarge(raw: RawFields, { httpFields, httpHeadBytes }: GatewayLimits): Reply | undefined {
  if (raw.length / 2 > httpFields) return headTooLarge(`A request may have ${httpFields} fields`);
  return bytesOf(raw) > httpHeadBytes
    ? headTooLarge(`The head of a request may have ${httpHeadBytes} bytes`)
    : undefined;
}

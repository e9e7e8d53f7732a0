import type { RetryCondition } from '../../../model/traffic.ts';
import { defaultRequestTimeoutMs } from '../../../model/traffic.ts';
import type { ResponseFlag } from '../../access-log.ts';
import type { Outcome } from '../../balance/service-book.ts';
import type { Exchange } from '../../http/exchange.ts';
import { type Body, bodyOf } from '../../http/h1/body.ts';
import { forwardedResponse } from '../../http/h1/forward-response.ts';
import type { Framing } from '../../http/h1/framing.ts';
import type { ResponseHead } from '../../http/h1/response-head.ts';
import {
  bodyTooLarge,
  forbidden,
  malformed,
  noConnection,
  noEndpoint,
  type Reply,
  upstreamMalformed,
  upstreamReset,
  upstreamTimeout,
} from '../../http/reply.ts';
import { isIdempotent, mayRetry } from '../../http/retry.ts';
import { describeClient, describeServer } from '../../http/trace/describe.ts';
import type { AttemptTrace, RequestTrace } from '../../http/trace/tracer.ts';
import type { Dialled, Place } from '../dial.ts';
import type { HttpContext } from './context.ts';
import { type AnswerSink, H1Answer, needsUnchunking } from './h1-answer.ts';
import { H1Upstream, type Piece, type ResponseSink, type UpstreamFault } from './h1-upstream.ts';
import type { HttpPort } from './ports.ts';
import type { Landing, Want } from './upstreams.ts';

/** What a request asks of the connection that it came on. What was held back goes on with `onClientDrain`. */
export interface RequestOwner extends AnswerSink {
  /** Body of the request may come, or must wait. */
  pauseBody(): void;
  resumeBody(): void;
  /** When the request must have come to something, monotonic ms; `onDue` follows. */
  setDeadline(at: number | undefined): void;
  /** The gateway answers by itself. */
  reply(reply: Reply): void;
  /** It is over. `keep`: whether the connection can go on. */
  finished(keep: boolean): void;
  /** The response has broken off: whoever reads it must not take it for whole. */
  broken(): void;
  /** Both ends are no HTTP any more. */
  upgraded(upstream: H1Upstream, leftover: Buffer): void;
}

/** One request, its head understood. */
export interface RequestPlan {
  readonly exchange: Exchange;
  readonly method: string;
  /** See `forwardedRequest`. */
  readonly head: string;
  readonly framing: Framing;
  readonly upgrades: boolean;
  /** The client keeps its connection. */
  readonly keepsAlive: boolean;
  /** The client speaks HTTP/1.0. */
  readonly old: boolean;
  /** The client wants to know who served it. */
  readonly showsServer: boolean;
  /** What `consistentHash` goes by. */
  readonly source: string | undefined;
  /** For whom tunnels are opened, see `HttpPort.idleAt`. */
  readonly key: string;
  readonly onward: Want['onward'];
  readonly opened: Dialled | undefined;
  readonly trace: RequestTrace | undefined;
}

/** A connection that has rested for longer may just be closed by its other end: nothing that must not be repeated. */
const freshMs = 1000;
/** Time before the upstream's own idle time-out at which a connection is not used any more. */
const keepAlivePart = 0.8;

/** Of a connection that was upgraded, both ways. */
export interface UpgradeBytes {
  readonly received: number;
  readonly sent: number;
}

/** One request from its head to the end of its response: tries, time-outs, and what each side is told. */
export class H1Request implements ResponseSink {
  readonly #context: HttpContext;
  readonly #port: HttpPort;
  readonly #plan: RequestPlan;
  readonly #owner: RequestOwner;
  readonly #body: Body;
  /** What came of the body while it may have to be sent again; undefined: it cannot be any more. */
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  #upstream: H1Upstream | undefined;
  #attempt: AttemptTrace | undefined;
  #stopDial: (() => void) | undefined;
  #settled = false;
  #tries = 0;
  #tried: Place[] = [];
  /** Connections that rested may all be dead: the next one is new. */
  #wantsNew = false;
  #retried = false;
  /** Something of the response has gone to the client. */
  #answering = false;
  #close = false;
  #answer: H1Answer | undefined;
  #responseBody: Body | undefined;
  #tryStartedAt = 0;
  #overallAt: number | undefined;
  #perTryAt: number | undefined;
  #bytes = 0;
  #sweptBytes = -1;
  #quietSince = 0;
  /** When the last of the response came, monotonic ms. */
  #heardAt = 0;
  #over = false;

  constructor(context: HttpContext, port: HttpPort, plan: RequestPlan, owner: RequestOwner) {
    this.#context = context;
    this.#port = port;
    this.#plan = plan;
    this.#owner = owner;
    const { httpHeadBytes: headBytes, httpFields: fields } = context.limits;
    this.#body = bodyOf(plan.framing, { headBytes, fields });
  }

  get bodyDone(): boolean {
    return this.#body.done;
  }

  get buffered(): number {
    return this.#keptBytes + (this.#upstream?.buffered ?? 0);
  }

  /** `chunk` from `at` on: what of the body came with the head, `now`, monotonic ms. @returns the offset behind it */
  start(chunk: Buffer, at: number, now: number): number {
    const { entry, budget, plan } = this.#port;
    entry.circuit.begin();
    budget.begin();
    const timeoutMs = plan.timeoutMs ?? defaultRequestTimeoutMs;
    if (timeoutMs > 0) this.#overallAt = now + timeoutMs;
    const end = this.onBytes(chunk, at);
    if (!this.#over) {
      if (this.#plan.opened) this.#joinNew(this.#plan.opened, 1);
      else this.#try(now);
    }
    return end;
  }

  /** Body of the request. @returns the offset behind what belongs to it */
  onBytes(chunk: Buffer, at: number): number {
    if (this.#body.done || at >= chunk.length) return at;
    const end = this.#body.take(chunk, at);
    if (typeof end === 'string') {
      this.#reject(malformed(end));
      return chunk.length;
    }
    this.#plan.exchange.bytesReceived = this.#body.content;
    if (this.#body.content > this.#context.limits.httpBodyBytes) {
      this.#reject(bodyTooLarge);
      return chunk.length;
    }
    this.#forward(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    return end;
  }

  /** The client has taken what was written. */
  onClientDrain(): void {
    this.#upstream?.resume();
  }

  /** The client's connection is gone, or has ended within the request. */
  onClientGone(): void {
    if (this.#over) return;
    this.#plan.exchange.broken('DC', 'downstream_disconnect');
    this.#abandon('neutral');
    this.#end();
  }

  /** Ends it for reasons of the gateway. */
  cut(flag: ResponseFlag, details: string): void {
    if (this.#over) return;
    this.#plan.exchange.broken(flag, details);
    this.#abandon('neutral');
    this.#end();
  }

  /** A deadline has passed. */
  onDue(): void {
    if (this.#over || this.#answering) return;
    const now = this.#now();
    if (this.#overallAt !== undefined && now >= this.#overallAt) {
      this.#abandon('failed');
      return this.#reply(upstreamTimeout);
    }
    if (this.#perTryAt !== undefined && now >= this.#perTryAt) return this.#failed(504, upstreamTimeout, 'failed');
    this.#setDeadline();
  }

  /** Called each second. */
  sweep(now: number, idleTimeoutMs: number): void {
    if (this.#bytes !== this.#sweptBytes) {
      this.#tell(this.#responseBody?.content ?? 0);
      this.#sweptBytes = this.#bytes;
      this.#quietSince = now;
      return;
    }
    if (now - this.#quietSince < (this.#port.plan.idleTimeoutMs ?? idleTimeoutMs)) return;
    const { exchange } = this.#plan;
    this.#abandon('neutral');
    if (!this.#answering) return this.#reply({ ...upstreamTimeout, flag: 'SI', details: 'stream_idle_timeout' });
    exchange.broken('SI', 'stream_idle_timeout');
    this.#end();
    this.#owner.broken();
  }

  // Responses.

  onInterim(head: ResponseHead): void {
    if (this.#plan.old) return;
    this.#bytes += head.end - head.start;
    this.#owner.writeText(
      forwardedResponse(head, { close: false, old: false, servedBy: undefined }) ??
        head.bytes.toString('latin1', head.start, head.end),
    );
  }

  onHead(head: ResponseHead, piece: Piece, body: Body): void {
    const { exchange } = this.#plan;
    const upstream = this.#upstream;
    const now = this.#now();
    exchange.answeredAt = now;
    this.#heardAt = now;
    upstream?.dialled.answered(now - this.#tryStartedAt);
    const { status } = head;
    if (status === 101 && !(this.#plan.upgrades && head.connection.upgrade)) {
      this.#failed('reset', upstreamMalformed, 'failed');
      return;
    }
    if (status >= 500 && this.#retriesOn(status)) {
      this.#abandon(outcomeOf(status));
      this.#try();
      return;
    }
    this.#answering = true;
    this.#responseBody = body;
    this.#perTryAt = undefined;
    this.#owner.setDeadline(undefined);
    exchange.status = status;
    this.#kept = undefined;
    if (status === 101) return this.#upgrade(head, piece);
    this.#close =
      !this.#plan.keepsAlive || !this.#body.done || this.#context.sendsAway() || head.framing.kind === 'close';
    const { old, showsServer } = this.#plan;
    if (needsUnchunking(head, old)) this.#close = true;
    const servedBy = showsServer ? exchange.cluster : undefined;
    const { limits } = this.#context;
    this.#answer = new H1Answer(this.#owner, head, { close: this.#close, old, servedBy, limits });
    this.#bytes += piece.end - head.start;
    if (!this.#answer.begin(head, piece)) this.#upstream?.pause();
  }

  onBody(piece: Piece): void {
    this.#heardAt = this.#now();
    this.#bytes += piece.end - piece.start;
    if (this.#answer?.body(piece) === false) this.#upstream?.pause();
  }

  onComplete(): void {
    const { exchange, keepsAlive } = this.#plan;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    exchange.bytesSent = this.#responseBody?.content ?? 0;
    if (upstream) {
      this.#endAttempt();
      upstream.dialled.release(outcomeOf(exchange.status));
      if (upstream.reusable && this.#body.done && !this.#context.draining()) this.#keep(upstream);
      else upstream.close();
    }
    this.#end();
    this.#owner.finished(keepsAlive && !this.#close && this.#body.done);
  }

  onFault(fault: UpstreamFault): void {
    const { exchange } = this.#plan;
    if (this.#answering) {
      exchange.bytesSent = this.#responseBody?.content ?? 0;
      exchange.broken(fault.kind === 'reset' ? 'UC' : 'UPE', `upstream_${fault.kind}_in_response`);
      this.#abandon('reset');
      this.#end();
      this.#owner.broken();
      return;
    }
    if (fault.kind === 'malformed') return this.#failed('reset', { ...upstreamMalformed }, 'failed', fault.reason);
    const stale = this.#upstream?.reused === true && !fault.begun;
    if (stale && isIdempotent(this.#plan.method) && this.#kept) {
      // Closed by the other end while it rested. That is no word about the service, and no retry that costs it anything.
      this.#wantsNew = true;
      this.#abandon('neutral');
      this.#tries -= 1;
      return this.#try();
    }
    this.#failed('reset', upstreamReset, stale ? 'neutral' : 'reset');
  }

  onUpstreamDrain(): void {
    if (!this.#body.done) this.#owner.resumeBody();
  }

  // Tries.

  #try(now: number = this.#now()): void {
    const { upstreams } = this.#context;
    const [port, plan] = [this.#port, this.#plan];
    this.#tries += 1;
    this.#tryStartedAt = now;
    const { perTryMs } = port.plan.retries;
    this.#perTryAt = perTryMs === undefined ? undefined : this.#tryStartedAt + perTryMs;
    this.#setDeadline();
    const want: Want = { port: port.port, source: plan.source, onward: plan.onward, tried: this.#tried };
    const first = upstreams.first(port.entry, want);
    const idle = first && !this.#wantsNew ? this.#idle(first) : undefined;
    if (idle) {
      idle.dialled.reuse();
      plan.exchange.attempts += 1;
      return this.#join(idle, now);
    }
    this.#owner.pauseBody();
    let landed = false;
    const stop = upstreams.dial(port.entry, want, {
      first,
      done: (landing) => {
        landed = true;
        this.#stopDial = undefined;
        this.#landed(landing);
      },
    });
    if (!landed) this.#stopDial = stop;
  }

  #idle(place: Place): H1Upstream | undefined {
    const repeatable = isIdempotent(this.#plan.method);
    const now = this.#tryStartedAt;
    const fresh = (one: H1Upstream): boolean => now - one.idleSince < freshMs;
    return this.#port.idleAt(place, this.#plan.key).take(place, now, repeatable ? undefined : fresh);
  }

  #landed({ dialled, attempts, nowhere, error }: Landing): void {
    const { exchange } = this.#plan;
    if (dialled) return this.#joinNew(dialled, attempts);
    exchange.attempts += attempts;
    if (nowhere) return this.#reply(noEndpoint);
    if (error?.code === 'denied') return this.#reply(forbidden);
    // All candidates have been tried already; another round is another try.
    if (this.#retriesOn('connect')) return this.#try();
    this.#reply(attempts > 1 ? { ...noConnection, flag: 'URX' } : noConnection);
  }

  #joinNew(dialled: Dialled, attempts: number): void {
    const { limits, clock } = this.#context;
    const [port, plan] = [this.#port, this.#plan];
    const now = clock.monotonic();
    plan.exchange.attempts += attempts;
    const upstream: H1Upstream = new H1Upstream(dialled, limits, (gone) =>
      port.idleAt(dialled.place, plan.key).remove(dialled.place, gone),
    );
    if (plan.onward && dialled.cluster !== this.#context.self) {
      upstream.lifeEnds = now + limits.httpTunnelAgeMs * (0.5 + clock.random());
    }
    this.#join(upstream, now);
  }

  #join(upstream: H1Upstream, now: number): void {
    const { exchange, head, method, trace } = this.#plan;
    const { dialled } = upstream;
    this.#upstream = upstream;
    this.#settle();
    exchange.host = dialled.host;
    exchange.cluster = dialled.cluster;
    exchange.reason = this.#port.entry.result.reasons.get(dialled.cluster);
    exchange.connectedAt = now;
    this.#tryStartedAt = now;
    this.#attempt = trace?.attempt();
    upstream.begin(this, method);
    const fields = this.#attempt?.fields;
    const traced = fields ? `traceparent: ${fields.traceparent}\r\n${stateLine(fields.tracestate)}` : '';
    this.#bytes += head.length;
    let goOn = true;
    if (this.#keptBytes > 0 && this.#kept) {
      upstream.cork();
      upstream.writeText(`${head}${traced}\r\n`);
      for (const chunk of this.#kept) goOn = upstream.write(chunk);
      upstream.uncork();
    } else goOn = upstream.writeText(`${head}${traced}\r\n`);
    this.#forget();
    if (goOn) this.#owner.resumeBody();
    else this.#owner.pauseBody();
  }

  #forward(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const { httpReplayBytes } = this.#context.limits;
    if (this.#kept) {
      this.#kept.push(chunk);
      this.#keptBytes += chunk.length;
    }
    if (!this.#upstream) return;
    if (!this.#upstream.write(chunk)) this.#owner.pauseBody();
    if (this.#keptBytes > httpReplayBytes) this.#forget();
  }

  /** What was sent is kept only as long as it is little and might be sent again. */
  #forget(): void {
    const { httpReplayBytes } = this.#context.limits;
    if (this.#keptBytes <= httpReplayBytes && isIdempotent(this.#plan.method)) return;
    this.#kept = undefined;
    this.#keptBytes = 0;
  }

  // Ends.

  /** A try has failed before the client was told anything. */
  #failed(condition: RetryCondition, reply: Reply, outcome: Outcome, details?: string): void {
    this.#abandon(outcome);
    if (this.#retriesOn(condition)) return this.#try();
    const exhausted = this.#tries > 1 && condition !== 504;
    this.#reply({
      ...reply,
      ...(exhausted && { flag: 'URX' }),
      ...(details !== undefined && { details: `${reply.details}: ${details}` }),
    });
  }

  /** Whether it is tried once more; takes its part of the budget then. */
  #retriesOn(condition: RetryCondition): boolean {
    const { retries } = this.#port.plan;
    const { method } = this.#plan;
    if (!mayRetry(retries, { condition, method, tries: this.#tries, replayable: this.#kept !== undefined }))
      return false;
    if (!this.#retried && !this.#port.budget.take(retries)) return false;
    this.#retried = true;
    return true;
  }

  /** Ends the present try. */
  #abandon(outcome: Outcome): void {
    this.#stopDial?.();
    this.#stopDial = undefined;
    const upstream = this.#upstream;
    if (!upstream) return;
    this.#upstream = undefined;
    this.#tried.push(upstream.dialled.place);
    this.#endAttempt(this.#plan.exchange.details ?? outcome);
    upstream.abort();
    upstream.dialled.release(outcome);
  }

  /** The client's fault, in the midst of its body. */
  #reject(reply: Reply): void {
    this.#abandon('neutral');
    if (!this.#answering) return this.#reply(reply);
    this.#plan.exchange.broken(reply.flag, reply.details);
    this.#end();
    this.#owner.broken();
  }

  #reply(reply: Reply): void {
    this.#answering = true;
    this.#plan.exchange.replied(reply);
    this.#end();
    this.#owner.reply(reply);
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#settle();
    this.#owner.setDeadline(undefined);
    const { entry, budget } = this.#port;
    entry.circuit.ended();
    budget.ended(this.#retried);
    const { exchange, trace } = this.#plan;
    trace?.end(() => describeServer(exchange));
    if (exchange.end()) this.#context.ended(exchange);
  }

  /** `error`: why it came to nothing. */
  #endAttempt(error?: string): void {
    const attempt = this.#attempt;
    if (!attempt) return;
    this.#attempt = undefined;
    const { exchange } = this.#plan;
    const { host, cluster } = exchange;
    const status = error === undefined ? exchange.status : 0;
    const resends = this.#tries - 1;
    attempt.end(() => describeClient(exchange, { host, cluster, status, grpcStatus: undefined, resends, error }));
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#port.entry.circuit.settled();
  }

  #keep(upstream: H1Upstream): void {
    const now = this.#heardAt;
    const { limits } = this.#context;
    const saidS = upstream.keepAliveS;
    upstream.reused = true;
    upstream.idleSince = now;
    const idleMs = limits.httpUpstreamIdleMs;
    const restMs = saidS === undefined ? idleMs : Math.min(idleMs, saidS * 1000 * keepAlivePart);
    upstream.reuseUntil = Math.min(upstream.lifeEnds, now + restMs);
    const { place } = upstream.dialled;
    this.#port.idleAt(place, this.#plan.key).put(place, upstream);
  }

  // Upgrades.

  #upgrade(head: ResponseHead, { chunk, start, end }: Piece): void {
    const upstream = this.#upstream;
    const text = forwardedResponse(head, { close: false, old: false, servedBy: undefined }) ?? '';
    this.#owner.writeText(text);
    if (!upstream) return;
    this.#upstream = undefined;
    this.#settle();
    this.#owner.upgraded(upstream, chunk.subarray(start, end));
  }

  #tell(sent: number): void {
    const { exchange } = this.#plan;
    exchange.bytesSent = sent;
    this.#context.goesOn(exchange);
  }

  /** After `upgraded`: what the two ends, which were joined, have carried so far. */
  upgradeGoesOn({ received, sent }: UpgradeBytes): void {
    this.#plan.exchange.bytesReceived = this.#body.content + received;
    this.#tell(sent);
  }

  /** After `upgraded`: the two ends were joined, and have ended. */
  upgradeEnded(
    upstream: H1Upstream,
    result: UpgradeBytes & {
      readonly flag: ResponseFlag;
      readonly details?: string;
    },
  ): void {
    const { exchange } = this.#plan;
    this.upgradeGoesOn(result);
    if (result.flag !== '-') exchange.broken(result.flag, result.details ?? '');
    this.#endAttempt();
    upstream.dialled.release('good');
    this.#end();
  }

  #setDeadline(): void {
    const overall = this.#overallAt ?? Number.POSITIVE_INFINITY;
    const at = Math.min(overall, this.#perTryAt ?? Number.POSITIVE_INFINITY);
    this.#owner.setDeadline(at === Number.POSITIVE_INFINITY ? undefined : at);
  }

  #now(): number {
    return this.#context.clock.monotonic();
  }
}

function stateLine(state: string | undefined): string {
  return state === undefined ? '' : `tracestate: ${state}\r\n`;
}

/** What a status says of who sent it: gateways and balancers in front of an endpoint answer so when it is not there. */
function outcomeOf(status: number): Outcome {
  return status === 502 || status === 503 || status === 504 ? 'failed' : 'good';
}

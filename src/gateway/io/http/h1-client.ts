import type { Duplex } from 'node:stream';
import type { SpiffeId } from '../../../model/identity.ts';
import { nameOf, namespaceOf } from '../../../model/names.ts';
import type { LoadBalancingPlan } from '../../../model/traffic.ts';
import type { ResponseFlag } from '../../access-log.ts';
import { Deadline } from '../../http/deadline.ts';
import { Exchange } from '../../http/exchange.ts';
import { isTokenByte } from '../../http/h1/bytes.ts';
import { FieldKind } from '../../http/h1/fields.ts';
import { forwardedRequest } from '../../http/h1/forward-request.ts';
import { hasBareLineFeed, HeadBuffer } from '../../http/h1/head-buffer.ts';
import { RequestHead } from '../../http/h1/request-head.ts';
import { replyText } from '../../http/h1/reply-text.ts';
import { sourceOf } from '../../http/hash-source.ts';
import {
  bodyTooLarge,
  forbidden,
  headLate,
  headTooLarge,
  malformed,
  noRoute,
  overloaded,
  type Reply,
  targetTooLong,
} from '../../http/reply.ts';
import { sniffH2 } from '../../http/sniff.ts';
import { flagOf, type Held } from '../carried.ts';
import {
  abortEnd,
  type CutReason,
  type Splice,
  splice,
  type SpliceEnd,
  type SpliceResult,
  wasReset,
} from '../splice.ts';
import { bulkBytes, corkForTurn } from '../turn.ts';
import { tunnelFor } from './tunnel-key.ts';
import type { HttpClient, HttpContext } from './context.ts';
import { H1Request, type RequestOwner, type UpgradeBytes } from './h1-request.ts';
import type { H1Upstream } from './h1-upstream.ts';
import type { HttpPort } from './ports.ts';

type Phase =
  /** The next request has not begun, or its head is not complete. */
  | 'head'
  | 'request'
  /** Everything was said; what still comes is not listened to. */
  | 'leaving'
  | 'upgraded'
  | 'ended';

/** After the last word, until the client must have closed. */
const lingerMs = 2000;
/** For the request of a client that is only told something. */
const briefMs = 1000;
/** While the gateway drains: a connection that rests for so long is closed. */
const drainRestMs = 1000;
/** What the log says of a request that is cut. */
const cutAs: Readonly<Record<CutReason, readonly [ResponseFlag, string]>> = {
  cut: ['LR', 'local_reset'],
  overload: ['UO', overloaded('receiveBudgetBytes').details],
  denied: ['RBAC', forbidden.details],
};
const requestIdForm = /^[\x21-\x7e]{1,200}$/;
const empty = Buffer.alloc(0);
const lineEnd = '\r\n';
/** Of a request line, for all that is not its target. */
const lineRoom = 64;

export interface H1Options {
  /** Takes the connection over when it begins as HTTP/2; absent: then it is refused. */
  readonly onH2?: () => void;
  /** What every request gets. */
  readonly refusal?: Reply;
  /** Only its first request is waited for, and not for long. */
  readonly brief?: boolean;
}

/** One client's HTTP/1.1 connection: its requests one after the other, each answered before the next goes on. */
export class H1Client implements Held, RequestOwner {
  readonly #context: HttpContext;
  readonly #client: HttpClient;
  readonly #end: SpliceEnd;
  /** The same. */
  readonly #out: Duplex;
  readonly #buffer: HeadBuffer;
  readonly #head: RequestHead;
  readonly #deadline: Deadline;
  readonly #options: H1Options;
  #phase: Phase = 'head';
  #request: H1Request | undefined;
  /** What came behind the present request. */
  #rest: Buffer = empty;
  #paused = false;
  #opened: HttpClient['opened'];
  #splice: Splice | undefined;
  /** Tells what an upgraded connection has carried since the last time. */
  #tellUpgrade: (() => void) | undefined;
  #reading = false;
  #requests = 0;
  #headSince = 0;
  #quietSince: number;
  #closing: boolean;
  #inputEnded = false;

  constructor(context: HttpContext, client: HttpClient, options: H1Options) {
    const { clock, limits } = context;
    this.#context = context;
    this.#client = client;
    this.#end = client.end;
    this.#out = client.end;
    this.#opened = client.opened;
    this.#options = options;
    this.#closing = options.brief === true;
    this.#buffer = new HeadBuffer(limits.httpHeadBytes, { skips: true });
    this.#head = new RequestHead({ targetBytes: limits.httpTargetBytes, fields: limits.httpFields });
    this.#deadline = new Deadline(clock, () => this.#due());
    this.#quietSince = clock.monotonic();
  }

  get peer(): SpiffeId | undefined {
    return this.#client.about.peer;
  }

  start(): void {
    this.#context.connections.add(this);
    this.#end
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('error', this.#onGone)
      .on('close', this.#onGone)
      .on('drain', this.#onDrain);
    if (this.#end.destroyed) this.#onGone();
  }

  buffered(): number {
    if (this.#splice) return this.#splice.buffered();
    const end = this.#end;
    return end.writableLength + end.readableLength + this.#rest.length + (this.#request?.buffered ?? 0);
  }

  sweep(now: number): void {
    const { limits, draining } = this.#context;
    this.#splice?.sweep(now, limits);
    this.#tellUpgrade?.();
    this.#request?.sweep(now, limits.idleTimeoutMs);
    const restMs = now - this.#quietSince;
    if (this.#phase === 'head' && this.#buffer.pending === 0) {
      const patienceMs = this.#options.brief ? briefMs : limits.httpKeepAliveMs;
      if (restMs >= patienceMs || (draining() && restMs >= drainRestMs)) this.#leaveIfQuiet();
    } else if (this.#phase === 'leaving' && restMs >= lingerMs) this.#end.destroy();
  }

  /** The next response says that it is the last one; see `sweep` for a connection that rests. */
  drain(): void {
    this.#closing = true;
  }

  /** What is in progress has no more right to go on than what is still to come. */
  recheck(): void {
    const { judge, permit } = this.#client;
    const inRequest = this.#phase === 'request' || this.#phase === 'upgraded';
    const { method, target } = this.#head;
    const denied = inRequest && judge?.(method, target).decision === 'denied';
    if (denied || permit?.revoked() !== undefined) this.cut('denied');
  }

  cut(why: CutReason = 'cut'): void {
    if (this.#splice) return this.#splice.cut(why);
    this.#request?.cut(...cutAs[why]);
    abortEnd(this.#end);
    if (why !== 'overload') this.#end.destroy();
  }

  // What a request asks for.

  writeText(text: string): boolean {
    corkForTurn(this.#out);
    return this.#out.write(text, 'latin1');
  }

  write(chunk: Buffer): boolean {
    if (chunk.length < bulkBytes) corkForTurn(this.#out);
    return this.#end.write(chunk);
  }

  cork(): void {
    this.#end.cork();
  }

  uncork(): void {
    this.#end.uncork();
  }

  pauseBody(): void {
    this.#pause();
  }

  resumeBody(): void {
    if (this.#rest.length === 0) this.#resume();
  }

  setDeadline(at: number | undefined): void {
    this.#deadline.set(at);
  }

  reply(reply: Reply): void {
    const request = this.#request;
    this.#request = undefined;
    const keep = request?.bodyDone === true && this.#head.keepsAlive && this.#goesOn;
    this.#say(reply, keep);
    if (keep) this.#next();
  }

  finished(keep: boolean): void {
    this.#request = undefined;
    if (keep && this.#goesOn) this.#next();
    else this.#leave();
  }

  broken(): void {
    this.#request = undefined;
    abortEnd(this.#end);
  }

  upgraded(upstream: H1Upstream, leftover: Buffer): void {
    const request = this.#request;
    this.#request = undefined;
    this.#phase = 'upgraded';
    this.#deadline.cancel();
    this.#removeListeners();
    const other = upstream.detach();
    if (leftover.length > 0) this.#end.write(leftover);
    if (this.#rest.length > 0) other.write(this.#rest);
    const early = this.#rest.length;
    this.#rest = empty;
    const bytesOf = ({ bytesFromClient, bytesFromUpstream }: Splice | SpliceResult): UpgradeBytes => ({
      received: bytesFromClient + early,
      sent: bytesFromUpstream + leftover.length,
    });
    const running = splice(this.#end, other, (result) => {
      request?.upgradeEnded(upstream, { ...bytesOf(result), flag: flagOf(result), details: result.cause });
      this.#gone();
    });
    this.#splice = running;
    this.#tellUpgrade = (): void => request?.upgradeGoesOn(bytesOf(running));
    this.#end.resume();
    other.resume();
  }

  // What comes.

  readonly #onData = (chunk: Buffer): void => {
    switch (this.#phase) {
      case 'head':
        this.#read(chunk);
        return;
      case 'request': {
        const end = this.#rest.length > 0 ? 0 : (this.#request?.onBytes(chunk, 0) ?? 0);
        if (end < chunk.length && this.#inRequest) this.#hold(chunk, end);
        return;
      }
      case 'leaving':
      case 'upgraded':
      case 'ended':
    }
  };

  readonly #onDrain = (): void => this.#request?.onClientDrain();

  readonly #onEnd = (): void => {
    this.#inputEnded = true;
    if (wasReset(this.#end)) return this.#onGone();
    if (this.#phase === 'head' && this.#rest.length === 0) {
      if (this.#buffer.pending === 0) return this.#leave();
      return this.#refuse(malformed('The request is not complete'));
    }
    // A client may close its side once it has said everything; in the midst of a body it has given up.
    if (this.#phase === 'request' && this.#request?.bodyDone === false) {
      this.#request.onClientGone();
      abortEnd(this.#end);
    }
  };

  readonly #onGone = (): void => {
    if (this.#phase === 'ended') return;
    const request = this.#request;
    this.#request = undefined;
    request?.onClientGone();
    if (!this.#end.destroyed) abortEnd(this.#end);
    this.#gone();
  };

  get #goesOn(): boolean {
    return !this.#closing && !this.#context.sendsAway() && !(this.#inputEnded && this.#rest.length === 0);
  }

  /** Looked up anew: handlers change it. */
  get #inRequest(): boolean {
    return this.#phase === 'request';
  }

  /** Requests of one chunk one after the other, as far as they are answered at once. */
  #read(chunk: Buffer): void {
    if (this.#requests === 0 && this.#buffer.pending === 0 && this.#isH2(chunk)) return;
    this.#rest = chunk;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#phase === 'head' && this.#rest.length > 0) {
      const bytes = this.#rest;
      this.#rest = empty;
      this.#readHead(bytes);
    }
    this.#reading = false;
    if (this.#phase === 'head') this.#resume();
  }

  #isH2(chunk: Buffer): boolean {
    // 'PR': of the methods that anyone uses only those of WebDAV begin so, and they go on in another way.
    const { onH2 } = this.#options;
    if (!onH2 || chunk[0] !== 0x50 || chunk[1] !== 0x52 || sniffH2(chunk) === 'other') return false;
    this.#phase = 'ended';
    this.#end.pause();
    this.#removeListeners();
    this.#context.connections.remove(this);
    this.#end.unshift(chunk);
    onH2();
    return true;
  }

  #readHead(chunk: Buffer): void {
    const { limits, clock } = this.#context;
    const now = clock.monotonic();
    const fresh = this.#buffer.pending === 0;
    if (fresh) this.#headSince = now;
    this.#quietSince = now;
    const next = this.#buffer.push(chunk, 0);
    if (next === -2) {
      const { partial } = this.#buffer;
      const line = partial.length > 0 ? partial.indexOf(lineEnd) : chunk.indexOf(lineEnd);
      const long = line < 0 || line > limits.httpTargetBytes + lineRoom;
      return this.#refuse(long ? targetTooLong : headTooLarge('The head of the request is too large'));
    }
    if (next === -1) {
      const patienceMs = this.#options.brief ? briefMs : limits.httpHeadTimeoutMs;
      return this.#incomplete(limits.httpTargetBytes, this.#headSince + patienceMs);
    }
    const { bytes, start, end } = this.#buffer;
    const fault = this.#head.scan(bytes, start, end);
    if (fault) return this.#refuse(fault);
    this.#begin(chunk, next);
  }

  /** Refuses at once what no later byte can mend. */
  #incomplete(targetBytes: number, until: number): void {
    const { partial } = this.#buffer;
    if (partial.length === 0) return;
    if (!isTokenByte(partial[0]) && partial[0] !== 0x0d) return this.#refuse(malformed('This is no HTTP request'));
    if (hasBareLineFeed(partial)) return this.#refuse(malformed('Every line must end with CR and LF'));
    if (partial.length > targetBytes + lineRoom && !partial.includes(lineEnd)) return this.#refuse(targetTooLong);
    this.#deadline.set(until);
  }

  /** A request whose head is complete; `at`: behind it. */
  #begin(chunk: Buffer, at: number): void {
    const { service, port: number, judge, about } = this.#client;
    const head = this.#head;
    this.#requests += 1;
    this.#phase = 'request';
    this.#deadline.set(undefined);
    const given = head.first(FieldKind.requestId);
    const made = given !== undefined && requestIdForm.test(given) ? undefined : this.#context.requestId();
    const exchange = new Exchange({
      about,
      service,
      port: number,
      startedAt: this.#headSince,
      request: {
        protocol: head.minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0',
        method: head.method,
        path: head.target,
        authority: head.authority,
        userAgent: head.first(FieldKind.userAgent),
        requestId: made ?? given,
        forwardedFor: head.first(FieldKind.forwardedFor),
      },
    });
    const { refusal: always } = this.#options;
    if (always) return this.#turnAway(exchange, always, chunk.subarray(at));
    const port = this.#context.ports.get(service, number);
    if (!port) return this.#turnAway(exchange, noRoute, chunk.subarray(at));
    const verdict = judge?.(head.method, head.target);
    if (verdict) exchange.rule = verdict.rule;
    if (verdict?.decision === 'denied') return this.#turnAway(exchange, forbidden, chunk.subarray(at));
    const refusal = this.#overLimit(port);
    if (refusal) return this.#turnAway(exchange, refusal, chunk.subarray(at));
    const request = new H1Request(this.#context, port, this.#planOf(exchange, port, made), this);
    this.#request = request;
    const end = request.start(chunk, at, this.#quietSince);
    if (end < chunk.length) this.#hold(chunk, end);
  }

  #overLimit(port: HttpPort): Reply | undefined {
    const { framing } = this.#head;
    const { limits, connections } = this.#context;
    if (framing.kind === 'length' && framing.length > limits.httpBodyBytes) return bodyTooLarge;
    const bound = connections.overRequests(port.entry, this.peer);
    return bound && overloaded(bound);
  }

  #planOf(
    exchange: Exchange,
    port: HttpPort,
    requestId: string | undefined,
  ): ConstructorParameters<typeof H1Request>[2] {
    const { service, source, onward } = this.#client;
    const head = this.#head;
    const { tracer } = this.#context;
    const opened = this.#opened;
    this.#opened = undefined;
    const trace = tracer?.begin(head.all(FieldKind.traceparent), head.all(FieldKind.tracestate));
    exchange.traceparent = trace ? trace.traceparent : head.first(FieldKind.traceparent);
    const { loadBalancing } = port.entry;
    const chosenBy = loadBalancing.algorithm === 'consistentHash' ? this.#hashSource(loadBalancing) : source;
    const tunnel = tunnelFor(onward, loadBalancing, chosenBy);
    return {
      exchange,
      method: head.method,
      head: forwardedRequest(head, {
        host: `${nameOf(service)}.${namespaceOf(service)}.svc.clusterset.local:${port.port}`,
        clientAddress: onward ? source : undefined,
        requestId,
        traced: trace !== undefined,
      }),
      framing: head.framing,
      upgrades: head.upgrade !== undefined,
      keepsAlive: head.keepsAlive,
      old: head.minor === 0,
      showsServer: onward !== undefined && head.named('x-isthmus-served-by') !== undefined,
      source: chosenBy,
      onward: tunnel.onward,
      key: tunnel.key,
      opened,
      trace,
    };
  }

  #hashSource(loadBalancing: LoadBalancingPlan): string | undefined {
    const head = this.#head;
    return sourceOf(loadBalancing, this.#client.source, {
      header: (name) => head.named(name),
      cookies: () => head.all(FieldKind.cookie),
    });
  }

  // What goes.

  /** What came can not be read as a request. */
  #refuse(reply: Reply): void {
    const exchange = new Exchange({
      about: this.#client.about,
      service: this.#client.service,
      port: this.#client.port,
      startedAt: this.#headSince,
      request: { protocol: 'HTTP/1.1' },
    });
    this.#buffer.clear();
    exchange.replied(reply);
    if (exchange.end()) this.#context.ended(exchange);
    this.#say(reply, false);
  }

  /** A request that is not sent on. `behind`: what came behind its head. */
  #turnAway(exchange: Exchange, reply: Reply, behind: Buffer): void {
    exchange.replied(reply);
    if (exchange.end()) this.#context.ended(exchange);
    // Its body, if it has one, would have to be read to find the next request.
    const keep = this.#head.framing.kind === 'none' && this.#head.keepsAlive && this.#goesOn;
    if (keep && behind.length > 0) this.#hold(behind, 0);
    this.#say(reply, keep);
    if (keep) this.#next();
  }

  #say(reply: Reply, keep: boolean): void {
    const now = this.#context.clock.now();
    const method = this.#phase === 'request' ? this.#head.method : '';
    this.writeText(replyText(reply, { keep, old: this.#head.minor === 0, head: method === 'HEAD', now }));
    if (!keep) this.#leave();
  }

  /** The next request, of which something may be here already. */
  #next(): void {
    this.#phase = 'head';
    this.#quietSince = this.#context.clock.monotonic();
    if (this.#reading) return;
    if (this.#rest.length > 0) this.#read(this.#rest);
    else if (this.#inputEnded) this.#leave();
    else this.#resume();
  }

  /** Only once what has come meanwhile was read: it may be the next request, which would be lost. */
  #leaveIfQuiet(): void {
    const since = this.#quietSince;
    setImmediate(() => {
      if (this.#phase === 'head' && this.#quietSince === since) this.#leave();
    });
  }

  /** Nothing more is said; the client gets a moment to read it all. */
  #leave(): void {
    if (this.#phase === 'leaving' || this.#phase === 'ended') return;
    this.#phase = 'leaving';
    this.#deadline.set(undefined);
    this.#quietSince = this.#context.clock.monotonic();
    this.#rest = empty;
    this.#end.end();
    this.#resume();
  }

  #due(): void {
    if (this.#request) return this.#request.onDue();
    if (this.#phase === 'head') this.#refuse(headLate);
  }

  #hold(chunk: Buffer, from: number): void {
    if (this.#phase === 'leaving' || this.#phase === 'ended') return;
    const more = chunk.subarray(from);
    this.#rest = this.#rest.length === 0 ? more : Buffer.concat([this.#rest, more]);
    this.#pause();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#end.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#end.resume();
  }

  #removeListeners(): void {
    this.#end
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('error', this.#onGone)
      .off('close', this.#onGone)
      .off('drain', this.#onDrain);
  }

  #gone(): void {
    this.#phase = 'ended';
    this.#deadline.cancel();
    this.#rest = empty;
    const opened = this.#opened;
    this.#opened = undefined;
    if (opened) {
      opened.end.on('error', () => undefined);
      abortEnd(opened.end);
      opened.release('neutral');
    }
    this.#context.connections.remove(this);
  }
}

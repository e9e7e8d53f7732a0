import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Idle } from '../../http/idle-pool.ts';
import { type Body, bodyOf } from '../../http/h1/body.ts';
import { HeadBuffer } from '../../http/h1/head-buffer.ts';
import { noBody } from '../../http/h1/framing.ts';
import { ResponseHead } from '../../http/h1/response-head.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Dialled } from '../dial.ts';
import { abortEnd, type SpliceEnd, wasReset } from '../splice.ts';
import { bulkBytes, corkForTurn } from '../turn.ts';

/** For the other end of a tunnel, to end it as well. */
const lingerMs = 2000;

/** Why no whole response came. `malformed`: what came is none. */
export type UpstreamFault =
  | { readonly kind: 'reset'; readonly begun: boolean }
  | { readonly kind: 'malformed'; readonly reason: string; readonly begun: boolean };

/** A piece of a response as it lies in a chunk; head and body of a small response are one piece. */
export interface Piece {
  readonly chunk: Buffer;
  /** Of the body. */
  readonly start: number;
  readonly end: number;
}

/** Who waits for a response. */
export interface ResponseSink {
  /** Another response follows. */
  onInterim(head: ResponseHead): void;
  /** The head, and what of the body came with it. */
  onHead(head: ResponseHead, piece: Piece, body: Body): void;
  onBody(piece: Piece): void;
  /** The last byte came; the upstream is free for another request if `reusable`. */
  onComplete(): void;
  onFault(fault: UpstreamFault): void;
  /** What was written has gone. */
  onUpstreamDrain(): void;
}

/** One HTTP/1.1 connection to an upstream: one request at a time, kept between them. */
export class H1Upstream implements Idle {
  readonly dialled: Dialled;
  /** It carried a request before this one. */
  reused: boolean = false;
  reuseUntil: number = Number.POSITIVE_INFINITY;
  /** Monotonic ms: however busy it is, others shall have their part of the requests. */
  lifeEnds: number = Number.POSITIVE_INFINITY;
  /** Monotonic ms: when its last response ended. */
  idleSince: number = 0;
  readonly #end: SpliceEnd;
  /** The same. */
  readonly #out: Duplex;
  readonly #limits: GatewayLimits;
  readonly #onGone: (upstream: H1Upstream) => void;
  readonly #buffer: HeadBuffer;
  readonly #head: ResponseHead;
  #sink: ResponseSink | undefined;
  #method = '';
  #body: Body | undefined;
  #begun = false;
  #keeps = false;
  #closed = false;

  /** `onGone`: called once when it ends while nobody uses it. */
  constructor(dialled: Dialled, limits: GatewayLimits, onGone: (upstream: H1Upstream) => void) {
    this.dialled = dialled;
    this.#end = dialled.end;
    this.#out = dialled.end;
    this.#limits = limits;
    this.#onGone = onGone;
    this.#buffer = new HeadBuffer(limits.httpHeadBytes, { skips: false });
    this.#head = new ResponseHead({ fields: limits.httpFields });
    this.#end
      .on('data', (chunk: Buffer) => this.#read(chunk))
      .on('end', () => this.#ended())
      .on('error', () => this.#lost())
      .on('close', () => this.#lost())
      .on('drain', () => this.#sink?.onUpstreamDrain());
    // It may have died between being connected and being used; its 'close' is then gone for good.
    if (this.#end.destroyed) this.#closed = true;
  }

  get usable(): boolean {
    return !this.#closed && this.dialled.usable;
  }

  /** Whether another request may follow once its last response is complete. */
  get reusable(): boolean {
    return this.#keeps && this.usable;
  }

  /** Seconds after which the upstream says it closes the connection. */
  get keepAliveS(): number | undefined {
    return this.#head.keepAliveS;
  }

  get buffered(): number {
    return this.#end.writableLength + this.#end.readableLength;
  }

  /** Begins a request; its response goes to `sink`. */
  begin(sink: ResponseSink, method: string): void {
    this.#sink = sink;
    this.#method = method;
    this.#body = undefined;
    this.#begun = false;
    this.#keeps = false;
  }

  /** Takes it out of use: nothing is told any more. */
  release(): void {
    this.#sink = undefined;
  }

  /** @returns false: hold the source back until `onUpstreamDrain` */
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

  pause(): void {
    this.#end.pause();
  }

  resume(): void {
    this.#end.resume();
  }

  /** Its client has nothing more to say, ever. */
  endWriting(): void {
    this.#end.end();
  }

  /** Ends it in order. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sink = undefined;
    const end = this.#end;
    end.resume();
    end.end();
    if (end.destroyed) return;
    if (end instanceof Socket) end.destroy();
    // One that is destroyed would be a reset for its other end, and trouble in the log there.
    else end.setTimeout(lingerMs, () => end.destroy());
  }

  /** Ends it so that nobody takes what was sent for everything. */
  abort(): void {
    this.#closed = true;
    this.#sink = undefined;
    abortEnd(this.#end);
  }

  /** Gives the connection away, without listeners. */
  detach(): SpliceEnd {
    this.#closed = true;
    this.#sink = undefined;
    for (const event of ['data', 'end', 'error', 'close', 'drain']) this.#end.removeAllListeners(event);
    return this.#end;
  }

  #read(chunk: Buffer): void {
    // Nobody has asked.
    if (!this.#sink) return this.#unasked();
    let at = 0;
    while (at < chunk.length && this.#sink) {
      const next = this.#body ? this.#readBody(chunk, at, this.#body) : this.#readHead(chunk, at);
      if (next < 0) return;
      at = next;
    }
    if (at < chunk.length) this.#unasked();
  }

  /** @returns where to go on; -1: nothing more here */
  #readHead(chunk: Buffer, at: number): number {
    this.#begun = true;
    const next = this.#buffer.push(chunk, at);
    if (next === -1) return -1;
    if (next === -2) return this.#malformed('a head that is too large');
    const head = this.#head;
    const { bytes, start, end } = this.#buffer;
    const fault = head.scan(bytes, { start, end, method: this.#method });
    if (fault !== undefined) return this.#malformed(fault);
    const sink = this.#sink;
    if (head.interim) {
      sink?.onInterim(head);
      return next;
    }
    const body = bodyOf(head.status === 101 ? noBody : head.framing, {
      headBytes: this.#limits.httpHeadBytes,
      fields: this.#limits.httpFields,
    });
    const bodyEnd = body.take(chunk, next);
    if (typeof bodyEnd === 'string') return this.#malformed(bodyEnd);
    this.#keeps = head.keepsAlive;
    this.#body = body;
    if (head.status === 101) {
      // What follows is no HTTP any more.
      sink?.onHead(head, { chunk, start: next, end: chunk.length }, body);
      return -1;
    }
    if (body.done && bodyEnd < chunk.length) this.#keeps = false;
    sink?.onHead(head, { chunk, start: next, end: bodyEnd }, body);
    if (body.done) this.#complete();
    return bodyEnd;
  }

  #readBody(chunk: Buffer, at: number, body: Body): number {
    const end = body.take(chunk, at);
    if (typeof end === 'string') return this.#malformed(end);
    if (body.done && end < chunk.length) this.#keeps = false;
    this.#sink?.onBody({ chunk, start: at, end });
    if (body.done) this.#complete();
    return end;
  }

  #complete(): void {
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.onComplete();
  }

  #malformed(reason: string): number {
    const sink = this.#sink;
    this.abort();
    sink?.onFault({ kind: 'malformed', reason, begun: this.#body !== undefined });
    return -1;
  }

  #unasked(): void {
    this.abort();
    this.#onGone(this);
  }

  #ended(): void {
    if (this.#sink && this.#body && this.#head.framing.kind === 'close' && !wasReset(this.#end)) {
      const sink = this.#sink;
      this.close();
      return sink.onComplete();
    }
    this.#lost();
  }

  #lost(): void {
    if (this.#closed) return;
    const sink = this.#sink;
    this.abort();
    if (sink) sink.onFault({ kind: 'reset', begun: this.#begun });
    else this.#onGone(this);
  }
}

import { type ClientHttp2Stream, constants } from 'node:http2';
import type { Outcome } from '../../balance/service-book.ts';
import { bytesOf, type RawFields, readResponseHead, readTrailers } from '../../http/h2/head.ts';
import { asHeaders } from '../../http/h2/onward.ts';
import { speaksAgainst } from '../../http/h2/outcome.ts';
import type { Incoming, TryEvents, TryFailure, UpstreamTry } from './h2-channel.ts';
import { abortStream, endedCleanly } from './h2-streams.ts';

/** The session that a try is on, as far as a try has to do with it. */
export interface H2TryOwner {
  /** Of a response's head, or its trailers. What was agreed counts for Node only once the peer has acknowledged it. */
  readonly headBytes: number;
  /** It takes no more requests. */
  readonly leaving: boolean;
  /** More of the request was sent. */
  sent(): void;
  /** Something of the response has come. */
  heard(): void;
  /** Once, after the stream has closed. */
  release(outcome: Outcome): void;
}

/** One request in one stream of a session to an upstream. */
export class H2Try implements UpstreamTry {
  readonly #stream: ClientHttp2Stream;
  readonly #owner: H2TryOwner;
  readonly #events: TryEvents;
  #head: Incoming | undefined;
  #trailersOut: RawFields = [];
  #trailersIn: RawFields = [];
  #received = 0;
  #outcome: Outcome | undefined;
  #over = false;

  constructor(stream: ClientHttp2Stream, owner: H2TryOwner, events: TryEvents) {
    this.#stream = stream;
    this.#owner = owner;
    this.#events = events;
    stream.on('headers', (_headers, _flags, raw: RawFields) => this.#info(raw));
    stream.on('response', (_headers, flags, raw: RawFields) => this.#response(flags, raw));
    stream.on('trailers', (_headers, _flags, raw: RawFields) => {
      if (bytesOf(raw) <= owner.headBytes) this.#trailersIn = readTrailers(raw);
      else if (!this.#over) this.#fail('protocol');
    });
    stream.on('drain', () => {
      if (!this.#over) events.onDrain();
    });
    stream.on('wantTrailers', () => stream.sendTrailers(asHeaders(this.#trailersOut)));
    // What it was is told by 'close'.
    stream.on('error', () => undefined);
    stream.on('close', () => this.#closed());
  }

  write(chunk: Buffer): boolean {
    if (this.#stream.destroyed || this.#stream.writableEnded) return true;
    this.#owner.sent();
    return this.#stream.write(chunk);
  }

  end(trailers: RawFields): void {
    this.#trailersOut = trailers;
    if (!this.#stream.destroyed) this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  buffered(): number {
    return this.#stream.readableLength + this.#stream.writableLength;
  }

  abort(outcome: Outcome): void {
    this.#over = true;
    this.#outcome ??= outcome;
    abortStream(this.#stream, 'cancel');
  }

  #info(raw: RawFields): void {
    this.#owner.heard();
    const head = bytesOf(raw) <= this.#owner.headBytes ? readResponseHead(raw) : undefined;
    if (this.#over || !head) return;
    // RFC 9113 §8.6: there is no 101 in HTTP/2.
    if (head.status !== constants.HTTP_STATUS_SWITCHING_PROTOCOLS) this.#events.onInfo(head.status, head.fields);
  }

  #response(flags: number, raw: RawFields): void {
    this.#owner.heard();
    if (this.#over) return;
    const head = bytesOf(raw) <= this.#owner.headBytes ? readResponseHead(raw) : undefined;
    if (!head || head.status < 200 || head.status > 599) return this.#fail('protocol');
    this.#head = { ...head, endStream: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0 };
    this.#outcome = speaksAgainst(head.status, head.fields, this.#head.endStream) ? 'failed' : 'good';
    this.#events.onHead(this.#head);
    // Not before: on a connection that is a stream itself, 'data' would come ahead of 'response'.
    this.#stream.on('data', (chunk: Buffer) => this.#data(chunk)).on('end', () => this.#ended());
  }

  #data(chunk: Buffer): void {
    this.#owner.heard();
    if (this.#over) return;
    this.#received += chunk.length;
    this.#events.onData(chunk);
  }

  #ended(): void {
    if (this.#over || !this.#head || !endedCleanly(this.#stream)) return;
    const { contentLength, endStream } = this.#head;
    // A reset with NO_ERROR looks like the end of the message, too.
    if (!endStream && contentLength !== undefined && contentLength !== this.#received) return;
    this.#over = true;
    this.#events.onEnd(this.#trailersIn);
    // The response is whole; what is left of the request is of no use to anybody.
    if (!this.#stream.writableEnded) abortStream(this.#stream, 'cancel');
  }

  #closed(): void {
    const refused = this.#stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !this.#head;
    const unsent = this.#stream.id === undefined;
    this.#owner.release(this.#outcome ?? (refused ? 'neutral' : 'reset'));
    if (!refused || unsent) return this.#lost(unsent ? 'away' : 'reset');
    // Of a GOAWAY its streams hear before the session does.
    setImmediate(() => this.#lost(this.#owner.leaving ? 'away' : 'refused'));
  }

  #lost(failure: TryFailure): void {
    if (this.#over) return;
    this.#over = true;
    this.#events.onFailed(failure);
  }

  #fail(failure: TryFailure): void {
    this.#over = true;
    this.#outcome = 'failed';
    abortStream(this.#stream, 'cancel');
    this.#events.onFailed(failure);
  }
}

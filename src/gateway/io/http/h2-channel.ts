import type { Outcome } from '../../balance/service-book.ts';
import type { H2RequestHead, H2ResponseHead, RawFields } from '../../http/h2/head.ts';
import type { IsthmusError } from '../../../model/error.ts';
import type { Dialled, Place } from '../dial.ts';
import type { Want } from './upstreams.ts';

/** A request as it is sent. */
export interface Outgoing {
  readonly head: H2RequestHead;
  /** Beside the pseudo-header fields. */
  readonly fields: RawFields;
  /** It has no body. */
  readonly endStream: boolean;
  /** Trailers may follow its body. */
  readonly trailers: boolean;
}

/** A response's head; without a body when `endStream`. */
export interface Incoming extends H2ResponseHead {
  readonly endStream: boolean;
}

/**
 * Why a try came to nothing. `away`: the connection was ending, and the upstream never took the request up (a GOAWAY that
 * does not count it in, nothing sent at all). `refused`: the upstream says that it did nothing about the request (RFC
 * 9113 §8.7). `reset`: it may have. `protocol`: what came is not HTTP, or not safe to pass on.
 */
export type TryFailure = 'away' | 'refused' | 'reset' | 'protocol';

/** What one try brings. After `onEnd` or `onFailed` comes nothing more, nor after `abort`. */
export interface TryEvents {
  /** 1xx, but 101. */
  onInfo(status: number, fields: RawFields): void;
  onHead(head: Incoming): void;
  onData(chunk: Buffer): void;
  onEnd(trailers: RawFields): void;
  onFailed(failure: TryFailure): void;
  /** After a `write` that answered false. */
  onDrain(): void;
}

/** One request on its way to one upstream. */
export interface UpstreamTry {
  /** @returns false: hold the client back until `onDrain` */
  write(chunk: Buffer): boolean;
  end(trailers: RawFields): void;
  pause(): void;
  resume(): void;
  /** Bytes that wait in this process. */
  buffered(): number;
  /** Nobody wants an answer any more. `outcome`: what it says of the upstream. */
  abort(outcome: Outcome): void;
}

/** An open way to one upstream. */
export interface Channel {
  readonly dialled: Dialled;
  /** One more request may be sent now. */
  readonly hasRoom: boolean;
  /** @throws IsthmusError `unavailable`; nothing was sent */
  send(outgoing: Outgoing, events: TryEvents): UpstreamTry;
}

/** Where a request may be sent now, or why nowhere. */
export type Seat =
  | { readonly channel: Channel; readonly attempts: number }
  | {
      readonly channel: undefined;
      readonly attempts: number;
      /** `nowhere`: no place serves. `busy`: all there is to be had is full. `failed`: nothing could be reached. */
      readonly why: 'nowhere' | 'busy' | 'failed';
      /** Where it failed after the connection was there: that place does not speak this protocol. */
      readonly place: Place | undefined;
      readonly error: IsthmusError | undefined;
    };

/** What one request looks for, and for whom tunnels are opened: only requests with the same key share one. */
export interface SeatWant extends Want {
  readonly key: string;
}

/** Finds ways to upstreams, open ones first. */
export interface Seats {
  /** What the upstreams behind it speak. */
  readonly speaks: 'HTTP/1.1' | 'HTTP/2';
  /**
   * Calls back once, at once when a way is open; it must be used before the call back returns.
   * @returns ends the waiting without a result
   */
  take(want: SeatWant, done: (seat: Seat) => void): () => void;
}

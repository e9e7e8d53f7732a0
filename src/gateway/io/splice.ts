import { constants, type Http2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { Fifo } from '../../runtime/fifo.ts';
import { bulkBytes, corkForTurn } from './turn.ts';

/**
 * Joins two connections so that each side sees exactly what the other did: bytes, end of file in either direction, or
 * a reset. Node's own notions differ in ways that would turn a reset into a clean end, hence the care below.
 */
export type SpliceEnd = Socket | Http2Stream;

export type SpliceCause =
  /** Both directions ended with a clean end of file. */
  | 'complete'
  | 'client-reset'
  | 'upstream-reset'
  | 'idle'
  /** This gateway ended it. */
  | 'cut'
  /** This gateway ended it because too much waited for its receiver. */
  | 'overload'
  /** This gateway ended it because it is not allowed any more. */
  | 'denied';

/** Why this gateway ends what runs. */
export type CutReason = Extract<SpliceCause, 'cut' | 'overload' | 'denied'>;

export interface SpliceResult {
  readonly cause: SpliceCause;
  readonly bytesFromClient: number;
  readonly bytesFromUpstream: number;
}

/** A running splice, as the owner of all of them sees it. */
export interface Splice {
  /** So far. */
  readonly bytesFromClient: number;
  readonly bytesFromUpstream: number;
  /** Bytes that wait in this process for a receiver. */
  buffered(): number;
  /** Called regularly: cuts what was idle, or lingered after an abort, for too long. */
  sweep(now: number, limits: { readonly idleTimeoutMs: number; readonly lingerMs: number }): void;
  /** Resets both sides at once. */
  cut(why: CutReason): void;
}

/** A corked socket is flushed at the latest when so much waits in it. */
const corkBytes = 65_536;

/** A TLS read brings several frames one after the other: together they cost one system call. */
function writeCorked(socket: Socket, chunk: Buffer): boolean {
  corkForTurn(socket);
  const goOn = socket.write(chunk);
  if (socket.writableLength >= corkBytes) socket.uncork();
  return goOn;
}

/**
 * Memory of chunks that a socket has read, given back as soon as they are written: left to the garbage collector it
 * forces one full collection per 64 MB carried.
 */
class Recycler {
  readonly #written: (error?: Error | null) => void;
  readonly #inFlight = new Fifo<Buffer>();
  #usable = true;

  constructor() {
    this.#written = (error) => {
      // A dying stream calls back out of order, and the system may still read what it was given.
      if (error) this.#usable = false;
      const chunk = this.#inFlight.shift();
      if (chunk && this.#usable && chunk.buffer instanceof ArrayBuffer) chunk.buffer.transfer(0);
    };
  }

  /** Only for a chunk that is all of its memory, and that nobody looks at any more. */
  write(sink: SpliceEnd, chunk: Buffer): boolean {
    this.#inFlight.push(chunk);
    return sink.write(chunk, this.#written);
  }
}

/** One direction. */
class Flow {
  readonly sink: SpliceEnd;
  bytes: number = 0;
  /** The source has ended cleanly. */
  ended: boolean = false;
  readonly #fromSocket: boolean;
  #recycler: Recycler | undefined;

  constructor(source: SpliceEnd, sink: SpliceEnd) {
    this.sink = sink;
    this.#fromSocket = source instanceof Socket;
  }

  /** @returns false: hold the source back until the sink drains */
  write(chunk: Buffer): boolean {
    const { sink } = this;
    this.bytes += chunk.length;
    if (chunk.length < bulkBytes) return sink.write(chunk);
    if (this.#fromSocket && chunk.length === chunk.buffer.byteLength) {
      this.#recycler ??= new Recycler();
      return this.#recycler.write(sink, chunk);
    }
    return sink instanceof Socket ? writeCorked(sink, chunk) : sink.write(chunk);
  }
}

const pairKey: unique symbol = Symbol('pair');
/** The listeners are shared by all connections and find theirs here: no closure per connection. */
type Joined = SpliceEnd & { [pairKey]?: Pair };

function onData(this: Joined, chunk: Buffer): void {
  if (this[pairKey]?.flowFrom(this).write(chunk) === false) this.pause();
}

function onDrain(this: Joined): void {
  this[pairKey]?.other(this).resume();
}

function onEnd(this: Joined): void {
  this[pairKey]?.ended(this);
}

function onError(this: Joined): void {
  this[pairKey]?.failed(this);
}

function onClose(this: Joined): void {
  this[pairKey]?.closed(this);
}

class Pair implements Splice {
  readonly #client: Joined;
  readonly #upstream: Joined;
  readonly #done: (result: SpliceResult) => void;
  readonly #up: Flow;
  readonly #down: Flow;
  #open = 2;
  #cause: SpliceCause | undefined;
  #sweptBytes = -1;
  #quietSince = 0;

  constructor(client: SpliceEnd, upstream: SpliceEnd, done: (result: SpliceResult) => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#done = done;
    this.#up = new Flow(client, upstream);
    this.#down = new Flow(upstream, client);
  }

  start(): void {
    const client = this.#client;
    const upstream = this.#upstream;
    client[pairKey] = this;
    upstream[pairKey] = this;
    client.on('drain', onDrain).on('end', onEnd).on('error', onError).on('close', onClose).on('data', onData);
    upstream.on('drain', onDrain).on('end', onEnd).on('error', onError).on('close', onClose).on('data', onData);
    // Either may have died between being connected and being joined; its 'close' is then gone for good.
    if (client.destroyed) this.#abort('client-reset');
    if (upstream.destroyed) this.#abort('upstream-reset');
    if (client.closed) this.#ended();
    if (upstream.closed) this.#ended();
    // Its end of file may have been read by whoever had it before: it does not come twice.
    if (client.readableEnded && !client.destroyed) this.ended(client);
    if (upstream.readableEnded && !upstream.destroyed) this.ended(upstream);
  }

  get bytesFromClient(): number {
    return this.#up.bytes;
  }

  get bytesFromUpstream(): number {
    return this.#down.bytes;
  }

  flowFrom(end: SpliceEnd): Flow {
    return end === this.#client ? this.#up : this.#down;
  }

  other(end: SpliceEnd): SpliceEnd {
    return end === this.#client ? this.#upstream : this.#client;
  }

  ended(end: SpliceEnd): void {
    if (wasReset(end)) return this.failed(end);
    const flow = this.flowFrom(end);
    flow.ended = true;
    flow.sink.end();
  }

  failed(end: SpliceEnd): void {
    this.#abort(end === this.#client ? 'client-reset' : 'upstream-reset');
  }

  closed(end: SpliceEnd): void {
    if (!(this.#up.ended && this.#down.ended) || wasReset(end)) this.failed(end);
    this.#ended();
  }

  buffered(): number {
    const client = this.#client;
    const upstream = this.#upstream;
    return client.writableLength + upstream.writableLength + client.readableLength + upstream.readableLength;
  }

  sweep(now: number, { idleTimeoutMs, lingerMs }: { readonly idleTimeoutMs: number; readonly lingerMs: number }): void {
    const bytes = this.#up.bytes + this.#down.bytes;
    if (bytes !== this.#sweptBytes) {
      this.#sweptBytes = bytes;
      this.#quietSince = now;
      return;
    }
    if (now - this.#quietSince < (this.#cause === undefined ? idleTimeoutMs : lingerMs)) return;
    this.#abort('idle');
    this.#client.destroy();
    this.#upstream.destroy();
  }

  cut(why: CutReason): void {
    this.#abort(why);
    // What waits for a side that has ended cleanly would go on waiting.
    this.#client.destroy();
    if (why !== 'cut') this.#upstream.destroy();
  }

  #abort(why: SpliceCause): void {
    this.#cause ??= why;
    abortEnd(this.#client);
    abortEnd(this.#upstream);
  }

  #ended(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    const cause = this.#cause ?? 'complete';
    this.#done({ cause, bytesFromClient: this.bytesFromClient, bytesFromUpstream: this.bytesFromUpstream });
  }
}

/** `done` is called once, after both sides are closed. Both must be open and without 'data' listeners. */
export function splice(client: SpliceEnd, upstream: SpliceEnd, done: (result: SpliceResult) => void): Splice {
  const pair = new Pair(client, upstream, done);
  pair.start();
  return pair;
}

/** A stream that its peer reset with CANCEL ends like a clean end of file; only the code tells. */
export function wasReset(end: SpliceEnd): boolean {
  return !(end instanceof Socket) && (end.rstCode ?? 0) !== constants.NGHTTP2_NO_ERROR;
}

/**
 * Ends one side so that its peer cannot take what it got for everything. A bare `destroy()` would look like a clean end
 * of file to the peer; `resetAndDestroy()` after `end()` leaks the descriptor for ever (Node 20 to 24).
 */
export function abortEnd(end: SpliceEnd): void {
  if (end.destroyed) return;
  if (!(end instanceof Socket)) {
    end.destroy(new Error('The other side of the tunnel was reset'));
  } else if (!end.writableEnded) {
    end.resetAndDestroy();
  } else if (end.writableFinished) {
    end.destroy();
  } else {
    // Everything for this side has come, cleanly: let it arrive. The sweep cuts one that does not take it.
    end.resume();
    end.once('finish', () => end.destroy());
  }
}

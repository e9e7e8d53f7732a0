import { ChunkScanner } from '../../http/h1/chunks.ts';
import { forwardedResponse } from '../../http/h1/forward-response.ts';
import type { ResponseHead } from '../../http/h1/response-head.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Piece } from './h1-upstream.ts';

/** The client's side of a connection. Both answers of `write…`: false, hold the source back. */
export interface AnswerSink {
  writeText(text: string): boolean;
  write(chunk: Buffer): boolean;
  cork(): void;
  uncork(): void;
}

export interface AnswerOptions {
  /** The client is told that its connection ends with this response. */
  readonly close: boolean;
  /** The client speaks HTTP/1.0. */
  readonly old: boolean;
  /** The cluster to name as the one that served; undefined: none is named. */
  readonly servedBy: string | undefined;
  readonly limits: Pick<GatewayLimits, 'httpHeadBytes' | 'httpFields'>;
}

/** A response of at most so many bytes leaves together with its head. */
const joinBytes = 4096;

/** Writes one response to its client: as it came where nothing in it concerns this hop. */
export class H1Answer {
  readonly #sink: AnswerSink;
  readonly #options: AnswerOptions;
  /** For a client that knows no chunks. */
  readonly #unchunker: ChunkScanner | undefined;

  constructor(sink: AnswerSink, head: ResponseHead, options: AnswerOptions) {
    this.#sink = sink;
    this.#options = options;
    if (!needsUnchunking(head, options.old)) return;
    const { httpHeadBytes: headBytes, httpFields: fields } = options.limits;
    this.#unchunker = new ChunkScanner({ headBytes, fields });
  }

  /** The head with what came behind it. @returns false: hold the source back */
  begin(head: ResponseHead, piece: Piece): boolean {
    const { chunk, start, end } = piece;
    const text = forwardedResponse(head, this.#options);
    if (text === undefined && head.bytes === chunk && !this.#unchunker) {
      // As it came, in one piece.
      const whole = head.start === 0 && end === chunk.length;
      return this.#sink.write(whole ? chunk : chunk.subarray(head.start, end));
    }
    const headText = text ?? head.bytes.toString('latin1', head.start, head.end);
    if (end === start) return this.#sink.writeText(headText);
    if (end - start <= joinBytes && !this.#unchunker) {
      return this.#sink.writeText(headText + chunk.toString('latin1', start, end));
    }
    this.#sink.cork();
    this.#sink.writeText(headText);
    const goOn = this.body(piece);
    this.#sink.uncork();
    return goOn;
  }

  /** @returns false: hold the source back */
  body({ chunk, start, end }: Piece): boolean {
    if (end === start) return true;
    if (this.#unchunker) return this.#content(this.#unchunker, chunk.subarray(0, end), start);
    return this.#sink.write(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end));
  }

  /** The body was followed already: this only looks where its content lies. */
  #content(unchunker: ChunkScanner, chunk: Buffer, start: number): boolean {
    let goOn = true;
    unchunker.onContent = (from, to) => {
      goOn = this.#sink.write(chunk.subarray(from, to));
    };
    unchunker.take(chunk, start);
    return goOn;
  }
}

/** Its end is then that of the connection. */
export function needsUnchunking({ framing }: ResponseHead, old: boolean): boolean {
  return old && framing.kind === 'chunked';
}

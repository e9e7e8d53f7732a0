/** One operation of a trace, after its end (OpenTelemetry, "Span"). */
export interface Span {
  readonly name: string;
  /** `server`: a request of a client. `client`: one attempt to have it answered by an upstream. */
  readonly kind: 'server' | 'client';
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: the first span of its trace. */
  readonly parentSpanId: string | undefined;
  readonly state: string | undefined;
  /** Wall clock in ms, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  /** Names are those of OpenTelemetry's semantic conventions, where they have one. */
  readonly attributes: readonly SpanAttribute[];
  /** What went wrong, as one short word of a closed set; undefined: nothing that this side is to blame for. */
  readonly error: string | undefined;
}

export type SpanAttribute = readonly [name: string, value: string | number | boolean];

/** Takes spans in. Never blocks, never throws: what is too much is dropped and counted. */
export interface SpanSink {
  take(span: Span): void;
}

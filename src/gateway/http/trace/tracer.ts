import type { Clock } from '../../../model/ports/clock.ts';
import { type FieldValue, formatTraceparent, parseTraceContext, type TraceContext } from './context.ts';
import type { Span, SpanAttribute, SpanSink } from './span.ts';

/** Random, never all 0. */
export interface TraceIds {
  /** 32 lower-case hex digits. */
  traceId(): string;
  /** 16 lower-case hex digits. */
  spanId(): string;
}

export interface TracerOptions {
  readonly ids: TraceIds;
  readonly clock: Clock;
  /** 0 to 1: the part of traces begun here that is recorded. What others began is recorded when they do. */
  readonly sample: number;
  readonly sink: SpanSink;
}

/** Trace headers of a request on its way on. */
export interface TraceFields {
  readonly traceparent: string;
  readonly tracestate: string | undefined;
}

/** What a span is called and says in the end. */
export interface SpanEnd {
  readonly name: string;
  readonly attributes: readonly SpanAttribute[];
  readonly error?: string | undefined;
}

/** One attempt at an upstream. */
export interface AttemptTrace {
  /** For the request as it is sent: the CLIENT span is its parent. */
  readonly fields: TraceFields;
  /** Once. Asks for what to say only when it is recorded. */
  end(describe: () => SpanEnd): void;
}

/** Begins the trace of each request. */
export class Tracer {
  readonly #options: TracerOptions;

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  /** `parent`, `state`: the request's own `traceparent` and `tracestate`, unseen. */
  begin(parent: FieldValue, state: FieldValue): RequestTrace {
    const { sample, clock } = this.#options;
    const from = parseTraceContext(parent, state);
    return new RequestTrace(from, from?.sampled ?? clock.random() < sample, this.#options);
  }
}

/** The SERVER span of one request, and the CLIENT spans of its attempts. */
export class RequestTrace {
  readonly #options: TracerOptions;
  readonly #parent: TraceContext | undefined;
  readonly #context: TraceContext;
  readonly #recording: boolean;
  readonly #startMs: number;
  readonly #startedAt: number;

  constructor(parent: TraceContext | undefined, recording: boolean, options: TracerOptions) {
    const { ids, clock } = options;
    this.#options = options;
    this.#parent = parent;
    this.#recording = recording;
    this.#startMs = recording ? clock.now() : 0;
    this.#startedAt = recording ? clock.monotonic() : 0;
    // What is not recorded leaves no gap: the sender stays the parent.
    this.#context =
      parent && !recording
        ? parent
        : {
            traceId: parent?.traceId ?? ids.traceId(),
            spanId: ids.spanId(),
            sampled: recording,
            state: parent?.state,
          };
  }

  /** Of the SERVER span, for the access log. */
  get traceparent(): string {
    return formatTraceparent(this.#context);
  }

  attempt(): AttemptTrace {
    const own = this.#context;
    if (!this.#recording) {
      return { fields: { traceparent: formatTraceparent(own), tracestate: own.state }, end: () => undefined };
    }
    const context = { ...own, spanId: this.#options.ids.spanId() };
    const startMs = this.#now();
    return {
      fields: { traceparent: formatTraceparent(context), tracestate: own.state },
      end: (describe) => this.#take('client', { context, parentSpanId: own.spanId, startMs }, describe()),
    };
  }

  /** Once, after the last attempt. */
  end(describe: () => SpanEnd): void {
    if (!this.#recording) return;
    const parentSpanId = this.#parent?.spanId;
    this.#take('server', { context: this.#context, parentSpanId, startMs: this.#startMs }, describe());
  }

  /** Wall clock by the monotonic one, so that a span never ends before it began. */
  #now(): number {
    return this.#startMs + this.#options.clock.monotonic() - this.#startedAt;
  }

  #take(
    kind: Span['kind'],
    of: { readonly context: TraceContext; readonly parentSpanId: string | undefined; readonly startMs: number },
    { name, attributes, error }: SpanEnd,
  ): void {
    const { traceId, spanId, state } = of.context;
    const { parentSpanId, startMs } = of;
    const endMs = this.#now();
    this.#options.sink.take({ name, kind, traceId, spanId, parentSpanId, state, startMs, endMs, attributes, error });
  }
}

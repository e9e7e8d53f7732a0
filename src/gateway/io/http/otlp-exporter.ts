import { Client } from 'undici';
import { messageOf } from '../../../model/error.ts';
import type { Clock, Timer } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import { Backoff } from '../../../runtime/backoff.ts';
import { encodeTraces, rejectedSpans, type TraceResource } from '../../http/trace/otlp.ts';
import type { Span, SpanSink } from '../../http/trace/span.ts';
import { type MetricSamples, Series } from '../../metrics/series.ts';

export interface OtlpExporterOptions {
  /** Base address of an OTLP/HTTP receiver: `http://127.0.0.1:4318`. Spans go to `<endpoint>/v1/traces`. */
  readonly endpoint: string;
  readonly resource: TraceResource;
  readonly clock: Clock;
  readonly log: Log;
}

/** Spans that wait; what comes beyond is dropped. */
const maxQueued = 4096;
const maxBatch = 512;
/** A batch that is not full waits so long for more. */
const flushMs = 2000;
const requestTimeoutMs = 5000;
/** Of an answer. */
const maxAnswerBytes = 65_536;
/** Attempts at one batch. */
const maxAttempts = 4;
const retry = { initialMs: 500, maxMs: 8000 };
/** OTLP/HTTP, "Retryable Response Codes". */
const retryable: ReadonlySet<number> = new Set([429, 502, 503, 504]);
/** At the end there is one attempt, and so much time for it. */
const closeMs = 1000;

type Sent =
  | { readonly kind: 'taken'; readonly rejected: number }
  | { readonly kind: 'again' | 'never'; readonly why: string };

/** Sends spans in batches to an OpenTelemetry receiver, one batch at a time; traffic never waits for it. */
export class OtlpExporter implements SpanSink {
  readonly #options: OtlpExporterOptions;
  readonly #client: Client;
  readonly #path: string;
  readonly #backoff: Backoff;
  readonly #exported = new Series({
    name: 'isthmus_spans_exported_total',
    help: 'Spans that the receiver of traces has taken.',
    labels: [],
    maxSeries: 0,
  });
  readonly #dropped = new Series({
    name: 'isthmus_spans_dropped_total',
    help: 'Spans that were not taken, by reason.',
    labels: ['reason'],
    maxSeries: 4,
  });
  #queue: Span[] = [];
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #failing = false;
  #closed = false;

  /** @throws TypeError when `endpoint` is not a URL */
  constructor(options: OtlpExporterOptions) {
    const { origin, pathname } = new URL(options.endpoint);
    this.#options = options;
    this.#path = `${pathname.replace(/\/+$/, '')}/v1/traces`;
    this.#backoff = new Backoff(retry, () => options.clock.random());
    this.#client = new Client(origin, {
      pipelining: 1,
      connectTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
      maxResponseSize: maxAnswerBytes,
    });
  }

  take(span: Span): void {
    if (this.#closed || this.#queue.length >= maxQueued) {
      return this.#dropped.add(this.#dropped.of(this.#closed ? 'closed' : 'queue-full'));
    }
    this.#queue.push(span);
    if (this.#queue.length >= maxBatch) this.#flush();
    else this.#timer ??= this.#options.clock.schedule(flushMs, () => this.#flush());
  }

  /** For `/metrics`. */
  metrics(): readonly MetricSamples[] {
    return [this.#exported, this.#dropped];
  }

  /** Sends what is left, within a second. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#wake?.();
    const late = this.#options.clock.schedule(closeMs, () => void this.#client.destroy());
    await this.#sending;
    while (this.#queue.length > 0 && !this.#client.destroyed) await this.#deliver(this.#queue.splice(0, maxBatch));
    this.#drop(this.#queue.splice(0), 'closed');
    late.cancel();
    if (!this.#client.destroyed) await this.#client.destroy();
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#sending || this.#closed) return;
    this.#sending = this.#drain().finally(() => {
      this.#sending = undefined;
      if (this.#queue.length > 0 && !this.#closed) {
        this.#timer ??= this.#options.clock.schedule(flushMs, () => this.#flush());
      }
    });
  }

  async #drain(): Promise<void> {
    do await this.#deliver(this.#queue.splice(0, maxBatch));
    while (this.#queue.length >= maxBatch && !this.#closed);
  }

  async #deliver(batch: readonly Span[]): Promise<void> {
    const body = encodeTraces(this.#options.resource, batch);
    for (let attempt = 1; ; attempt += 1) {
      const sent = await this.#send(body);
      if (sent.kind === 'taken') return this.#taken(batch.length, sent.rejected);
      this.#complain(sent.why);
      if (sent.kind === 'never') return this.#drop(batch, 'refused');
      if (attempt >= maxAttempts || this.#closed) return this.#drop(batch, 'unreachable');
      await this.#pause();
    }
  }

  async #send(body: string): Promise<Sent> {
    try {
      const answer = await this.#client.request({
        path: this.#path,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'isthmus' },
        body,
      });
      const text = await answer.body.text();
      const { statusCode } = answer;
      if (statusCode >= 200 && statusCode < 300) return { kind: 'taken', rejected: rejectedSpans(text) };
      return { kind: retryable.has(statusCode) ? 'again' : 'never', why: `status ${statusCode}` };
    } catch (thrown) {
      return { kind: 'again', why: messageOf(thrown) };
    }
  }

  #taken(count: number, rejected: number): void {
    const lost = Math.min(count, rejected);
    this.#exported.add(this.#exported.of(), count - lost);
    if (lost > 0) this.#dropped.add(this.#dropped.of('refused'), lost);
    this.#backoff.reset();
    if (this.#failing) this.#options.log.info({ endpoint: this.#options.endpoint }, 'traces are taken again');
    this.#failing = false;
  }

  #drop(spans: readonly Span[], reason: 'refused' | 'unreachable' | 'closed'): void {
    if (spans.length > 0) this.#dropped.add(this.#dropped.of(reason), spans.length);
  }

  /** Once per trouble, not once per attempt. */
  #complain(reason: string): void {
    if (!this.#failing) this.#options.log.warn({ endpoint: this.#options.endpoint, reason }, 'traces are not taken');
    this.#failing = true;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.schedule(this.#backoff.next(), () => resolve());
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

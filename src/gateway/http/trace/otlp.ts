import type { Span, SpanAttribute } from './span.ts';

/**
 * OTLP 1.x as JSON (OpenTelemetry protocol specification, "JSON Protobuf Encoding"): names in lowerCamelCase, ids in
 * hex, 64-bit numbers as text, enums as numbers.
 */

/** Who the spans are from. */
export interface TraceResource {
  readonly attributes: readonly SpanAttribute[];
  /** The instrumentation scope. */
  readonly scope: { readonly name: string; readonly version: string };
}

const kinds: Readonly<Record<Span['kind'], number>> = { server: 2, client: 3 };
const statusError = 2;
/** Of a text that a client chose. */
const maxTextLength = 1024;

/** An ExportTraceServiceRequest. */
export function encodeTraces({ attributes, scope }: TraceResource, spans: readonly Span[]): string {
  return JSON.stringify({
    resourceSpans: [
      { resource: { attributes: attributes.map(keyValue) }, scopeSpans: [{ scope, spans: spans.map(spanOf) }] },
    ],
  });
}

/** How many spans of an accepted request were not taken; 0 when the answer does not say. Never throws. */
export function rejectedSpans(answer: string): number {
  try {
    const parsed: unknown = JSON.parse(answer);
    const rejected = field(field(parsed, 'partialSuccess'), 'rejectedSpans');
    const count = typeof rejected === 'string' || typeof rejected === 'number' ? Number(rejected) : 0;
    return Number.isSafeInteger(count) && count > 0 ? count : 0;
  } catch {
    // Not JSON: the status alone has said that they were taken.
    return 0;
  }
}

function field(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? (Reflect.get(of, name) as unknown) : undefined;
}

function spanOf(span: Span): object {
  const { name, kind, traceId, spanId, parentSpanId, state, startMs, endMs, attributes, error } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId !== undefined && { parentSpanId }),
    ...(state !== undefined && { traceState: state }),
    name,
    kind: kinds[kind],
    startTimeUnixNano: nanos(startMs),
    endTimeUnixNano: nanos(endMs),
    attributes: attributes.map(keyValue),
    status: error === undefined ? {} : { code: statusError, message: error },
  };
}

function nanos(ms: number): string {
  const whole = Math.floor(ms);
  return (BigInt(whole) * 1_000_000n + BigInt(Math.floor((ms - whole) * 1e6))).toString();
}

function keyValue([key, value]: SpanAttribute): object {
  return { key, value: anyValue(value) };
}

function anyValue(value: SpanAttribute[1]): object {
  if (typeof value === 'string') return { stringValue: value.slice(0, maxTextLength) };
  if (typeof value === 'boolean') return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

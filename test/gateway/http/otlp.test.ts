import assert from 'node:assert/strict';
import { connect as connectHttp2, createServer as createH2 } from 'node:http2';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import type { Span } from '../../../src/gateway/http/trace/span.ts';
import { OtlpExporter } from '../../../src/gateway/io/http/otlp-exporter.ts';
import { type OtlpTracing, startOtlpTracing } from '../../../src/gateway/io/http/otlp-tracing.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { recordingLog, until } from '../support/mesh.ts';
import { startH2Front } from './support/h2-front.ts';

/** One span as the receiver understood it. */
interface Received {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: ReadonlyMap<string, unknown>;
  readonly statusCode: number;
  readonly resource: ReadonlyMap<string, unknown>;
}

type Json = Readonly<Record<string, unknown>>;

function object(value: unknown, keys: readonly string[]): Json {
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value));
  for (const key of Object.keys(value)) assert.ok(keys.includes(key), `unknown field '${key}'`);
  return value as Json;
}

function list(value: unknown): readonly unknown[] {
  assert.ok(Array.isArray(value));
  return value;
}

function hex(value: unknown, digits: number): string {
  assert.ok(typeof value === 'string' && new RegExp(`^[0-9a-f]{${digits}}$`).test(value), String(value));
  return value;
}

/** `opentelemetry.proto.common.v1.KeyValue`, of the kinds that spans need. */
function attributesOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(
    list(value).map((each) => {
      const { key, value: any } = object(each, ['key', 'value']);
      const kinds = object(any, ['stringValue', 'boolValue', 'intValue', 'doubleValue']);
      assert.equal(Object.keys(kinds).length, 1);
      assert.ok(typeof key === 'string' && key !== '');
      if ('intValue' in kinds) assert.match(String(kinds['intValue']), /^-?\d+$/);
      return [key, Object.values(kinds)[0]];
    }),
  );
}

/** `ExportTraceServiceRequest` in the JSON encoding of OTLP; unknown fields and wrong types fail the test. */
function decode(body: string): Received[] {
  const { resourceSpans } = object(JSON.parse(body), ['resourceSpans']);
  return list(resourceSpans).flatMap((one) => {
    const { resource, scopeSpans } = object(one, ['resource', 'scopeSpans']);
    const about = attributesOf(object(resource, ['attributes'])['attributes']);
    return list(scopeSpans).flatMap((scoped) => {
      const { scope, spans } = object(scoped, ['scope', 'spans']);
      object(scope, ['name', 'version']);
      return list(spans).map((span) => decodeSpan(span, about));
    });
  });
}

function decodeSpan(value: unknown, resource: ReadonlyMap<string, unknown>): Received {
  const span = object(value, [
    'traceId',
    'spanId',
    'parentSpanId',
    'traceState',
    'name',
    'kind',
    'startTimeUnixNano',
    'endTimeUnixNano',
    'attributes',
    'status',
  ]);
  const status = object(span['status'], ['code', 'message']);
  return {
    name: String(span['name']),
    kind: Number(span['kind']),
    traceId: hex(span['traceId'], 32),
    spanId: hex(span['spanId'], 16),
    parentSpanId: span['parentSpanId'] === undefined ? undefined : hex(span['parentSpanId'], 16),
    startNs: BigInt(String(span['startTimeUnixNano'])),
    endNs: BigInt(String(span['endTimeUnixNano'])),
    attributes: attributesOf(span['attributes']),
    statusCode: Number(status['code'] ?? 0),
    resource,
  };
}

interface Receiver {
  readonly url: string;
  readonly spans: Received[];
  readonly statuses: number[];
  requests: number;
  readonly server: Server;
}

/** Answers with the statuses it was given, one after the other, then 200. */
async function receiver(t: TestContext, ...statuses: number[]): Promise<Receiver> {
  const spans: Received[] = [];
  const server = createServer((request, response) => {
    assert.equal(request.method, 'POST');
    assert.equal(request.url, '/v1/traces');
    assert.equal(request.headers['content-type'], 'application/json');
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      received.requests += 1;
      const status = statuses.shift() ?? 200;
      if (status === 200) spans.push(...decode(body));
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const bound = server.address();
  const port = bound && typeof bound === 'object' ? bound.port : 0;
  const received: Receiver = { url: `http://127.0.0.1:${port}`, spans, statuses, requests: 0, server };
  return received;
}

function tracing(t: TestContext, endpoint: string, sample = 1): OtlpTracing {
  const started = startOtlpTracing({
    endpoint,
    sample,
    cluster: 'east',
    instance: 'gw0',
    version: '1.2.3',
    clock: systemClock,
    log: recordingLog(),
  });
  t.after(() => started.close());
  return started;
}

function count(exporter: Pick<OtlpTracing, 'metrics'>, name: string): number {
  let sum = 0;
  for (const metric of exporter.metrics()) {
    if (metric.name === name) for (const { value } of metric.samples()) sum += value;
  }
  return sum;
}

const span = (name: string): Span => ({
  name,
  kind: 'server',
  traceId: 'a'.repeat(32),
  spanId: 'b'.repeat(16),
  parentSpanId: undefined,
  state: undefined,
  startMs: 1_700_000_000_000.25,
  endMs: 1_700_000_000_001.5,
  attributes: [
    ['text', 'x'],
    ['whole', 7],
    ['part', 0.5],
    ['yes', true],
  ],
  error: undefined,
});

describe('OTLP over HTTP, at a receiver that knows the protocol', () => {
  it('a request: a SERVER span under its sender, a CLIENT span under that, and the upstream under the CLIENT span', async (t) => {
    const to = await receiver(t);
    const own = tracing(t, to.url);
    let seen: IncomingHttpHeaders = {};
    const backend = createH2((request, response) => {
      seen = request.headers;
      response.statusCode = 503;
      response.end();
    });
    await new Promise<void>((resolve) => void backend.listen(0, '127.0.0.1', resolve));
    t.after(() => void backend.close());
    const bound = backend.address();
    const gateway = await startH2Front({
      endpoints: [bound && typeof bound === 'object' ? bound.port : 0],
      appProtocol: 'h2c',
      tracer: own.tracer,
    });
    t.after(() => gateway.close());
    const session = connectHttp2(`http://127.0.0.1:${gateway.port}`);
    t.after(() => session.destroy());
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const stream = session.request({ ':path': '/a?secret=1', traceparent: `00-${traceId}-00f067aa0ba902b7-01` });
    await new Promise((resolve) => stream.resume().on('close', resolve));
    await until('the request to end', () => gateway.entries.length === 1);
    await own.close();
    const server = to.spans.find(({ kind }) => kind === 2);
    const sent = to.spans.find(({ kind }) => kind === 3);
    assert.ok(server && sent && to.spans.length === 2);
    assert.deepEqual([server.traceId, sent.traceId], [traceId, traceId]);
    assert.equal(server.parentSpanId, '00f067aa0ba902b7');
    assert.equal(sent.parentSpanId, server.spanId);
    assert.equal(seen['traceparent'], `00-${traceId}-${sent.spanId}-01`);
    assert.equal(gateway.entries[0]?.traceparent, `00-${traceId}-${server.spanId}-01`);
    assert.ok(server.startNs <= sent.startNs && sent.endNs <= server.endNs);
    assert.equal(server.name, 'GET');
    assert.equal(server.statusCode, 2);
    assert.equal(server.attributes.get('http.response.status_code'), '503');
    assert.equal(server.attributes.get('url.path'), '/a', 'no query: it may hold secrets');
    assert.equal(server.resource.get('service.name'), 'isthmus-gateway');
    assert.equal(count(own, 'isthmus_spans_exported_total'), 2);
  });

  it('tries again after 503, gives up after 400, counts what was lost', async (t) => {
    const to = await receiver(t, 503, 200, 400);
    const own = new OtlpExporter({
      endpoint: `${to.url}/`,
      clock: systemClock,
      log: recordingLog(),
      resource: { attributes: [], scope: { name: 'isthmus', version: '1' } },
    });
    t.after(() => own.close());
    for (let index = 0; index < 512; index += 1) own.take(span('first'));
    await until('the second attempt', () => count(own, 'isthmus_spans_exported_total') === 512);
    assert.equal(to.requests, 2);
    const [first] = to.spans;
    assert.equal(first?.startNs, 1_700_000_000_000_250_000n);
    assert.deepEqual(Object.fromEntries(first?.attributes ?? []), { text: 'x', whole: '7', part: 0.5, yes: true });
    for (let index = 0; index < 512; index += 1) own.take(span('second'));
    await until('the refusal', () => count(own, 'isthmus_spans_dropped_total') === 512);
  });

  it('a receiver that is not there costs nothing but spans: the queue is bounded, the end does not wait', async (t) => {
    const gone = await receiver(t);
    gone.server.close();
    const own = new OtlpExporter({
      endpoint: gone.url,
      clock: systemClock,
      log: recordingLog(),
      resource: { attributes: [], scope: { name: 'isthmus', version: '1' } },
    });
    for (let index = 0; index < 20_000; index += 1) own.take(span('lost'));
    assert.ok(count(own, 'isthmus_spans_dropped_total') >= 20_000 - 4096 - 512);
    const startedAt = performance.now();
    await own.close();
    assert.ok(performance.now() - startedAt < 5000);
    assert.equal(count(own, 'isthmus_spans_dropped_total'), 20_000);
  });
});

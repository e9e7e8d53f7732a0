import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseTraceContext } from '../../../src/gateway/http/trace/context.ts';
import type { Span } from '../../../src/gateway/http/trace/span.ts';
import { Tracer } from '../../../src/gateway/http/trace/tracer.ts';
import { randomIds } from '../../../src/gateway/io/http/otlp-ids.ts';
import { FakeClock } from '../support/fake-clock.ts';

const parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

function tracer(sample: number, clock: FakeClock = new FakeClock()): { tracer: Tracer; spans: Span[] } {
  const spans: Span[] = [];
  return { spans, tracer: new Tracer({ ids: randomIds, clock, sample, sink: { take: (span) => spans.push(span) } }) };
}

const done = (name: string) => () => ({ name, attributes: [] });

describe('Tracer', () => {
  it('makes the SERVER span a child of the request and the CLIENT spans children of the SERVER span', () => {
    const clock = new FakeClock();
    const { tracer: own, spans } = tracer(0, clock);
    const trace = own.begin(parent, 'a=1');
    clock.advance(5);
    const first = trace.attempt();
    first.end(() => ({ name: 'GET', attributes: [], error: '503' }));
    const second = trace.attempt();
    clock.advance(10);
    second.end(done('GET'));
    trace.end(done('GET'));
    const [one, two, server] = spans;
    assert.ok(one && two && server && spans.length === 3);
    assert.equal(server.kind, 'server');
    assert.equal(server.parentSpanId, '00f067aa0ba902b7');
    for (const span of spans) {
      assert.equal(span.traceId, '4bf92f3577b34da6a3ce929d0e0e4736');
      assert.equal(span.state, 'a=1');
    }
    assert.deepEqual([one.parentSpanId, two.parentSpanId], [server.spanId, server.spanId]);
    assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, 3);
    assert.equal(one.error, '503');
    assert.deepEqual(
      [two.startMs - server.startMs, two.endMs - two.startMs, server.endMs - server.startMs],
      [5, 10, 15],
    );
  });

  it('sends each attempt on with its own span as the parent, and the state', () => {
    const { tracer: own, spans } = tracer(0);
    const attempt = own.begin(parent, 'a=1').attempt();
    attempt.end(done('GET'));
    const sent = parseTraceContext(attempt.fields.traceparent, attempt.fields.tracestate);
    assert.equal(sent?.spanId, spans[0]?.spanId);
    assert.equal(sent?.sampled, true);
    assert.equal(sent?.state, 'a=1');
  });

  it('begins a new trace where there is none, or an invalid one', () => {
    for (const bad of [undefined, 'nonsense', parent.toUpperCase()]) {
      const { tracer: own, spans } = tracer(1);
      const trace = own.begin(bad, 'a=1');
      trace.end(done('GET'));
      assert.equal(spans[0]?.parentSpanId, undefined);
      assert.equal(spans[0]?.state, undefined, 'the state of an invalid parent is nothing');
      assert.ok(parseTraceContext(trace.traceparent, undefined));
    }
  });

  it('records what its sender records, whatever the share; else the share decides', () => {
    const unsampled = parent.replace(/01$/, '00');
    const { tracer: all, spans } = tracer(1);
    const left = all.begin(unsampled, undefined);
    assert.equal(left.attempt().fields.traceparent, unsampled, 'the sender stays the parent: no gap in the trace');
    left.end(done('GET'));
    assert.equal(spans.length, 0);

    const { tracer: none, spans: taken } = tracer(0);
    const root = none.begin(undefined, undefined);
    root.end(done('GET'));
    assert.equal(taken.length, 0);
    assert.equal(parseTraceContext(root.attempt().fields.traceparent, undefined)?.sampled, false, 'decided for all');
    none.begin(parent, undefined).end(done('GET'));
    assert.equal(taken.length, 1);
  });

  it('asks what to say only of what is recorded', () => {
    const { tracer: own } = tracer(0);
    const trace = own.begin(undefined, undefined);
    const fail = (): never => assert.fail('not recorded');
    trace.attempt().end(fail);
    trace.end(fail);
  });
});

describe('randomIds', () => {
  it('gives ids of the right form that do not repeat', () => {
    const ids = Array.from({ length: 2000 }, () => randomIds.traceId());
    const spans = Array.from({ length: 2000 }, () => randomIds.spanId());
    assert.ok(ids.every((id) => /^[0-9a-f]{32}$/.test(id)) && spans.every((id) => /^[0-9a-f]{16}$/.test(id)));
    assert.equal(new Set([...ids, ...spans]).size, 4000);
  });
});

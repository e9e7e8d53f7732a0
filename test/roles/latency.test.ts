import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { Latencies } from '../../src/roles/demo/latency.ts';

suite('Latencies', () => {
  test('has no quantile without a value', () => {
    assert.equal(new Latencies().quantile(0.5), undefined);
  });

  test('a quantile is within 7 % of the true one', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.1, max: 60_000, noNaN: true }), { minLength: 1 }), (values) => {
        const latencies = new Latencies();
        for (const value of values) latencies.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        for (const q of [0.5, 0.99]) {
          const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? 0;
          const found = latencies.quantile(q) ?? 0;
          assert.ok(found >= exact * 0.999 && found <= exact * 1.071, `${found} for ${exact}`);
        }
      }),
    );
  });

  test('decay halves the weight of the past', () => {
    const latencies = new Latencies();
    for (let i = 0; i < 100; i += 1) latencies.record(1);
    latencies.decay();
    for (let i = 0; i < 60; i += 1) latencies.record(100);
    assert.equal(latencies.count, 110);
    assert.ok((latencies.quantile(0.5) ?? 0) > 90);
  });
});

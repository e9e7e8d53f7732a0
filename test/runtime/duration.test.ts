import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../../src/runtime/duration.ts';

suite('parseDuration', () => {
  const right = { '250ms': 250, '0s': 0, '1.5s': 1500, '5m': 300_000, '12h': 43_200_000, '30d': 2_592_000_000 };
  for (const [text, ms] of Object.entries(right))
    test(`${text} = ${ms} ms`, () => assert.equal(parseDuration(text), ms));
  for (const text of ['', '5', 's', '5 s', '-5s', '5S', '1.5ms', '1e3s', '5s ', '5m30s', '9999999999s', 'Infinitys']) {
    test(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseDuration(text), undefined));
  }
  test('reads back whatever formatDuration writes', () => {
    fc.assert(fc.property(fc.nat(999_999_999), (ms) => parseDuration(formatDuration(ms)) === ms));
  });
});

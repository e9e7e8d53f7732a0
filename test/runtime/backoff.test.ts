import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Backoff } from '../../src/runtime/backoff.ts';

suite('Backoff', () => {
  test('doubles up to the bound, and starts again after a success', () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 1000 }, () => 1);
    assert.deepEqual(
      Array.from({ length: 6 }, () => backoff.next()),
      [100, 200, 400, 800, 1000, 1000],
    );
    assert.equal(backoff.attempt, 6);
    backoff.reset();
    assert.equal(backoff.next(), 100);
  });

  test('never waits less than half, whatever the draw', () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 1000 }, () => 0);
    assert.deepEqual([backoff.next(), backoff.next()], [50, 100]);
  });

  test('stays finite after thousands of attempts', () => {
    const backoff = new Backoff({ initialMs: 1, maxMs: 30_000 }, () => 1);
    for (let i = 0; i < 5000; i += 1) backoff.next();
    assert.equal(backoff.next(), 30_000);
  });
});

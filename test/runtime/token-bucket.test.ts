import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TokenBucket, TokenBuckets } from '../../src/runtime/token-bucket.ts';

test('TokenBucket: a burst, then the rate, and says how long to wait', () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 3 }, 0);
  for (let i = 0; i < 3; i += 1) {
    assert.equal(bucket.waitMs(0), 0);
    bucket.take(0);
  }
  assert.equal(bucket.waitMs(0), 500);
  assert.equal(bucket.waitMs(499), 1);
  assert.equal(bucket.waitMs(500), 0);
  bucket.take(500);
  assert.equal(bucket.waitMs(100_000, 2), 0);
  assert.equal(bucket.waitMs(100_000, 3), 500, 'a reserve is left behind');
});

test('TokenBucket: never gives more than burst plus rate times time, whatever the steps', () => {
  const steps = fc.array(fc.nat(2000), { maxLength: 200 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 50 }), (waits, burst, perSecond) => {
      const bucket = new TokenBucket({ perSecond, burst }, 0);
      let now = 0;
      let taken = 0;
      for (const wait of waits) {
        now += wait;
        while (bucket.waitMs(now) === 0) {
          bucket.take(now);
          taken += 1;
        }
      }
      assert.ok(taken <= burst + (now / 1000) * perSecond + 1e-6, `${taken} in ${now} ms`);
    }),
  );
});

test('TokenBucket: a clock that goes back gives nothing', () => {
  const bucket = new TokenBucket({ perSecond: 1, burst: 1 }, 10_000);
  bucket.take(10_000);
  assert.equal(bucket.waitMs(0), 1000);
});

test('TokenBuckets: bounded; a key in use is not forgotten before one that is not', () => {
  const buckets = new TokenBuckets({ perSecond: 0.001, burst: 1 }, 3);
  for (const key of ['a', 'b', 'c']) buckets.of(key, 0).take(0);
  buckets.of('a', 0);
  buckets.of('d', 0).take(0);
  assert.equal(buckets.size, 3);
  assert.ok(buckets.of('a', 0).waitMs(0) > 0, 'a is still empty');
  assert.equal(buckets.of('b', 0).waitMs(0), 0, 'b was forgotten');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SmallMap } from '../../src/runtime/small-map.ts';

test('SmallMap: says what a Map of the same entries says, in the same order', () => {
  const entries = fc.uniqueArray(
    fc.tuple(fc.constantFrom<'a' | 'b' | 'c' | 'd' | 'e' | 'f'>('a', 'b', 'c', 'd', 'e'), fc.option(fc.nat())),
    {
      selector: ([key]) => key,
    },
  );
  fc.assert(
    fc.property(entries, (some) => {
      const [small, map] = [new SmallMap(some), new Map(some)];
      assert.equal(small.size, map.size);
      assert.deepEqual([...small], [...map]);
      assert.deepEqual([...small.keys()], [...map.keys()]);
      assert.deepEqual([...small.values()], [...map.values()]);
      for (const key of ['a', 'b', 'c', 'd', 'e', 'f'] as const) {
        assert.equal(small.get(key), map.get(key));
        assert.equal(small.has(key), map.has(key));
      }
      const seen: unknown[] = [];
      small.forEach((value, key, whole) => seen.push([key, value, whole === small]));
      assert.deepEqual(
        seen,
        [...map].map(([key, value]) => [key, value, true]),
      );
    }),
  );
});

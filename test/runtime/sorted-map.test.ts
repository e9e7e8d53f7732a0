import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SortedMap } from '../../src/runtime/sorted-map.ts';

type Changes = readonly (readonly [string, number | undefined])[];

const key = fc.integer({ min: 0, max: 400 }).map((n) => `key/${n}`);
const changes: fc.Arbitrary<Changes> = fc.array(
  fc.tuple(key, fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined })),
  { maxLength: 150 },
);

function applied(map: ReadonlyMap<string, number>, steps: Changes): Map<string, number> {
  const next = new Map(map);
  for (const [name, value] of steps) {
    if (value === undefined) next.delete(name);
    else next.set(name, value);
  }
  return next;
}

function sorted(map: ReadonlyMap<string, number>): [string, number][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

test('SortedMap: holds what a Map holds after any changes, in order, and no version ever changes', () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 12 }), (rounds) => {
      let plain = new Map<string, number>();
      let map = SortedMap.from<string, number>([]);
      const versions: { readonly map: SortedMap<string, number>; readonly entries: [string, number][] }[] = [];
      for (const round of rounds) {
        plain = applied(plain, round);
        map = map.with(round);
        versions.push({ map, entries: sorted(plain) });
      }
      for (const version of versions) {
        assert.deepEqual([...version.map], version.entries);
        assert.equal(version.map.size, version.entries.length);
        assert.deepEqual(
          [...version.map.keys()],
          version.entries.map(([name]) => name),
        );
        assert.deepEqual(
          [...version.map.values()],
          version.entries.map(([, value]) => value),
        );
        const there = new Map(version.entries);
        for (let n = 0; n <= 400; n += 1) {
          assert.equal(version.map.get(`key/${n}`), there.get(`key/${n}`));
          assert.equal(version.map.has(`key/${n}`), there.has(`key/${n}`));
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('SortedMap.differences: exactly what differs, between any two versions', () => {
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 8 }), (rounds) => {
      const versions = [SortedMap.from<string, number>([])];
      for (const round of rounds) versions.push((versions.at(-1) as SortedMap<string, number>).with(round));
      for (const from of versions) {
        for (const to of versions) {
          const expected = [...new Set([...from.keys(), ...to.keys()])]
            .filter((name) => from.get(name) !== to.get(name))
            .sort()
            .map((name) => ({ key: name, before: from.get(name), after: to.get(name) }));
          assert.deepEqual([...to.differences(from)], expected);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('SortedMap.with: the very same map when nothing differs', () => {
  const map = SortedMap.from<string, number>(Array.from({ length: 500 }, (_, n) => [`k${n}`, n] as const));
  assert.equal(
    map.with([
      ['k7', 7],
      ['missing', undefined],
    ]),
    map,
  );
  assert.equal(SortedMap.from(map), map);
});

test('SortedMap: one change among 100,000 costs next to nothing beside copying a Map, and so does finding it', () => {
  const entries = Array.from({ length: 100_000 }, (_, n) => [`ns/${n}`, n] as const);
  const map = SortedMap.from<string, number>(entries);
  const plain = new Map(entries);
  const time = (run: () => void): number => {
    const began = performance.now();
    for (let n = 0; n < 20; n += 1) run();
    return performance.now() - began;
  };
  time(() => [...map.with([['ns/5', -1]]).differences(map)]);
  const change = time(() => assert.equal([...map.with([['ns/5', -1]]).differences(map)].length, 1));
  const copy = time(() => new Map(plain).set('ns/5', -1));
  assert.ok(change * 20 < copy, `${change} ms against ${copy} ms`);
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { bucketOf, digestOf, MapDigest, wholeOf } from '../../src/wire/digest.ts';

const sha256 = (...parts: readonly (Uint8Array | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** wire.md, "Digest", word for word and without any cleverness. */
function plainDigest(entries: ReadonlyMap<string, Uint8Array>): string {
  const buckets = Array.from({ length: 256 }, (_, index) => {
    const keys = [...entries.keys()].filter((key) => sha256(key)[0] === index).toSorted((a, b) => (a < b ? -1 : 1));
    return sha256(
      ...keys.flatMap((key) => {
        const length = Buffer.alloc(4);
        length.writeUInt32BE(Buffer.byteLength(key));
        return [length, key, sha256(entries.get(key) as Uint8Array)];
      }),
    );
  });
  return sha256(...buckets).toString('hex');
}

const changes = fc.array(
  fc.tuple(
    fc.constantFrom('a', 'b', 'é', 'export/shop/web', 'x1', 'x2', 'x3'),
    fc.option(fc.uint8Array({ maxLength: 4 })),
  ),
  { maxLength: 40 },
);

test('MapDigest: after any changes equals the plain definition', () => {
  fc.assert(
    fc.property(changes, (steps) => {
      const digest = new MapDigest();
      const entries = new Map<string, Uint8Array>();
      for (const [key, value] of steps) {
        if (value === null) {
          digest.delete(key);
          entries.delete(key);
        } else {
          digest.set(key, value);
          entries.set(key, value);
        }
        // Reading in between must not freeze anything.
        if (key === 'b') void digest.whole;
      }
      assert.equal(digest.whole, plainDigest(entries));
      assert.equal(digest.size, entries.size);
      assert.equal(digestOf(entries), digest.whole);
    }),
  );
});

test('MapDigest: clone and origin change independently', () => {
  fc.assert(
    fc.property(changes, changes, changes, (first, left, right) => {
      const apply = (digest: MapDigest, steps: typeof first): void => {
        for (const [key, value] of steps) {
          if (value === null) digest.delete(key);
          else digest.set(key, value);
        }
      };
      const alone = (...parts: (typeof first)[]): string => {
        const digest = new MapDigest();
        for (const part of parts) apply(digest, part);
        return digest.whole;
      };
      const origin = new MapDigest();
      apply(origin, first);
      const copy = origin.clone();
      apply(origin, left);
      apply(copy, right);
      assert.equal(origin.whole, alone(first, left));
      assert.equal(copy.whole, alone(first, right));
    }),
  );
});

test('MapDigest: order of insertion plays no part, any byte of key or value does', () => {
  const one = digestOf([
    ['a', Buffer.from('1')],
    ['b', Buffer.from('2')],
  ]);
  assert.equal(
    digestOf([
      ['b', Buffer.from('2')],
      ['a', Buffer.from('1')],
    ]),
    one,
  );
  assert.notEqual(
    digestOf([
      ['a', Buffer.from('2')],
      ['b', Buffer.from('1')],
    ]),
    one,
  );
  assert.notEqual(
    digestOf([
      ['ab', Buffer.from('1')],
      ['', Buffer.from('2')],
    ]),
    one,
  );
  assert.notEqual(digestOf([]), one);
});

test('MapDigest: a bucket changes with its own keys only', () => {
  const digest = new MapDigest();
  digest.set('a', Buffer.from('1'));
  const before = digest.buckets();
  digest.set('a', Buffer.from('2'));
  assert.deepEqual([...before.keys()], [sha256('a')[0]]);
  assert.deepEqual([...digest.buckets().keys()], [bucketOf('a')]);
  assert.notDeepEqual(digest.bucket(bucketOf('a')), before.get(bucketOf('a')));
  digest.delete('a');
  assert.equal(digest.bucket(bucketOf('a')), undefined);
});

test('wholeOf: the filled buckets give the digest of the whole, and of nothing else', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.uint8Array({ maxLength: 4 })), (object) => {
      const digest = new MapDigest();
      for (const [key, value] of Object.entries(object)) digest.set(key, value);
      const buckets = new Map(digest.buckets());
      assert.equal(wholeOf(buckets), digest.whole);
      buckets.set(7, Buffer.alloc(32, 1));
      assert.notEqual(wholeOf(buckets), digest.whole);
    }),
  );
});

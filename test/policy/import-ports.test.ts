import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type HeldPort, PortBook, type PortBookOptions, portRestMs } from '../../src/policy/import-ports.ts';

const empty: PortBookOptions = { held: new Map(), fixed: new Map(), range: { from: 20_000, to: 20_002 } };

function wish(...keys: string[]): ReadonlyMap<string, boolean> {
  return new Map(keys.map((key) => (key.startsWith('-') ? [key.slice(1), false] : [key, true])));
}

suite('PortBook', () => {
  test('gives the lowest ports of the range, and says what it changed', () => {
    const book = new PortBook(empty);
    const changes = book.want(wish('b/b:80', 'a/a:80'), 1);
    assert.deepEqual(
      [...book.ports],
      [
        ['a/a:80', 20_001],
        ['b/b:80', 20_000],
      ],
    );
    assert.deepEqual(
      [...changes],
      [
        ['b/b:80', { port: 20_000 }],
        ['a/a:80', { port: 20_001 }],
      ],
    );
    assert.equal(book.want(wish('a/a:80'), 2).size, 0);
  });

  test('a key keeps its port, wanted or not, and over a restart', () => {
    const held = new Map<string, HeldPort>([['a/a:80', { port: 20_001 }]]);
    const book = new PortBook({ ...empty, held });
    book.want(wish('-a/a:80', 'b/b:80', 'c/c:80', 'd/d:80'), 1);
    assert.deepEqual([book.ports.get('b/b:80'), book.ports.get('c/c:80')], [20_000, 20_002]);
    assert.deepEqual([...book.exhausted], ['d/d:80']);
    book.want(wish('a/a:80'), 2);
    assert.equal(book.ports.get('a/a:80'), 20_001);
  });

  test('a freed port rests 24 h before another key gets it, also over a restart', () => {
    const book = new PortBook({ ...empty, range: { from: 20_000, to: 20_000 } });
    book.want(wish('a/a:80'), 0);
    const freed = book.want(wish('-a/a:80', 'b/b:80'), 1000);
    assert.deepEqual([...freed], [['a/a:80', { port: 20_000, freedAt: 1000 }]]);
    assert.deepEqual([...book.exhausted], ['b/b:80']);
    const restarted = new PortBook({
      ...empty,
      range: { from: 20_000, to: 20_000 },
      held: new Map([['a/a:80', { port: 20_000, freedAt: 1000 }]]),
    });
    for (const one of [book, restarted]) {
      one.want(wish('b/b:80'), 1000 + portRestMs - 1);
      assert.equal(one.ports.get('b/b:80'), undefined);
      const changes = one.want(wish('b/b:80'), 1000 + portRestMs);
      assert.deepEqual(Object.fromEntries(changes), { 'a/a:80': undefined, 'b/b:80': { port: 20_000 } });
      assert.deepEqual([...one.ports, ...one.exhausted], [['b/b:80', 20_000]]);
    }
  });

  test('a port that something else uses is exchanged', () => {
    const book = new PortBook(empty);
    book.want(wish('a/a:80'), 0);
    book.refuse('a/a:80', 0);
    assert.equal(book.ports.get('a/a:80'), 20_001);
    book.refuse('a/a:80', 0);
    book.refuse('a/a:80', 0);
    assert.deepEqual([book.ports.get('a/a:80'), [...book.exhausted]], [undefined, ['a/a:80']]);
  });

  test('a fixed port wins over whoever held it', () => {
    const book = new PortBook({
      ...empty,
      held: new Map([['a/a:80', { port: 20_000 }]]),
      fixed: new Map([['b/b:80', 20_000]]),
    });
    book.want(wish('a/a:80', 'b/b:80'), 0);
    assert.deepEqual([book.ports.get('b/b:80'), book.ports.get('a/a:80')], [20_000, 20_001]);
    book.adopt([
      ['a/a:80', 20_000],
      ['b/b:80', 20_002],
    ]);
    assert.deepEqual([book.ports.get('b/b:80'), book.ports.get('a/a:80')], [20_000, 20_001]);
  });

  test('what the leader gave out is adopted', () => {
    const book = new PortBook(empty);
    book.want(wish('a/a:80', 'b/b:80'), 0);
    book.adopt([
      ['b/b:80', 20_000],
      ['c/c:80', 20_002],
    ]);
    assert.deepEqual(Object.fromEntries(book.ports), { 'b/b:80': 20_000, 'c/c:80': 20_002 });
    book.want(wish('a/a:80'), 1);
    assert.equal(book.ports.get('a/a:80'), 20_001);
  });

  test('no two keys ever share a port, and no port goes to another key before its rest', () => {
    const key = fc.integer({ min: 0, max: 7 }).map((n) => `n/s${n}:80`);
    const step = fc.record({
      wishes: fc.dictionary(key, fc.boolean()),
      refused: fc.option(key),
      afterMs: fc.constantFrom(0, portRestMs / 3, portRestMs),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const book = new PortBook({ ...empty, range: { from: 20_000, to: 20_004 } });
        const wanted = new Set<string>();
        const lastUser = new Map<number, { readonly key: string; readonly until: number }>();
        let now = 0;
        for (const { wishes, refused, afterMs } of steps) {
          now += afterMs;
          for (const name of wanted) {
            const port = book.ports.get(name);
            if (port !== undefined) lastUser.set(port, { key: name, until: now });
          }
          for (const [name, is] of Object.entries(wishes)) {
            if (is) wanted.add(name);
            else wanted.delete(name);
          }
          book.want(new Map(Object.entries(wishes)), now);
          if (refused !== null && wanted.has(refused)) book.refuse(refused, now);
          const ports = [...book.ports.values()];
          assert.equal(new Set(ports).size, ports.length);
          for (const name of wanted) {
            const port = book.ports.get(name);
            assert.equal(port === undefined, book.exhausted.has(name), name);
            const before = port === undefined ? undefined : lastUser.get(port);
            if (before && before.key !== name) assert.ok(now - before.until >= portRestMs);
          }
        }
      }),
    );
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PeakEwma } from '../../src/gateway/balance/choice/peak-ewma.ts';
import type { Choice, Choosable, Strategy } from '../../src/gateway/balance/choice/strategy.ts';

/** An item under test; `up` is what `usable` says. */
export interface Item extends Choosable {
  active: number;
  since: number;
  up: boolean;
}

export function itemsOf(count: number): Item[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `10.0.0.${index}:80`,
    active: 0,
    latency: new PeakEwma(),
    since: Number.NEGATIVE_INFINITY,
    up: true,
  }));
}

/** A repeatable source of numbers from 0 to 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function choiceOf(items: readonly Item[], over: Partial<Choice<Item>> = {}): Choice<Item> {
  return {
    items,
    usable: (item) => item.up,
    limit: 3,
    now: 1000,
    random: seeded(1),
    source: '10.9.8.7',
    slowStartMs: 0,
    ...over,
  };
}

/** What every way to choose must keep, whatever it prefers. */
export function strategyContract(name: string, create: () => Strategy): void {
  describe(`${name} (contract)`, () => {
    it('gives usable items only, each once, as many as are wanted and there', () => {
      fc.assert(
        fc.property(
          fc.array(fc.record({ up: fc.boolean(), active: fc.nat(9), since: fc.nat(2000) }), { maxLength: 12 }),
          fc.nat(14),
          fc.integer(),
          fc.option(fc.ipV4(), { nil: undefined }),
          fc.constantFrom(0, 5000),
          (specs, limit, seed, source, slowStartMs) => {
            const items = itemsOf(specs.length);
            for (const [index, spec] of specs.entries()) Object.assign(items[index] as Item, spec);
            const strategy = create();
            for (let round = 0; round < 3; round += 1) {
              const order = strategy.order(choiceOf(items, { limit, random: seeded(seed), source, slowStartMs }));
              assert.ok(order.every((item) => item.up));
              assert.equal(new Set(order).size, order.length);
              assert.equal(order.length, Math.min(limit, specs.filter(({ up }) => up).length));
            }
          },
        ),
      );
    });

    it('ends with any source of chance', () => {
      for (const draw of [0, 0.5, 0.999_999_999]) {
        const order = create().order(choiceOf(itemsOf(5), { random: () => draw, slowStartMs: 5000 }));
        assert.equal(order.length, 3);
      }
    });

    it('spreads many clients evenly over equal items', () => {
      const [items, strategy, random] = [itemsOf(8), create(), seeded(7)];
      const counts = new Map<string, number>();
      for (let client = 0; client < 16_000; client += 1) {
        const source = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client & 255}`;
        const [first] = strategy.order(choiceOf(items, { random, source, limit: 1 }));
        assert.ok(first);
        counts.set(first.id, (counts.get(first.id) ?? 0) + 1);
      }
      for (const count of counts.values()) assert.ok(count > 1600 && count < 2400, `${count} of 16000 for one of 8`);
      assert.equal(counts.size, 8);
    });

    it('spreads over the usable ones when some are out', () => {
      const [items, strategy, random] = [itemsOf(6), create(), seeded(3)];
      for (const item of items.slice(0, 3)) item.up = false;
      const counts = new Map<string, number>();
      for (let client = 0; client < 9000; client += 1) {
        const [first] = strategy.order(choiceOf(items, { random, source: `192.0.${client >> 8}.${client & 255}` }));
        counts.set(first?.id ?? '', (counts.get(first?.id ?? '') ?? 0) + 1);
      }
      assert.equal(counts.size, 3);
    });
  });
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConsistentHash } from '../../src/gateway/balance/choice/consistent-hash.ts';
import { leastRequest } from '../../src/gateway/balance/choice/least-request.ts';
import { Maglev } from '../../src/gateway/balance/choice/maglev.ts';
import { strategyOf } from '../../src/gateway/balance/choice/of-algorithm.ts';
import { PeakEwma } from '../../src/gateway/balance/choice/peak-ewma.ts';
import { RoundRobin } from '../../src/gateway/balance/choice/round-robin.ts';
import type { Strategy } from '../../src/gateway/balance/choice/strategy.ts';
import type { BalanceAlgorithm } from '../../src/model/traffic.ts';
import { choiceOf, type Item, itemsOf, seeded, strategyContract } from '../contract/strategy.contract.ts';

const algorithms: readonly BalanceAlgorithm[] = ['leastRequest', 'roundRobin', 'random', 'consistentHash'];
for (const algorithm of algorithms) strategyContract(algorithm, () => strategyOf(algorithm));

function sourceOf(client: number): string {
  return `10.1.${client >> 8}.${client & 255}`;
}

/** How often each item came first. */
function firsts(strategy: Strategy, items: readonly Item[], over: { slowStartMs?: number } = {}): number[] {
  const random = seeded(11);
  const counts = items.map(() => 0);
  for (let client = 0; client < 8000; client += 1) {
    const [first] = strategy.order(choiceOf(items, { random, source: sourceOf(client), ...over }));
    const index = items.indexOf(first as Item);
    counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts;
}

describe('leastRequest', () => {
  it('never begins with the busiest of three', () => {
    const items = itemsOf(3);
    Object.assign(items[0] as Item, { active: 5 });
    assert.equal(firsts(leastRequest, items)[0], 0);
  });

  it('avoids the one that takes long, until the memory of it fades', () => {
    const items = itemsOf(2);
    items[0]?.latency.observe(200, 1000);
    assert.deepEqual(firsts(leastRequest, items), [0, 8000]);
    const later = leastRequest.order(choiceOf(items, { now: 1000 + 60_000, random: seeded(5) }));
    assert.equal(later.length, 2);
    assert.ok((items[0]?.latency.value(61_000) ?? 9) < 1);
  });

  it('keeps load within one of each other when connections stay', () => {
    const [items, random] = [itemsOf(10), seeded(2)];
    for (let client = 0; client < 1000; client += 1) {
      const [first] = leastRequest.order(choiceOf(items, { random }));
      if (first) first.active += 1;
    }
    const active = items.map((item) => item.active);
    assert.ok(Math.max(...active) - Math.min(...active) <= 8, active.join(' '));
  });
});

describe('PeakEwma', () => {
  it('takes a peak at once and better values slowly', () => {
    const latency = new PeakEwma();
    latency.observe(5, 0);
    latency.observe(100, 10);
    assert.equal(Math.round(latency.value(10)), 100);
    latency.observe(5, 20);
    assert.ok(latency.value(20) > 95);
    for (let now = 1000; now <= 60_000; now += 500) latency.observe(5, now);
    assert.ok(Math.abs(latency.value(60_000) - 5) < 0.5);
  });
});

describe('RoundRobin', () => {
  it('takes each in turn, and goes on with the next on failure', () => {
    const [items, robin] = [itemsOf(3), new RoundRobin()];
    const orders = [0, 1, 2, 3].map(() => robin.order(choiceOf(items)).map((item) => items.indexOf(item)));
    assert.deepEqual(orders, [
      [0, 1, 2],
      [1, 2, 0],
      [2, 0, 1],
      [0, 1, 2],
    ]);
  });
});

describe('slow start', () => {
  it('gives a new item its part gradually', () => {
    for (const algorithm of ['leastRequest', 'roundRobin', 'random'] as const) {
      const items = itemsOf(4);
      // A quarter of the way: 1000 - 250 of 1000 ms.
      Object.assign(items[0] as Item, { since: 750 });
      const [fresh = 0, ...others] = firsts(strategyOf(algorithm), items, { slowStartMs: 1000 });
      assert.ok(fresh < Math.min(...others) / 2, `${algorithm}: ${fresh} beside ${others.join(' ')}`);
      assert.deepEqual(firsts(strategyOf(algorithm), items, { slowStartMs: 0 })[0] !== 0, true);
    }
  });
});

describe('ConsistentHash', () => {
  it('sends a client to the same item always, in whatever order they are listed', () => {
    const items = itemsOf(5);
    const [one, two] = [new ConsistentHash(), new ConsistentHash()];
    const reversed = items.toReversed();
    for (let client = 0; client < 500; client += 1) {
      const source = sourceOf(client);
      const first = one.order(choiceOf(items, { source }))[0];
      assert.equal(two.order(choiceOf(reversed, { source }))[0], first);
    }
  });

  it('moves only the clients of an item that is out, and spreads them', () => {
    const [items, hash] = [itemsOf(8), new ConsistentHash()];
    const before = Array.from({ length: 4000 }, (_, c) => hash.order(choiceOf(items, { source: sourceOf(c) }))[0]);
    const gone = items[3] as Item;
    gone.up = false;
    const heirs = new Map<string, number>();
    for (const [client, item] of before.entries()) {
      const [after] = hash.order(choiceOf(items, { source: sourceOf(client) }));
      if (item !== gone) assert.equal(after, item);
      else heirs.set(after?.id ?? '', (heirs.get(after?.id ?? '') ?? 0) + 1);
    }
    assert.equal(heirs.size, 7);
  });

  it('moves few clients when an item is added', () => {
    const [nine, hash] = [itemsOf(9), new ConsistentHash()];
    const eight = nine.slice(0, 8);
    let moved = 0;
    const before = Array.from({ length: 4000 }, (_, c) => hash.order(choiceOf(eight, { source: sourceOf(c) }))[0]?.id);
    for (const [client, id] of before.entries()) {
      const [after] = hash.order(choiceOf(nine, { source: sourceOf(client), now: 5000 }));
      if (after?.id !== id) moved += 1;
    }
    assert.ok(moved < 800, `${moved} of 4000 moved; a ninth is 444`);
  });

  it('never gives what is gone, also while its table is older than the list', () => {
    const hash = new ConsistentHash();
    const all = itemsOf(50);
    for (let change = 1; change < 40; change += 1) {
      const present = all.slice(change);
      const order = hash.order(choiceOf(present, { now: 1000 + change, limit: 3 }));
      assert.equal(order.length, 3);
      assert.ok(order.every((item) => present.includes(item)));
    }
  });
});

describe('Maglev', () => {
  it('gives every backend nearly the same number of places', () => {
    for (const count of [1, 3, 10, 100]) {
      const table = new Maglev(Array.from({ length: count }, (_, index) => `b${index}`));
      const places = Array.from({ length: count }, () => 0);
      for (let place = 0; place < table.size; place += 1) {
        const owner = table.at(place);
        places[owner] = (places[owner] ?? 0) + 1;
      }
      assert.ok(Math.max(...places) <= Math.min(...places) + 1, `${count}: ${places.join(' ')}`);
    }
  });

  it('builds the table of a thousand backends quickly', () => {
    const started = performance.now();
    assert.equal(new Maglev(Array.from({ length: 1000 }, (_, index) => `10.0.${index}:80`)).size, 65_521);
    assert.ok(performance.now() - started < 500);
  });
});

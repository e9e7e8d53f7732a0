import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type ClusterName, parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute, Target } from '../../src/model/route.ts';
import type { ServiceFacts, SharesState, TargetFacts } from '../../src/model/shares.ts';
import { TargetOrder } from '../../src/gateway/balance/order.ts';
import { drainLeft } from '../../src/policy/drain.ts';
import { step, stepAt } from '../../src/policy/shares.ts';

const east = parseClusterName('east');
const south = parseClusterName('south');
const west = parseClusterName('west');

function target(cluster: ClusterName, over: Partial<Target> = {}): Target {
  return { cluster, tier: cluster === west ? 0 : 1, capacity: 1, health: 1, ports: [80], stale: false, ...over };
}

function route(targets: readonly Target[]): ServiceRoute {
  return {
    key: parseServiceKey('shop/web'),
    ports: [{ port: 80, importPort: 20_000 }],
    exported: true,
    allow: 'members',
    targets,
    failover: { healthyThreshold: 0.7, holdMs: 1000, returnOverMs: 3000 },
    endpoints: [],
  };
}

const three = route([target(west), target(east), target(south)]);
const down: TargetFacts = { reachable: false, health: 0 };
const up: TargetFacts = { reachable: true, health: 1 };
const none: SharesState = new Map();

function percents(shares: ReadonlyMap<ClusterName, number>): Record<string, number> {
  return Object.fromEntries([...shares].map(([cluster, share]) => [cluster, Math.round(share * 100)]));
}

suite('shares.step', () => {
  test('without facts the own cluster takes everything', () => {
    const result = step(three, new Map(), none, 0);
    assert.deepEqual(percents(result.shares), { west: 100 });
    assert.equal(result.reasons.get(west), 'local preferred');
    assert.equal(result.reasons.get(east), 'standby: better tier serves');
    assert.equal(result.changesAt, undefined);
  });

  test('the first facts act without a hold', () => {
    const result = step(three, new Map([[west, down]]), none, 0);
    assert.deepEqual(percents(result.shares), { east: 50, south: 50 });
    assert.equal(result.reasons.get(west), 'unreachable');
  });

  test('remote clusters share by capacity', () => {
    const table = route([target(west), target(east, { capacity: 3 }), target(south)]);
    assert.deepEqual(percents(step(table, new Map([[west, down]]), none, 0).shares), { east: 75, south: 25 });
  });

  test('below the threshold only the missing share spills', () => {
    const half = new Map([[west, { reachable: true, health: 0.35 }]]);
    assert.deepEqual(percents(step(three, half, none, 0).shares), { west: 50, east: 25, south: 25 });
    const enough = new Map([[west, { reachable: true, health: 0.7 }]]);
    assert.deepEqual(percents(step(three, enough, none, 0).shares), { west: 100 });
  });

  test('a story: west is lost, comes back, is held for 1 s and returns over 3 s', () => {
    const story: [number, TargetFacts, Record<string, number>][] = [
      [0, up, { west: 100 }],
      [100, down, { east: 50, south: 50 }],
      [5000, up, { east: 50, south: 50 }],
      [5999, up, { east: 50, south: 50 }],
      [6000, up, { east: 50, south: 50 }],
      [7500, up, { west: 50, east: 25, south: 25 }],
      [8999, up, { west: 100 }],
      [9000, up, { west: 100 }],
    ];
    let state = none;
    for (const [now, fact, expected] of story) {
      const result = step(three, new Map([[west, fact]]), state, now);
      assert.deepEqual(percents(withoutCrumbs(result.shares)), expected, `at ${now} ms`);
      state = result.state;
    }
    assert.deepEqual(state.get(west), { level: 1, betterSince: undefined, admitted: 1, at: 9000 });
  });

  test('an outage during the hold starts the hold again', () => {
    let state = step(three, new Map([[west, down]]), none, 0).state;
    state = step(three, new Map([[west, up]]), state, 100).state;
    state = step(three, new Map([[west, down]]), state, 900).state;
    const result = step(three, new Map([[west, up]]), state, 1200);
    assert.equal(result.shares.get(west), undefined);
    assert.equal(result.changesAt, 2200);
  });

  test('hold is lifted when nothing else serves', () => {
    const alone = route([target(west), target(east, { health: 0 })]);
    const state = step(alone, new Map([[west, down]]), none, 0).state;
    const result = step(alone, new Map([[west, up]]), state, 10);
    assert.deepEqual(percents(result.shares), { west: 100 });
    assert.match(result.reasons.get(west) ?? '', /nothing else serves/);
  });

  test('what a cluster is given because nothing else was there it keeps while it gets better', () => {
    const alone = route([target(west, { tier: 1 }), target(east, { tier: 0, capacity: 0.2 })]);
    const both = (health: number): ServiceFacts =>
      new Map([
        [west, { reachable: true, health }],
        [east, { reachable: true, health: 0.1 }],
      ]);
    let state = step(alone, both(0), none, 0).state;
    let before = 0;
    for (const [now, health] of [
      [100, 0.2],
      [600, 0.4],
      [1100, 0.6],
      [1900, 0.8],
      [2600, 1],
      [3600, 1],
      [4600, 1],
      [4850, 1],
    ] as const) {
      const result = step(alone, both(health), state, now);
      const share = result.shares.get(west) ?? 0;
      assert.ok(share >= before - 1e-9, `${before} → ${share} at ${now} ms`);
      assert.ok(share > 0.5);
      [state, before] = [result.state, share];
    }
  });

  test('nowhere to go is an empty answer with a reason for each target', () => {
    const facts = new Map([west, east, south].map((cluster) => [cluster, down]));
    const result = step(three, facts, none, 0);
    assert.equal(result.shares.size, 0);
    assert.deepEqual([...result.reasons.values()], ['unreachable', 'unreachable', 'unreachable']);
  });

  test('a target with stale data stays in and is shown as stale', () => {
    const result = step(route([target(east, { stale: true })]), new Map(), none, 0);
    assert.deepEqual(percents(result.shares), { east: 100 });
    assert.match(result.reasons.get(east) ?? '', /data stale/);
  });

  test('a target whose owner reports no ready endpoint gets nothing', () => {
    const result = step(route([target(west, { health: 0 }), target(east)]), new Map(), none, 0);
    assert.deepEqual(percents(result.shares), { east: 100 });
  });
});

/** At the very end of a return the rest is a thousandth. */
function withoutCrumbs(shares: ReadonlyMap<ClusterName, number>): ReadonlyMap<ClusterName, number> {
  return new Map([...shares].filter(([, share]) => share > 0.001));
}

/** `fc.double` alone is nearly always at an end of its range. */
const part = fc.oneof(
  fc.integer({ min: 0, max: 1000 }).map((thousandths) => thousandths / 1000),
  fc.double({ min: 0, max: 1, noNaN: true }),
);
const arbitraryTarget = (cluster: ClusterName): fc.Arbitrary<Target> =>
  fc.record({
    cluster: fc.constant(cluster),
    tier: fc.integer({ min: 0, max: 2 }),
    capacity: fc.integer({ min: 0, max: 50 }),
    health: part,
    ports: fc.constant([80]),
    stale: fc.boolean(),
  });
const arbitraryFacts: fc.Arbitrary<ServiceFacts> = fc
  .tuple(
    ...[west, east, south].map((c) =>
      fc.tuple(
        fc.constant(c),
        fc.option(fc.record({ reachable: fc.boolean(), health: part }), {
          nil: undefined,
        }),
      ),
    ),
  )
  .map((entries) => new Map(entries.flatMap(([c, f]) => (f ? [[c, f] as const] : []))));
const arbitraryRoute = fc.tuple(arbitraryTarget(west), arbitraryTarget(east), arbitraryTarget(south)).map(route);

suite('shares.step, properties', () => {
  test('shares sum to 1, or there is nowhere to go and no target has any health', () => {
    fc.assert(
      fc.property(arbitraryRoute, fc.array(fc.tuple(arbitraryFacts, fc.nat(5000)), { maxLength: 8 }), (r, steps) => {
        let state = none;
        let now = 0;
        for (const [facts, advance] of steps) {
          now += advance;
          const result = step(r, facts, state, now);
          const total = [...result.shares.values()].reduce((sum, share) => sum + share, 0);
          const healthy = r.targets.some((t) => healthOf(t, facts) > 0);
          assert.ok(healthy ? Math.abs(total - 1) < 1e-9 : result.shares.size === 0);
          for (const [cluster, share] of result.shares) {
            const owner = r.targets.find((t) => t.cluster === cluster);
            assert.ok(share > 0 && owner && healthOf(owner, facts) > 0, `${cluster} has a share but no health`);
          }
          assert.equal(result.reasons.size, 3);
          state = result.state;
        }
      }),
    );
  });

  test('making one cluster healthier never lowers its share', () => {
    fc.assert(
      fc.property(arbitraryRoute, arbitraryFacts, fc.constantFrom(west, east, south), (r, facts, which) => {
        const before = step(r, facts, none, 0).shares.get(which) ?? 0;
        const better = { ...r, targets: r.targets.map((t) => (t.cluster === which ? { ...t, health: 1 } : t)) };
        const after = step(better, new Map([...facts, [which, up]]), none, 0).shares.get(which) ?? 0;
        assert.ok(after >= before - 1e-9, `${before} → ${after}`);
      }),
    );
  });
});

function healthOf(t: Target, facts: ServiceFacts): number {
  const fact = facts.get(t.cluster);
  if (t.capacity === 0 || fact?.reachable === false) return 0;
  const health = Math.min(t.health, fact?.health ?? 1);
  return health < 1e-6 ? 0 : health;
}

suite('shares.step, what must never be', () => {
  const arbitraryPlan = fc.record({
    healthyThreshold: part,
    panicThreshold: part,
    holdMs: fc.nat(2000),
    returnOverMs: fc.nat(4000),
    spillAt: part.map((each) => Math.max(0.05, each)),
  });
  const arbitraryDrain = fc.record({
    drained: fc.boolean(),
    issuedAt: fc.nat(20_000),
    overMs: fc.nat(20_000),
    from: part,
    by: fc.constant(east),
  });
  const richTarget = (cluster: ClusterName): fc.Arbitrary<Target> =>
    fc
      .tuple(
        arbitraryTarget(cluster),
        fc.option(fc.nat(10), { nil: undefined }),
        fc.option(fc.nat(100), { nil: undefined }),
        fc.option(arbitraryDrain, { nil: undefined }),
      )
      .map(([plain, weight, rated, drain]) => ({
        ...plain,
        ...(weight !== undefined && { weight }),
        ...(rated !== undefined && { rated }),
        ...(drain && { drain }),
      }));
  const richRoute = fc
    .tuple(richTarget(west), richTarget(east), richTarget(south), arbitraryPlan)
    .map(([a, b, c, failover]) => ({ ...route([a, b, c]), failover }));
  const richFacts = fc
    .tuple(arbitraryFacts, fc.array(fc.option(fc.nat(150), { nil: undefined }), { minLength: 3, maxLength: 3 }))
    .map(([facts, loads]) => {
      const clusters = [west, east, south];
      return new Map(
        [...facts].map(([cluster, fact]) => {
          const load = loads[clusters.indexOf(cluster)];
          return [cluster, { ...fact, ...(load !== undefined && { load }) }] as const;
        }),
      );
    });
  const moments = fc.array(fc.tuple(richFacts, fc.nat(5000)), { minLength: 1, maxLength: 8 });

  test('with weights, load and drains: shares sum to 1, or nowhere has anything that may be used', () => {
    fc.assert(
      fc.property(richRoute, moments, (r, steps) => {
        let state = none;
        let now = 0;
        for (const [facts, advance] of steps) {
          now += advance;
          const result = stepAt(r, { facts, state }, { now, wallNow: now });
          const total = [...result.shares.values()].reduce((sum, share) => sum + share, 0);
          const usable = r.targets.some(
            (t) => healthOf(t, facts) > 0 && t.weight !== 0 && (!t.drain || drainLeft(t.drain, now).left > 0),
          );
          assert.ok(usable ? Math.abs(total - 1) < 1e-9 : result.shares.size === 0, `${total}`);
          assert.equal(result.reasons.size, 3);
          for (const why of result.reasons.values()) assert.ok(why !== '' && why.length < 160, why);
          state = result.state;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('nothing goes to what is drained, unreachable or without health, whatever else is lost', () => {
    fc.assert(
      fc.property(richRoute, moments, (r, steps) => {
        let state = none;
        let now = 0;
        for (const [facts, advance] of steps) {
          now += advance;
          const result = stepAt(r, { facts, state }, { now, wallNow: now });
          for (const target of r.targets) {
            const drained = target.drain?.drained && drainLeft(target.drain, now).left === 0;
            if (drained) assert.ok(result.barred.has(target.cluster));
            if (drained || healthOf(target, facts) === 0) assert.equal(result.shares.get(target.cluster), undefined);
          }
          state = result.state;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('with weights and drains too, making one cluster healthier never lowers its share', () => {
    fc.assert(
      fc.property(richRoute, richFacts, fc.constantFrom(west, east, south), fc.nat(30_000), (r, facts, which, now) => {
        const shareOf = (of: ServiceRoute, known: ServiceFacts): number =>
          stepAt(of, { facts: known, state: none }, { now, wallNow: now }).shares.get(which) ?? 0;
        const better = { ...r, targets: r.targets.map((t) => (t.cluster === which ? { ...t, health: 1 } : t)) };
        const fact = facts.get(which);
        const healthier = new Map([...facts, [which, { ...fact, reachable: true, health: 1 }]]);
        assert.ok(shareOf(better, healthier) >= shareOf(r, facts) - 1e-9);
      }),
      { numRuns: 1000 },
    );
  });

  test('a cluster that flaps gets its traffic back once, at the end', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 4, maxLength: 40 }), (pauses) => {
        let state = none;
        let now = 0;
        let returns = 0;
        let before = 1;
        const look = (health: number): void => {
          const result = step(three, new Map([[west, { reachable: health > 0, health }]]), state, now);
          state = result.state;
          const share = result.shares.get(west) ?? 0;
          if (before === 0 && share > 0) returns += 1;
          before = share;
        };
        // Every pause is shorter than the hold of 1 s.
        for (const [index, pause] of pauses.entries()) {
          look(index % 2);
          now += pause;
        }
        for (let index = 0; index < 20; index += 1) {
          look(1);
          now += 250;
        }
        assert.ok(returns <= 1, `${returns} returns`);
        assert.ok(before > 0.999);
      }),
    );
  });

  test('panic is about endpoints: it moves no share between clusters', () => {
    fc.assert(
      fc.property(richRoute, richFacts, (r, facts) => {
        const at = { now: 0, wallNow: 0 };
        // Above 0 a hold may be lifted earlier; without state there is no hold.
        const calm = stepAt({ ...r, failover: { ...r.failover, panicThreshold: 0 } }, { facts, state: none }, at);
        const alarmed = stepAt({ ...r, failover: { ...r.failover, panicThreshold: 1 } }, { facts, state: none }, at);
        assert.deepEqual(alarmed.shares, calm.shares);
        assert.equal(calm.panic, false);
      }),
    );
  });
});

suite('balance against the stated shares', () => {
  test('ten thousand draws are within what chance allows (chi-square, p = 0.001)', () => {
    const targets = [target(west), target(east), target(south)];
    const result = step(
      route([
        target(west, { tier: 0, weight: 70 }),
        target(east, { tier: 0, weight: 25 }),
        target(south, { tier: 0, weight: 5 }),
      ]),
      new Map(),
      none,
      0,
    );
    let seed = 1;
    const random = (): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed / 2 ** 32;
    };
    const order = new TargetOrder(targets, result);
    const counts = new Map<ClusterName, number>();
    const draws = 10_000;
    for (let index = 0; index < draws; index += 1) {
      const first = order.at(order.draw(random()), 0);
      if (first) counts.set(first.cluster, (counts.get(first.cluster) ?? 0) + 1);
    }
    let chiSquare = 0;
    for (const [cluster, share] of result.shares) {
      chiSquare += ((counts.get(cluster) ?? 0) - share * draws) ** 2 / (share * draws);
    }
    // Two degrees of freedom.
    assert.ok(chiSquare < 13.8, `chi-square ${chiSquare}: ${JSON.stringify([...counts])}`);
  });
});

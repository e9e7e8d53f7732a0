import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type ClusterName, parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute, Target } from '../../src/model/route.ts';
import type { ServiceFacts, SharesState, TargetFacts } from '../../src/model/shares.ts';
import { step } from '../../src/policy/shares.ts';

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

const arbitraryTarget = (cluster: ClusterName): fc.Arbitrary<Target> =>
  fc.record({
    cluster: fc.constant(cluster),
    tier: fc.integer({ min: 0, max: 2 }),
    capacity: fc.integer({ min: 0, max: 50 }),
    health: fc.double({ min: 0, max: 1, noNaN: true }),
    ports: fc.constant([80]),
    stale: fc.boolean(),
  });
const arbitraryFacts: fc.Arbitrary<ServiceFacts> = fc
  .tuple(
    ...[west, east, south].map((c) =>
      fc.tuple(
        fc.constant(c),
        fc.option(fc.record({ reachable: fc.boolean(), health: fc.double({ min: 0, max: 1, noNaN: true }) }), {
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

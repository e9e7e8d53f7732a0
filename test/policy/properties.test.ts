import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { ClusterName } from '../../src/model/names.ts';
import type { FailoverPlan, ServiceRoute } from '../../src/model/route.ts';
import type { ServiceFacts, SharesState, TargetFacts } from '../../src/model/shares.ts';
import { compile } from '../../src/policy/compile.ts';
import { type Drains, noDrains, resolveDrains } from '../../src/policy/drain.ts';
import { stepAt } from '../../src/policy/shares.ts';
import { simulate } from '../../src/policy/simulate.ts';
import { east, exportOf, inputOf, type Member, south, trafficSet, web, west } from './support/federation.ts';

/** What holds whatever the policies, the facts and their history: from documents to shares, as agents and gateways go. */

const names = [west, east, south] as const;
/** `fc.double` alone is nearly always at an end of its range. */
const part = fc.integer({ min: 0, max: 1000 }).map((thousandths) => thousandths / 1000);
const health = fc.oneof(fc.constantFrom(0, 1, 1), part, part, fc.double({ min: 0, max: 1, noNaN: true }));
const fact: fc.Arbitrary<TargetFacts> = fc.record({ reachable: fc.constantFrom(true, true, false), health });
const factsOfAll: fc.Arbitrary<ServiceFacts> = fc
  .tuple(...names.map(() => fc.option(fact, { nil: undefined })))
  .map((all) => new Map(names.flatMap((name, index) => (all[index] ? [[name, all[index]] as const] : []))));

function drainsOf(clusters: readonly ClusterName[], issuedAt: number, overMs: number): Drains {
  const published = clusters.map((cluster) => {
    const record = {
      kind: 'drain',
      target: { cluster },
      state: 'drained',
      overMs,
      issuedAt,
      by: 'test',
    } as const;
    return { publisher: east, record };
  });
  return resolveDrains(published, { mayOperate: () => true, now: issuedAt, before: noDrains });
}

suite('never a share for a cluster that must not serve', () => {
  const spec = fc.record(
    {
      placement: fc.constantFrom({ require: { compliance: 'pci' } }, { require: { compliance: 'pci', region: 'eu' } }),
      locality: fc.record(
        {
          preferLocal: fc.boolean(),
          fallback: fc.constantFrom('any', 'none'),
          tiers: fc.subarray(
            [{ match: { region: 'same' } }, { match: { clusters: ['east', 'south'] }, weights: { east: 1, south: 9 } }],
            { minLength: 1 },
          ),
        },
        { requiredKeys: [] },
      ),
      failover: fc.record({
        healthyThreshold: fc.constantFrom('1%', '50%', '100%'),
        panicThreshold: fc.constantFrom('0%', '1%'),
        hold: fc.constantFrom('0s', '1s'),
        returnOver: fc.constantFrom('0s', '3s'),
      }),
    },
    { requiredKeys: [] },
  );
  /** What is so from some moment on. */
  const phase = fc.record({
    spec,
    pci: fc.subarray([...names]),
    members: fc.subarray([...names], { minLength: 1 }),
    drained: fc.subarray([...names]),
    drainOverMs: fc.constantFrom(0, 2000),
    refusing: fc.subarray([...names]),
    facts: factsOfAll,
    lastsMs: fc.nat(6000),
  });

  test('placement, access, drain, revocation: whatever was before, and whatever else is lost', () => {
    let [looked, served] = [0, 0];
    fc.assert(
      fc.property(fc.array(phase, { minLength: 1, maxLength: 6 }), (phases) => {
        let state: SharesState = new Map();
        let now = 0;
        for (const { spec: policies, pci, members, drained, drainOverMs, refusing, facts, lastsMs } of phases) {
          const drains = drainsOf(drained, now, drainOverMs);
          const labelled = names.map(
            (name): Member => ({
              name,
              endpoints: 2,
              labels: { region: name === south ? 'us' : 'eu', ...(pci.includes(name) && { compliance: 'pci' }) },
            }),
          );
          // A cluster that the roster no longer lists is not in the view; what it exported may still be.
          const all = inputOf(west, labelled, { policies: trafficSet(policies), drains });
          const clusters = new Map([...all.view.clusters].filter(([name]) => name === west || members.includes(name)));
          const route = compile({ ...all, view: { ...all.view, clusters } }).services.get(web);
          // Whoever denies the caller, or refuses the service, is out of use (gateway, ejection).
          const known = new Map<ClusterName, TargetFacts>([
            ...facts,
            ...refusing.map((name) => [name, { reachable: true, health: 0 }] as const),
          ]);
          for (const end = now + lastsMs; now <= end; now += 500) {
            if (!route) continue;
            const result = stepAt(route, { facts: known, state }, { now, wallNow: now });
            state = result.state;
            looked += 1;
            for (const name of result.shares.keys()) {
              served += 1;
              const required = 'placement' in policies ? Object.entries(policies.placement?.require ?? {}) : [];
              const labels = clusters.get(name)?.labels;
              assert.ok(labels, `${name} is no member`);
              for (const [key, value] of required) assert.equal(labels[key], value, `${name} lacks ${key}`);
              assert.ok(!refusing.includes(name), `${name} refuses`);
              const drain = drains.clusters.get(name);
              assert.ok(!drain || now < drain.record.issuedAt + drainOverMs, `${name} is drained`);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(served > 500, `${served} shares in ${looked} steps: hardly anything was looked at`);
  });
});

const plan: fc.Arbitrary<FailoverPlan> = fc.record({
  healthyThreshold: part.map((each) => Math.max(0.05, each)),
  panicThreshold: part,
  holdMs: fc.nat(2000),
  returnOverMs: fc.nat(4000),
});

function routeOf(failover: FailoverPlan, tiers: readonly number[], capacities: readonly number[]): ServiceRoute {
  return {
    key: web,
    ports: [{ port: 80, importPort: 20_000 }],
    exported: true,
    allow: 'members',
    targets: names.map((cluster, index) => ({
      cluster,
      tier: tiers[index] ?? 0,
      capacity: capacities[index] ?? 1,
      health: 1,
      ports: [80],
      stale: false,
    })),
    failover,
    endpoints: [],
  };
}

const route = fc
  .tuple(
    plan,
    fc.array(fc.nat(2), { minLength: 3, maxLength: 3 }),
    fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 3, maxLength: 3 }),
  )
  .map(([failover, tiers, capacities]) => routeOf(failover, tiers, capacities));

suite('shares over time', () => {
  test('whatever was before, making a cluster healthier never lowers its share at that moment', () => {
    const history = fc.array(fc.tuple(factsOfAll, fc.nat(3000)), { maxLength: 6 });
    fc.assert(
      fc.property(
        route,
        history,
        factsOfAll,
        fc.constantFrom(...names),
        health,
        fc.nat(3000),
        (r, past, facts, which, better, later) => {
          let state: SharesState = new Map();
          let now = 0;
          for (const [known, advance] of past) {
            state = stepAt(r, { facts: known, state }, { now, wallNow: now }).state;
            now += advance;
          }
          now += later;
          const share = (known: ServiceFacts): number =>
            stepAt(r, { facts: known, state }, { now, wallNow: now }).shares.get(which) ?? 0;
          const before = facts.get(which) ?? { reachable: true, health: 1 };
          const healthier = { reachable: true, health: Math.max(better, before.reachable ? before.health : 0) };
          const [low, high] = [
            share(new Map([...facts, [which, before]])),
            share(new Map([...facts, [which, healthier]])),
          ];
          assert.ok(
            high >= low - 1e-9,
            `${which} ${JSON.stringify(before)} ${low} → ${JSON.stringify(healthier)} ${high}`,
          );
        },
      ),
      { numRuns: 4000 },
    );
  });

  test('a load that swings faster than traffic returns moves little: what rises in all is bounded by the time it had', () => {
    fc.assert(
      fc.property(
        part.map((each) => 0.1 + 0.8 * each),
        fc.integer({ min: 2000, max: 60_000 }),
        fc.array(fc.tuple(fc.nat(150), fc.nat(150)), { minLength: 10, maxLength: 60 }),
        (spillAt, returnOverMs, loads) => {
          const failover = { healthyThreshold: 0.7, holdMs: 1000, returnOverMs, spillAt };
          const base = routeOf(failover, [0, 1, 1], [1, 1, 1]);
          const rated = { ...base, targets: base.targets.map((target) => ({ ...target, rated: 100 })) };
          let state: SharesState = new Map();
          let [rises, before] = [0, 1];
          const tickMs = 250;
          for (const [index, pair] of loads.entries()) {
            for (const load of pair) {
              const now = index * 2 * tickMs + (load === pair[1] ? tickMs : 0);
              const facts = new Map([[west, { reachable: true, health: 1, load }]]);
              const result = stepAt(rated, { facts, state }, { now, wallNow: now });
              state = result.state;
              const share = result.shares.get(west) ?? 0;
              rises += Math.max(0, share - before);
              before = share;
            }
          }
          const elapsed = loads.length * 2 * tickMs;
          assert.ok(rises <= elapsed / returnOverMs + 1e-9, `${rises} in ${elapsed} ms`);
        },
      ),
    );
  });
});

suite('simulate says what gateways then do', () => {
  const members: readonly Member[] = names.map((name) => ({ name, endpoints: 2, concurrent: 50 }));
  const demand = fc.integer({ min: 0, max: 400 });
  const supposed = fc.record({
    lose: fc.subarray([...names]),
    drain: fc.subarray([...names]),
    load: fc.constantFrom(0.5, 1, 2, 3),
    spillAt: fc.constantFrom(undefined, '50%', '80%'),
    active: demand,
  });

  /** Connections last about a second and go where shares send them. */
  function settle(of: ServiceRoute, lost: readonly ClusterName[], asked: number): ReadonlyMap<ClusterName, number> {
    let state: SharesState = new Map();
    let shares: ReadonlyMap<ClusterName, number> = new Map();
    const load = new Map<ClusterName, number>();
    for (let now = 0; now <= 400_000; now += 250) {
      const facts = new Map(
        names.map((name) => {
          const reachable = !lost.includes(name);
          return [name, { reachable, health: reachable ? 1 : 0, load: load.get(name) ?? 0 }] as const;
        }),
      );
      ({ state, shares } = stepAt(of, { facts, state }, { now, wallNow: now + 10_000 }));
      for (const name of names) {
        const carried = load.get(name) ?? 0;
        load.set(name, carried + (asked * (shares.get(name) ?? 0) - carried) / 4);
      }
    }
    return shares;
  }

  test('lost, drained, more load, spill: within two parts in a hundred, once all has settled', () => {
    fc.assert(
      fc.property(supposed, ({ lose, drain, load, spillAt, active }) => {
        const policies = trafficSet({ failover: { ...(spillAt && { spillAt }), hold: '1s', returnOver: '60s' } });
        const input = inputOf(west, members, { policies });
        const up: ServiceFacts = new Map(names.map((name) => [name, { reachable: true, health: 1 }]));
        const [service] = simulate(
          { lose: new Set(lose), drain: new Set(drain), load, policies: undefined },
          { input, wallNow: 1000, reported: () => ({ facts: up, active: new Map([[west, active]]) }) },
        );
        const drained = compile({ ...input, drains: drainsOf(drain, 1000, 0) }).services.get(web);
        assert.ok(service && drained);
        const usable = names.filter((name) => !lose.includes(name) && !drain.includes(name));
        // Above what all of them take without spilling, nothing settles: whoever gets traffic is overloaded.
        fc.pre(!spillAt || active * load <= (Number.parseInt(spillAt, 10) / 100) * 100 * usable.length);
        const shares = settle(drained, lose, active * load);
        for (const { cluster, after } of service.targets) {
          const then = shares.get(cluster) ?? 0;
          assert.ok(Math.abs(after - then) < 0.02, `${cluster}: ${after} said, ${then} then`);
        }
      }),
      { numRuns: 100 },
    );
  });
});

suite('a cluster that is not in the roster', () => {
  test('has no share though its records are still there', () => {
    const all = inputOf(
      west,
      names.map((name) => ({ name, endpoints: 1 })),
    );
    const clusters = new Map([...all.view.clusters].filter(([name]) => name !== east));
    const of = compile({ ...all, view: { ...all.view, clusters } }).services.get(web);
    assert.ok(of && all.view.services.get(web)?.exports.has(east));
    const facts = new Map([west, south].map((name) => [name, { reachable: false, health: 0 }]));
    assert.equal(stepAt(of, { facts, state: new Map() }, { now: 0, wallNow: 0 }).shares.size, 0);
    assert.equal(exportOf(web, { name: east, endpoints: 1 }).kind, 'export');
  });
});

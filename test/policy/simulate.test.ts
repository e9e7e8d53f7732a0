import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { ClusterName } from '../../src/model/names.ts';
import type { ServiceFacts, SharesState } from '../../src/model/shares.ts';
import { compile } from '../../src/policy/compile.ts';
import type { CompileInput } from '../../src/policy/compile-input.ts';
import { step } from '../../src/policy/shares.ts';
import { type SimulatedService, simulate, type Supposition } from '../../src/policy/simulate.ts';
import { east, inputOf, type Member, south, trafficSet, web, west } from './support/federation.ts';

const members: readonly Member[] = [
  { name: west, endpoints: 2, labels: { compliance: 'pci' }, concurrent: 50 },
  { name: east, endpoints: 2, concurrent: 50 },
  { name: south, endpoints: 2, labels: { compliance: 'pci' }, concurrent: 50 },
];
const nothing: Supposition = { lose: new Set(), drain: new Set(), load: 1, policies: undefined };

function run(
  supposed: Partial<Supposition>,
  over: Partial<CompileInput> = {},
  active: readonly (readonly [ClusterName, number])[] = [[west, 60]],
): SimulatedService {
  const facts: ServiceFacts = new Map(members.map(({ name }) => [name, { reachable: true, health: 1 }]));
  const [service] = simulate(
    { ...nothing, ...supposed },
    { input: inputOf(west, members, over), wallNow: 1000, reported: () => ({ facts, active: new Map(active) }) },
  );
  assert.ok(service);
  return service;
}

function after({ targets }: SimulatedService): Record<string, number> {
  return Object.fromEntries(targets.map((target) => [target.cluster, Math.round(target.after * 100)]));
}

suite('simulate', () => {
  test('nothing supposed is as it is', () => {
    const service = run({});
    assert.deepEqual(
      [service.before, service.after, after(service)],
      ['Active', 'Active', { west: 100, east: 0, south: 0 }],
    );
  });

  test('a lost cluster: where its traffic goes, and how much each would carry', () => {
    const service = run({ lose: new Set([west]) });
    assert.deepEqual(after(service), { west: 0, east: 50, south: 50 });
    assert.equal(service.after, 'Failover');
    assert.deepEqual(
      service.targets.map(({ carries, rated }) => [carries, rated]),
      [
        [0, 100],
        [30, 100],
        [30, 100],
      ],
    );
    assert.equal(service.targets[0]?.why, 'unreachable');
  });

  test('everything lost is nowhere to go', () => {
    assert.equal(run({ lose: new Set([west, east, south]) }).after, 'Down');
  });

  test('a drained cluster carries nothing, at its end', () => {
    const service = run({ drain: new Set([west]) });
    assert.deepEqual(after(service), { west: 0, east: 50, south: 50 });
    assert.match(service.targets[0]?.why ?? '', /drained/);
  });

  test('placement is kept, and said', () => {
    const policies = trafficSet({ placement: { require: { compliance: 'pci' } } });
    const service = run({ lose: new Set([west]) }, { policies });
    assert.deepEqual(after(service), { west: 0, south: 100 });
    assert.deepEqual([...service.avoided], [[east, 'placement requires compliance=pci']]);
  });

  test('twice the load, without spillAt, shows what is above capacity', () => {
    const [target] = run({ load: 2 }).targets;
    assert.deepEqual([target?.carries, target?.rated], [120, 100]);
  });

  test('twice the load, with spillAt, settles between spillAt and all of the capacity', () => {
    const service = run({ load: 2 }, { policies: trafficSet({ failover: { spillAt: '80%' } }) });
    const [local, ...remote] = service.targets;
    assert.ok((local?.carries ?? 0) > 80 && (local?.carries ?? 0) < 100, `${local?.carries}`);
    assert.equal(Math.round(remote.reduce((sum, { carries = 0 }) => sum + carries, local?.carries ?? 0)), 120);
    assert.equal(service.after, 'Spill');
  });

  test('a steep spill settles too: between spillAt and all of it there is one answer', () => {
    // West's share s makes it carry 82.5 s of 100, which leaves it (1 - 0.825 s) / (1 - 0.8) of its share: s = 5 / 5.125.
    const policies = trafficSet({ failover: { spillAt: '80%' } });
    const [local] = run({ load: 1.5 }, { policies }, [[west, 55]]).targets;
    assert.ok(Math.abs((local?.after ?? 0) - 5 / 5.125) < 0.001, `${local?.after}`);
    // 99 of 100 and only the last 5 % to spill in: s = (1 - 0.99 s) / 0.05.
    const steep = trafficSet({ failover: { spillAt: '95%' } });
    const [most] = run({ load: 3 }, { policies: steep }, [[west, 33]]).targets;
    assert.ok(Math.abs((most?.after ?? 0) - 20 / 20.8) < 0.001, `${most?.after}`);
  });

  test('a policy not yet applied', () => {
    const policies = trafficSet({ locality: { preferLocal: false, tiers: [{ match: { clusters: ['south'] } }] } });
    assert.deepEqual(after(run({ policies })), { west: 0, east: 0, south: 100 });
  });

  test('what it says is what gateways then do, once they have settled', () => {
    const spec = fc.record(
      {
        preferLocal: fc.boolean(),
        fallback: fc.constantFrom('any', 'none'),
        tiers: fc.subarray([{ match: { clusters: ['east'] } }, { match: { labels: { compliance: 'pci' } } }], {
          minLength: 1,
        }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(spec, fc.subarray([west, east, south]), (locality, lost) => {
        const policies = trafficSet({ locality });
        const simulated = run({ lose: new Set(lost), policies });
        const route = compile(inputOf(west, members, { policies })).services.get(web);
        assert.ok(route);
        let state: SharesState = new Map();
        let shares = new Map<ClusterName, number>() as ReadonlyMap<ClusterName, number>;
        const facts = new Map(lost.map((name) => [name, { reachable: false, health: 0 }]));
        for (let now = 0; now <= 10_000; now += 250) {
          const result = step(route, now < 500 ? new Map() : facts, state, now);
          ({ state, shares } = result);
        }
        for (const target of simulated.targets)
          assert.ok(Math.abs(target.after - (shares.get(target.cluster) ?? 0)) < 1e-9);
      }),
    );
  });
});

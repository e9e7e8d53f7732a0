import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { parseReplicaName } from '../../src/model/names.ts';
import type { DrainRecord } from '../../src/model/record.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { compile } from '../../src/policy/compile.ts';
import { drainLeft, drainPlan, noDrains, type PublishedDrain, resolveDrains } from '../../src/policy/drain.ts';
import { keptOut } from '../../src/policy/plan.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { decodeServiceRoute, encodeServiceRoute } from '../../src/wire/route-table.ts';
import { east, inputOf, type Member, policy, published, south, trafficSet, web, west } from './support/federation.ts';

const members: readonly Member[] = [
  { name: west, endpoints: 2, labels: { region: 'eu', compliance: 'pci' } },
  { name: east, endpoints: 2, labels: { region: 'eu' } },
  { name: south, endpoints: 2, labels: { region: 'us', compliance: 'pci' } },
];

function route(spec: object, of: readonly Member[] = members): ServiceRoute {
  const found = compile(inputOf(west, of, { policies: trafficSet(spec) })).services.get(web);
  assert.ok(found);
  return found;
}

function tiers({ targets }: ServiceRoute): Record<string, number> {
  return Object.fromEntries(targets.map(({ cluster, tier }) => [cluster, tier]));
}

suite('compile with policies', () => {
  test('tiers are numbered in order, the own cluster first, the rest last', () => {
    assert.deepEqual(tiers(route({ locality: { tiers: [{ match: { clusters: ['south'] } }] } })), {
      west: 0,
      south: 1,
      east: 2,
    });
  });

  test('without preferLocal the own cluster is one like any other', () => {
    const locality = { preferLocal: false, tiers: [{ match: { clusters: ['south'] } }] };
    assert.deepEqual(tiers(route({ locality })), { south: 0, west: 1, east: 1 });
  });

  test('a region matches by what the authority admitted, the same or by name', () => {
    assert.deepEqual(tiers(route({ locality: { tiers: [{ match: { region: 'same' } }] } })), {
      west: 0,
      east: 1,
      south: 2,
    });
    assert.deepEqual(tiers(route({ locality: { tiers: [{ match: { region: 'us' } }] } })), {
      west: 0,
      south: 1,
      east: 2,
    });
  });

  test('a cluster without a region is in the same region as nobody', () => {
    const bare = members.map(({ labels: _labels, ...member }) => member);
    assert.deepEqual(tiers(route({ locality: { tiers: [{ match: { region: 'same' } }] } }, bare)), {
      west: 0,
      east: 2,
      south: 2,
    });
  });

  test('fallback none leaves out whom no tier names', () => {
    const locality = { tiers: [{ match: { labels: { compliance: 'pci' } } }], fallback: 'none' };
    assert.deepEqual(tiers(route({ locality })), { west: 0, south: 1 });
    const input = inputOf(west, members, { policies: trafficSet({ locality }) });
    assert.deepEqual([...keptOut(web, input)], [[east, 'no tier names it, and fallback is none']]);
  });

  test('weights go into the plan; who has none is not in that tier', () => {
    const locality = {
      tiers: [
        { match: { region: 'same' }, weights: { south: 9 } },
        { match: { clusters: ['east', 'south'] }, weights: { east: 70, south: 30 } },
      ],
    };
    const { targets } = route({ locality });
    assert.deepEqual(
      targets.map(({ cluster, tier, weight }) => [cluster, tier, weight]),
      [
        [west, 0, undefined],
        [east, 2, 70],
        [south, 2, 30],
      ],
    );
  });

  test('placement keeps out whoever does not bear the labels, whatever else is said', () => {
    const spec = {
      placement: { require: { compliance: 'pci' } },
      locality: { tiers: [{ match: { clusters: ['east'] } }] },
    };
    assert.deepEqual(Object.keys(tiers(route(spec))), ['west', 'south']);
  });

  test('where placement does not let the own cluster serve, it serves nobody', () => {
    const found = route({ placement: { require: { region: 'us' } } });
    assert.deepEqual(Object.keys(tiers(found)), ['south']);
    assert.deepEqual(found.endpoints, []);
  });

  test('placement that nobody meets leaves a route with nowhere to go, not no route', () => {
    assert.deepEqual(route({ placement: { require: { compliance: 'none' } } }).targets, []);
  });

  test('a policy for a service that nobody exports is accepted and changes nothing', () => {
    const none = compile(
      inputOf(west, [{ name: west, endpoints: 0 }], { policies: trafficSet({ failover: { hold: '5s' } }) }),
    );
    assert.equal(none.services.size, 0);
  });

  test('how connections are carried comes from the policy, what it does not say from the defaults', () => {
    const found = route({
      connection: { maxConnections: 7 },
      outlier: { consecutiveFailures: 2 },
      loadBalancing: { algorithm: 'random' },
    });
    assert.deepEqual(found.connection, { maxConnections: 7, maxPending: 1024 });
    assert.equal(found.outlier?.consecutiveFailures, 2);
    assert.equal(found.loadBalancing?.algorithm, 'random');
    assert.equal(route({}).connection, undefined);
  });

  test('access rules are in the routes of the exporter alone', () => {
    const policies = new PolicySet([published(policy('AccessPolicy', { from: [{ clusters: ['east'] }] }))]);
    const here = compile(inputOf(west, members, { policies })).services.get(web);
    assert.equal(here?.access?.rules.length, 1);
    const away = compile(
      inputOf(
        west,
        members.map((m) => (m.name === west ? { ...m, endpoints: 0 } : m)),
        { policies },
      ),
    );
    assert.equal(away.services.get(web)?.access, undefined);
  });

  test('everything of a plan survives the wire, byte for byte', () => {
    const policies = new PolicySet([
      published(policy('AccessPolicy', { from: [{ clusters: ['east'], proof: 'asserted' }], to: { ports: [80] } })),
      published(policy('AccessPolicy', { action: 'deny', mode: 'audit' }, 'b')),
      published(
        policy('TrafficPolicy', {
          failover: { spillAt: '80%', panicThreshold: '10%' },
          locality: { tiers: [{ match: { clusters: ['east'] }, weights: { east: 1 } }] },
        }),
      ),
    ]);
    const rated = members.map((member) => ({ ...member, concurrent: 10 }));
    const drains = resolveDrains([drain(east, { target: { cluster: south } })], {
      mayOperate: () => true,
      now: 0,
      before: noDrains,
    });
    const found = compile(inputOf(west, rated, { policies, drains })).services.get(web);
    assert.ok(found);
    assert.ok(found.targets.some((target) => target.drain));
    const bytes = encodeServiceRoute(found);
    assert.deepEqual(decodeServiceRoute(bytes), found);
    assert.deepEqual(encodeServiceRoute(decodeServiceRoute(bytes)), bytes);
  });

  test('equal inputs give the same bytes', () => {
    const made = (): Uint8Array => encodeServiceRoute(route({ locality: { tiers: [{ match: { region: 'same' } }] } }));
    assert.deepEqual(made(), made());
  });
});

function drain(publisher: typeof east, over: Partial<DrainRecord> = {}): PublishedDrain {
  return {
    publisher,
    record: {
      kind: 'drain',
      target: { cluster: east },
      state: 'drained',
      overMs: 10_000,
      issuedAt: 1000,
      by: 'test',
      ...over,
    },
  };
}

suite('drains', () => {
  const rules = { mayOperate: () => true, now: 1000, before: noDrains };

  test('the last word about a target wins, then the publisher', () => {
    const early = drain(west, { issuedAt: 5 });
    const late = drain(east, { issuedAt: 6, state: 'active' });
    assert.equal(resolveDrains([late, early], rules).clusters.get(east), late);
    const same = drain(west, { issuedAt: 6 });
    assert.equal(resolveDrains([same, late], rules).clusters.get(east), same);
  });

  test('a cluster without mayOperate is not heard, except about itself', () => {
    const denied = { ...rules, mayOperate: () => false };
    assert.match(resolveDrains([drain(west)], denied).refused[0]?.why ?? '', /west may not operate/);
    assert.equal(resolveDrains([drain(east)], denied).clusters.size, 1);
  });

  test('a word from more than 30 s in the future is refused for good', () => {
    const future = drain(west, { issuedAt: 32_000 });
    const first = resolveDrains([future], rules);
    assert.match(first.refused[0]?.why ?? '', /31 s in the future/);
    const later = resolveDrains([future], { ...rules, now: 100_000, before: first });
    assert.equal(later.clusters.size, 0);
    assert.equal(resolveDrains([drain(west, { issuedAt: 31_000 })], rules).clusters.size, 1);
  });

  test('pace follows from the issuer clock; an undrain goes on from where the drain was', () => {
    const falling = drainPlan(drain(west));
    assert.deepEqual(
      [0, 1000, 6000, 11_000, 99_000].map((now) => drainLeft(falling, now).left),
      [1, 1, 0.5, 0, 0],
    );
    const rising = drainPlan(drain(west, { state: 'active', from: 0.5, issuedAt: 6000 }));
    assert.deepEqual(
      [6000, 11_000, 16_000].map((now) => drainLeft(rising, now).left),
      [0.5, 0.75, 1],
    );
    assert.equal(drainLeft(rising, 16_000).moving, false);
  });

  test('a drained gateway is dialled no more, its cluster still is', () => {
    const gateways = ['gw-0', 'gw-1'].map((instance) => ({
      kind: 'gateway' as const,
      instance: parseReplicaName(instance),
      addresses: [{ address: '127.0.0.1', port: 1, kind: 'instance' as const, instances: 1 }],
      reachable: true,
      draining: false,
      version: '1',
    }));
    const input = inputOf(west, members);
    const clusters = new Map([...input.view.clusters].map(([name, cluster]) => [name, { ...cluster, gateways }]));
    const drained = drain(west, { target: { cluster: east, gateway: parseReplicaName('gw-0') } });
    const drains = resolveDrains([drained], rules);
    const table = compile({ ...input, view: { ...input.view, clusters }, drains });
    assert.deepEqual(
      table.clusters.get(east)?.gateways.map(({ instance }) => instance),
      ['gw-1'],
    );
    assert.equal(table.clusters.get(south)?.gateways.length, 2);
  });
});

suite('compile, incrementally', () => {
  const spec = fc.constantFrom<object>(
    {},
    { failover: { hold: '5s' } },
    { placement: { require: { compliance: 'pci' } } },
    { locality: { tiers: [{ match: { region: 'same' } }], fallback: 'none' } },
    {
      locality: {
        preferLocal: false,
        tiers: [{ match: { labels: { compliance: 'pci' } }, weights: { south: 3, west: 1 } }],
      },
    },
  );
  const edit = fc.record({
    policies: fc
      .array(spec, { maxLength: 2 })
      .map((specs) => new PolicySet(specs.map((each, index) => published(policy('TrafficPolicy', each, `p${index}`))))),
    drained: fc.subarray([east, south, west]),
    region: fc.constantFrom('eu', 'us'),
    ready: fc.nat(2),
  });

  test('whatever changes of policies, drains, labels and endpoints, the result is that of a full compile', () => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        let table: ReturnType<typeof compile> | undefined;
        for (const { policies, drained, region, ready } of edits) {
          const of = members.map((member) =>
            member.name === west ? { ...member, ready, labels: { ...member.labels, region } } : member,
          );
          const drains = resolveDrains(
            drained.map((cluster) => drain(east, { target: { cluster } })),
            { mayOperate: () => true, now: 0, before: noDrains },
          );
          const input = inputOf(west, of, { policies, drains });
          table = compile(input, table);
          const full = compile(input);
          assert.deepEqual([...table.services], [...full.services]);
          assert.deepEqual([...table.clusters], [...full.clusters]);
        }
      }),
    );
  });
});

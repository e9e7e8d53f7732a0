import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type ClusterName, parseReplicaName, parseServiceKey, type ServiceKey } from '../../src/model/names.ts';
import type { RouteTable } from '../../src/model/route.ts';
import type { ClusterView, ServiceView } from '../../src/model/view.ts';
import { compile } from '../../src/policy/compile.ts';
import type { CompileInput } from '../../src/policy/compile-input.ts';
import { noDrains, resolveDrains } from '../../src/policy/drain.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { east, exportOf, inputOf, policy, published, south, web, west } from './support/federation.ts';

/** An agent changes one thing at a time and hands on all others as the very same objects: so does this. */

const clusters = [west, east, south] as const;
const keys: readonly ServiceKey[] = [web, parseServiceKey('shop/cart'), parseServiceKey('bank/ledger')];

function start(): CompileInput {
  const base = inputOf(
    west,
    clusters.map((name) => ({ name, endpoints: 2, labels: { region: name === south ? 'us' : 'eu' } })),
  );
  const shared = base.view.services.get(web);
  const own = base.local.services.get(web);
  assert.ok(shared && own);
  const services = new Map(keys.map((key) => [key, { ...shared, key, exports: new Map() }]));
  const local = { synced: true, services: new Map([[web, own]]) };
  return { ...base, view: { ...base.view, services }, local, policies: PolicySet.empty, drains: noDrains };
}

type Edit = (input: CompileInput) => CompileInput;

function withCluster(
  input: CompileInput,
  name: ClusterName,
  change: (cluster: ClusterView) => ClusterView,
): CompileInput {
  const cluster = input.view.clusters.get(name);
  if (!cluster) return input;
  return { ...input, view: { ...input.view, clusters: new Map(input.view.clusters).set(name, change(cluster)) } };
}

function withService(
  input: CompileInput,
  key: ServiceKey,
  change: (service: ServiceView) => ServiceView,
): CompileInput {
  const service = input.view.services.get(key);
  if (!service) return input;
  return { ...input, view: { ...input.view, services: new Map(input.view.services).set(key, change(service)) } };
}

const anyCluster = fc.constantFrom(...clusters);
const anyKey = fc.constantFrom(...keys);
const specs = [
  { failover: { hold: '5s' } },
  { placement: { require: { compliance: 'pci' } } },
  { locality: { tiers: [{ match: { region: 'same' } }], fallback: 'none' } },
  { target: { service: 'cart' }, locality: { preferLocal: false, tiers: [{ match: { region: 'us' } }] } },
  { http: { timeout: '1s' } },
];

const edits: Readonly<Record<string, fc.Arbitrary<Edit>>> = {
  labels: fc.tuple(anyCluster, fc.constantFrom('eu', 'us'), fc.boolean()).map(
    ([name, region, pci]): Edit =>
      (input) =>
        withCluster(input, name, (cluster) => ({ ...cluster, labels: { region, ...(pci && { compliance: 'pci' }) } })),
  ),
  freshness: fc.tuple(anyCluster, fc.constantFrom<ClusterView['freshness']>('live', 'suspect', 'dead')).map(
    ([name, freshness]): Edit =>
      (input) =>
        withCluster(input, name, (cluster) => ({ ...cluster, freshness })),
  ),
  'signs of life': anyCluster.map(
    (name): Edit =>
      (input) =>
        withCluster(input, name, (cluster) => ({ ...cluster, heardAt: (cluster.heardAt ?? 0) + 1 })),
  ),
  gateways: fc.tuple(anyCluster, fc.nat(2), fc.boolean()).map(
    ([name, count, draining]): Edit =>
      (input) =>
        withCluster(input, name, (cluster) => ({
          ...cluster,
          gateways: Array.from({ length: count }, (_, index) => ({
            kind: 'gateway' as const,
            instance: parseReplicaName(`gw-${index}`),
            addresses: [{ address: '127.0.0.1', port: 15_008, kind: 'instance' as const, instances: 1 }],
            reachable: true,
            draining,
            version: '1',
          })),
        })),
  ),
  'a member that goes or comes': anyCluster.map(
    (name): Edit =>
      (input) => {
        const members = new Map(input.view.clusters);
        const known = start().view.clusters.get(name);
        if (name === west || !known) return input;
        if (!members.delete(name)) members.set(name, known);
        return { ...input, view: { ...input.view, clusters: members } };
      },
  ),
  exports: fc.tuple(anyKey, anyCluster, fc.nat(3)).map(
    ([key, name, endpoints]): Edit =>
      (input) =>
        withService(input, key, (service) => {
          const exports = new Map(service.exports);
          if (endpoints === 0) exports.delete(name);
          else exports.set(name, exportOf(key, { name, endpoints }));
          return { ...service, exports };
        }),
  ),
  local: fc.tuple(fc.boolean(), fc.nat(2)).map(
    ([exported, ready]): Edit =>
      (input) => {
        const own = input.local.services.get(web);
        if (!own) return input;
        const endpoints = own.endpoints.map((endpoint, index) => ({ ...endpoint, ready: index < ready }));
        return { ...input, local: { synced: true, services: new Map([[web, { ...own, exported, endpoints }]]) } };
      },
  ),
  'import ports': fc.tuple(anyKey, fc.integer({ min: 20_000, max: 20_003 })).map(
    ([key, port]): Edit =>
      (input) => ({
        ...input,
        importPorts: new Map(input.importPorts).set(`${key}:80`, port),
      }),
  ),
  policies: fc.subarray(specs).map(
    (chosen): Edit =>
      (input) => ({
        ...input,
        policies: new PolicySet(chosen.map((spec, index) => published(policy('TrafficPolicy', spec, `p${index}`)))),
      }),
  ),
  'access policies': fc.subarray([...clusters], { minLength: 1 }).map(
    (from): Edit =>
      (input) => ({
        ...input,
        policies: new PolicySet([
          ...(input.policies?.policies ?? []).filter(({ policy: { body } }) => body.kind !== 'AccessPolicy'),
          published(policy('AccessPolicy', { from: [{ clusters: [...from] }] }, 'who')),
        ]),
      }),
  ),
  drains: fc.subarray([...clusters]).map(
    (drained): Edit =>
      (input) => ({
        ...input,
        drains: resolveDrains(
          drained.map((cluster) => ({
            publisher: east,
            record: { kind: 'drain', target: { cluster }, state: 'drained', overMs: 0, issuedAt: 0, by: 'test' },
          })),
          { mayOperate: () => true, now: 0, before: noDrains },
        ),
      }),
  ),
  configuration: fc.constantFrom(0.5, 0.7).map(
    (healthyThreshold): Edit =>
      (input) => ({ ...input, failover: { ...input.failover, healthyThreshold } }),
  ),
};

suite('compile, one change after the other', () => {
  const steps = fc.array(
    fc.oneof(...Object.entries(edits).map(([what, edit]) => edit.map((each) => [what, each] as const))),
    {
      minLength: 1,
      maxLength: 40,
      size: 'max',
    },
  );

  test('the table is that of a full compile, whatever changed', () => {
    fc.assert(
      fc.property(steps, (changes) => {
        let input = start();
        let table: RouteTable = compile(input);
        for (const [what, change] of changes) {
          input = change(input);
          table = compile(input, table);
          const full = compile(input);
          assert.deepEqual([...table.services], [...full.services], `services after: ${what}`);
          assert.deepEqual([...table.clusters], [...full.clusters], `clusters after: ${what}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a change to one service leaves all others the same objects', () => {
    let input = start();
    for (const key of keys) {
      input = withService(input, key, (service) => ({
        ...service,
        exports: new Map([[east, exportOf(key, { name: east, endpoints: 2 })]]),
      }));
    }
    const before = compile(input);
    const next = withService(input, web, (service) => ({
      ...service,
      exports: new Map([[east, exportOf(web, { name: east, endpoints: 3 })]]),
    }));
    const after = compile(next, before);
    const same = keys.filter((key) => after.services.get(key) === before.services.get(key));
    assert.deepEqual(same, ['shop/cart', 'bank/ledger']);
    assert.equal(after.clusters, before.clusters);
  });
});

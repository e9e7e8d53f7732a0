import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { Caller } from '../../src/model/access.ts';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { type ClusterName, parseServiceKey, type ServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { judgeAccess, judgeRequest } from '../../src/policy/access.ts';
import { compile } from '../../src/policy/compile.ts';
import type { CompileInput } from '../../src/policy/compile-input.ts';
import { describeFaults, parsePolicy } from '../../src/policy/parse.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { step } from '../../src/policy/shares.ts';
import { east, exportOf, inputOf, type Member, published, south, web, west } from './support/federation.ts';

/** What each recipe of docs/cookbook promises. Those about requests are also run, in test/roles/cookbook.test.ts. */

const folder = new URL('../../docs/cookbook/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const cart = parseServiceKey('shop/cart');
const ledger = parseServiceKey('bank/ledger');

const members: readonly Member[] = [
  { name: west, endpoints: 4, labels: { region: 'eu', compliance: 'pci' }, concurrent: 100 },
  { name: east, endpoints: 4, labels: { region: 'eu' }, concurrent: 100 },
  { name: south, endpoints: 4, labels: { region: 'us', compliance: 'pci' }, concurrent: 100 },
];

function policies(file: string): PolicySet {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const parsed = parseAllDocuments(text).map((document) => parsePolicy(document.toJS()));
  return new PolicySet(
    parsed.map((each) => {
      assert.ok(each.ok, each.ok ? '' : describeFaults(each.faults));
      return published(each.policy, west);
    }),
  );
}

/** West as caller; all three export shop/web, shop/cart and bank/ledger. */
function input(set: PolicySet, of: readonly Member[] = members): CompileInput {
  const base = inputOf(west, of, { policies: set });
  const shared = base.view.services.get(web);
  const own = base.local.services.get(web);
  assert.ok(shared && own);
  const keys = [web, cart, ledger];
  const exports = (key: ServiceKey) => new Map(of.map((member) => [member.name, exportOf(key, member)]));
  const services = new Map(keys.map((key) => [key, { ...shared, key, exports: exports(key) }]));
  const local = { synced: true, services: new Map(keys.map((key) => [key, { ...own, key }])) };
  return { ...base, view: { ...base.view, services }, local };
}

function route(file: string, key: ServiceKey): ServiceRoute {
  const found = compile(input(policies(file))).services.get(key);
  assert.ok(found);
  return found;
}

function shares(of: ServiceRoute, down: readonly ClusterName[] = []): Record<string, number> {
  const facts = new Map(down.map((cluster) => [cluster, { reachable: false, health: 0 }]));
  return Object.fromEntries(
    [...step(of, facts, new Map(), 0).shares].map(([name, part]) => [name, Math.round(part * 100)]),
  );
}

function caller(cluster: ClusterName, account?: string): Caller {
  const [namespace, name] = account?.split('/') ?? [];
  const identity =
    account === undefined ? undefined : parseSpiffeId(`spiffe://${cluster}.mesh.example/ns/${namespace}/sa/${name}`);
  const peer = parseSpiffeId(`spiffe://${cluster}.mesh.example/isthmus/gateway/gateway-0`);
  return { cluster, peer, identity, proof: identity ? 'asserted' : 'none' };
}

function judge(of: ServiceRoute, who: Caller) {
  return judgeAccess({ route: of, port: 80, caller: who });
}

const promises: Readonly<Record<string, (file: string) => void>> = {
  '01-zero-trust.yaml': (file) => {
    const { decision, rule } = judge(route(file, web), caller(east, 'shop/web'));
    assert.equal(decision, 'denied');
    assert.match(rule, /FederationPolicy default of west requires a policy/);
  },
  '02-only-these-callers.yaml': (file) => {
    const of = route(file, cart);
    assert.equal(judge(of, caller(east, 'shop/web')).decision, 'allowed');
    assert.equal(judge(of, caller(east, 'shop/mail')).decision, 'denied');
    assert.equal(judge(of, caller(east)).decision, 'denied');
    assert.match(judge(of, caller(south, 'shop/web')).rule, /cart-not-from-south/);
    assert.equal(judge(route(file, web), caller(east)).decision, 'allowed', 'web is another service');
  },
  '03-try-a-restriction.yaml': (file) => {
    const stranger = judge(route(file, web), caller(east, 'bank/batch'));
    assert.deepEqual([stranger.decision === 'allowed', /audit: would be denied/.test(stranger.rule)], [true, true]);
    assert.equal(judge(route(file, web), caller(east, 'shop/web')).rule, 'allow: members');
  },
  '04-pin-sensitive-workloads.yaml': (file) => {
    assert.deepEqual(shares(route(file, ledger)), { west: 100 });
    assert.deepEqual(shares(route(file, ledger), [west]), { south: 100 });
    assert.deepEqual(shares(route(file, ledger), [west, south]), {}, 'never east');
  },
  '05-active-passive.yaml': (file) => {
    assert.deepEqual(shares(route(file, ledger)), { east: 100 });
    assert.deepEqual(shares(route(file, ledger), [east]), { south: 100 });
    assert.deepEqual(shares(route(file, ledger), [east, south]), {}, 'never west');
    assert.equal(route(file, ledger).failover.holdMs, 300_000);
  },
  '06-active-active.yaml': (file) => {
    assert.deepEqual(shares(route(file, web)), { east: 33, south: 33, west: 33 });
  },
  '07-canary.yaml': (file) => {
    assert.deepEqual(shares(route(file, web)), { west: 45, east: 50, south: 5 });
  },
  '08-same-region-first.yaml': (file) => {
    assert.deepEqual(shares(route(file, web)), { west: 100 });
    assert.deepEqual(shares(route(file, web), [west]), { east: 100 });
    assert.deepEqual(shares(route(file, web), [west, east]), { south: 100 });
  },
  '09-spill-at-capacity.yaml': (file) => {
    const of = route(file, web);
    const at = (load: number) =>
      step(of, new Map([[west, { reachable: true, health: 1, load }]]), new Map(), 0).shares.get(west) ?? 0;
    assert.deepEqual([at(300), at(320), at(400)], [1, 1, 0]);
    assert.ok(at(360) > 0.4 && at(360) < 0.6);
    assert.equal(of.connection?.maxConnections, 500);
  },
  '10-evacuate-a-cluster.yaml': (file) => {
    for (const key of [web, cart, ledger]) {
      assert.ok(!route(file, key).targets.some(({ cluster }) => cluster === east));
    }
  },
  '11-retry-what-does-no-harm.yaml': (file) => {
    assert.deepEqual(route(file, web).http, {
      timeoutMs: 5000,
      retries: { attempts: 2, on: ['connect', 'reset', 503], perTryMs: 2000, budget: 0.5 },
    });
  },
  '12-stay-with-one-instance.yaml': (file) => {
    assert.deepEqual(route(file, web).loadBalancing?.hash, { by: 'header', name: 'x-user' });
    assert.deepEqual(shares(route(file, web)), { east: 33, south: 33, west: 33 });
  },
  '13-reads-for-all.yaml': (file) => {
    const of = route(file, cart);
    const ask = (from: ClusterName, method: string, target: string): string =>
      judgeRequest({ route: of, port: 80, caller: caller(from), method, target }).decision;
    assert.deepEqual(
      [ask(east, 'GET', '/api/items'), ask(east, 'POST', '/api/items'), ask(south, 'POST', '/api/items')],
      ['allowed', 'denied', 'allowed'],
    );
    assert.deepEqual([ask(south, 'GET', '/admin'), ask(east, 'GET', '/')], ['denied', 'denied']);
    assert.equal(judge(route(file, web), caller(east)).decision, 'allowed', 'web is another service');
  },
};

suite('cookbook', () => {
  test('has thirteen recipes, each with a promise that is tested', () => {
    assert.deepEqual(files, Object.keys(promises));
    assert.equal(files.length, 13);
  });

  for (const file of files) {
    test(file, () => promises[file]?.(file));
  }
});

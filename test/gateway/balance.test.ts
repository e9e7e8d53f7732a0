import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TargetOrder } from '../../src/gateway/balance/order.ts';
import { type HealthChange, ServiceBook } from '../../src/gateway/balance/service-book.ts';
import type { ServiceEntry } from '../../src/gateway/balance/service-entry.ts';
import { type ClusterName, parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { RouteTable, ServiceRoute, Target } from '../../src/model/route.ts';
import { defaultOutlier } from '../../src/model/traffic.ts';
import { step } from '../../src/policy/shares.ts';
import { serviceRoute } from './support/mesh.ts';

const [west, east, south] = ['west', 'east', 'south'].map(parseClusterName) as [ClusterName, ClusterName, ClusterName];

function target(cluster: ClusterName, tier = 0, capacity = 1): Target {
  return { cluster, tier, capacity, health: 1, ports: [80], stale: false };
}

describe('TargetOrder', () => {
  function targetOrder(
    targets: readonly Target[],
    result: { readonly shares: ReadonlyMap<ClusterName, number>; readonly barred: ReadonlySet<ClusterName> },
    random: number,
  ): Target[] {
    const order = new TargetOrder(targets, result);
    const first = order.draw(random);
    assert.equal(order.at(first, order.size), undefined);
    return Array.from({ length: order.size }, (_, index) => order.at(first, index)).filter(
      (each) => each !== undefined,
    );
  }

  const barred: ReadonlySet<ClusterName> = new Set();

  it('leaves out what an operator has taken out, even when nothing else is there', () => {
    const drained = { shares: new Map([[east, 1]]), barred: new Set([west]) };
    const order = targetOrder([target(west), target(east)], drained, 0.5);
    assert.deepEqual(
      order.map(({ cluster }) => cluster),
      ['east'],
    );
    assert.deepEqual(targetOrder([target(west)], { ...drained, shares: new Map() }, 0.5), []);
  });

  it('draws the first by the shares', () => {
    const targets = [target(west), target(east), target(south)];
    const shares = new Map([
      [west, 0.5],
      [east, 0.3],
      [south, 0.2],
    ]);
    const first = (random: number): string | undefined => targetOrder(targets, { shares, barred }, random)[0]?.cluster;
    assert.deepEqual([0, 0.49, 0.51, 0.79, 0.81, 0.999].map(first), ['west', 'west', 'east', 'east', 'south', 'south']);
  });

  it('goes on with shares, then tiers, then capacity', () => {
    const targets = [target(south, 2, 9), target(east, 1, 1), target(west, 0, 1)];
    assert.deepEqual(
      targetOrder(targets, { shares: new Map([[south, 1]]), barred }, 0.5).map(({ cluster }) => cluster),
      ['south', 'west', 'east'],
    );
  });

  it('always lists every target once', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.array(fc.nat(10)), (random, w) => {
        const targets = w.map((_, index) => target(parseClusterName(`c${index}`), index % 3));
        const total = w.reduce((sum, part) => sum + part, 0) || 1;
        const shares = new Map(targets.map(({ cluster }, index) => [cluster, (w[index] ?? 0) / total]));
        const order = targetOrder(targets, { shares, barred }, random).map(({ cluster }) => cluster);
        assert.deepEqual([...order].sort(), targets.map(({ cluster }) => cluster).sort());
      }),
    );
  });
});

describe('ServiceBook', () => {
  const rules = { probeInitialMs: 250, probeMaxMs: 1000 };
  const outlier = { ...defaultOutlier, consecutiveFailures: 2, baseEjectionMs: 1000 };
  const key = parseServiceKey('shop/web');

  function book(route: ServiceRoute): {
    readonly services: ServiceBook;
    readonly entry: ServiceEntry;
    readonly changes: HealthChange[];
    readonly reach: Map<ClusterName, 'up' | 'down' | 'unknown'>;
    readonly set: (next: ServiceRoute, now: number) => void;
    readonly shares: (now: number) => Record<string, number>;
  } {
    const changes: HealthChange[] = [];
    const reach = new Map<ClusterName, 'up' | 'down' | 'unknown'>();
    const services = new ServiceBook({
      self: west,
      step,
      rules,
      reach: (cluster) => reach.get(cluster) ?? 'unknown',
      onChange: (change) => void changes.push(change),
    });
    const set = (next: ServiceRoute, now: number): void => {
      const table: RouteTable = { self: west, services: new Map([[key, next]]), clusters: new Map() };
      services.setTable(table, now);
    };
    set(route, 0);
    const entry = services.get(key);
    assert.ok(entry);
    const shares = (now: number): Record<string, number> => {
      services.refresh(now);
      return Object.fromEntries(entry.result.shares);
    };
    return { services, entry, changes, reach, set, shares };
  }

  const route = { ...serviceRoute({ self: 'west', local: [1001, 1002], remote: ['east'] }), outlier };

  it('ejects an endpoint after consecutive failures, and takes it back at the first success', () => {
    const { services, entry, changes, shares } = book(route);
    const state = entry.endpoints.get('127.0.0.1:1001');
    assert.ok(state);
    services.failed({ kind: 'endpoint', entry, state }, { reason: 'ECONNREFUSED', now: 10 });
    services.reached({ kind: 'endpoint', entry, state }, 20);
    services.failed({ kind: 'endpoint', entry, state }, { reason: 'ECONNREFUSED', now: 30 });
    assert.equal(changes.length, 0);
    assert.deepEqual(shares(30), { west: 1 });
    services.failed({ kind: 'endpoint', entry, state }, { reason: 'ECONNREFUSED', now: 40 });
    assert.equal(changes[0]?.up, false);
    // Half of the local endpoints are left, the threshold is 70 %: the rest spills.
    assert.ok((shares(40)['east'] ?? 0) > 0.2);
    services.reached({ kind: 'endpoint', entry, state }, 50);
    assert.deepEqual(
      changes.map(({ up }) => up),
      [false, true],
    );
    // The endpoint is in use at once; what spilled to the other cluster comes back after the hold, gradually.
    assert.ok((shares(50)['east'] ?? 0) > 0.2);
    assert.ok((shares(350)['east'] ?? 0) < 0.2);
    assert.deepEqual(shares(500), { west: 1 });
  });

  it('probes what is ejected with growing pauses, and nothing else', () => {
    const { services, entry } = book(route);
    const state = entry.endpoints.get('127.0.0.1:1001');
    assert.ok(state);
    assert.deepEqual(services.takeProbes(10_000, 10), []);
    services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
    services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
    const due: number[] = [];
    for (let now = 0; now < 4500; now += 10) if (services.takeProbes(now, 10).length > 0) due.push(now);
    assert.deepEqual(due, [250, 750, 1750, 2750, 3750]);
  });

  it('takes no more probes than asked for, and the others next time', () => {
    const { services, entry } = book(route);
    for (const state of entry.endpoints.values()) {
      services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
      services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
    }
    assert.equal(services.takeProbes(300, 1).length, 1);
    assert.equal(services.takeProbes(300, 10).length, 1);
    assert.equal(services.takeProbes(300, 10).length, 0);
  });

  it('takes a remote cluster out by reachability, and by refusals of this service only', () => {
    const { services, entry, reach, shares } = book({
      ...serviceRoute({ self: 'west', remote: ['east', 'south'] }),
      outlier,
    });
    assert.deepEqual(shares(0), { east: 0.5, south: 0.5 }, 'never tried counts as healthy');
    reach.set(east, 'down');
    assert.deepEqual(shares(1), { south: 1 });
    reach.set(east, 'up').set(south, 'up');
    assert.deepEqual(shares(2), { south: 1 }, 'held');
    assert.deepEqual(shares(500), { east: 0.5, south: 0.5 });
    services.failed({ kind: 'remote', entry, cluster: south }, { reason: 'no-ready-endpoint', now: 500 });
    services.failed({ kind: 'remote', entry, cluster: south }, { reason: 'no-ready-endpoint', now: 500 });
    assert.deepEqual(shares(500), { east: 1 });
    const report = services.report(500)[0]?.targets.find(({ cluster }) => cluster === south);
    assert.deepEqual([report?.reachable, report?.health], [true, 0]);
    assert.match(report?.why ?? '', /refused: no-ready-endpoint/);
  });

  it('keeps what it knows of endpoints that stay, and forgets what moved or went', () => {
    const { services, entry, set } = book(route);
    for (const state of entry.endpoints.values()) {
      services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
      services.failed({ kind: 'endpoint', entry, state }, { reason: 'x', now: 0 });
    }
    const [first, second] = route.endpoints;
    assert.ok(first && second);
    set({ ...route, endpoints: [first, { ...second, address: '127.0.0.2' }] }, 10);
    assert.deepEqual(
      services.report(500)[0]?.endpoints.map(({ up }) => up),
      [false, true],
    );
    set({ ...route, endpoints: [second] }, 20);
    assert.equal(entry.endpoints.size, 1);
  });

  it('follows its source: an endpoint that is not ready is not up', () => {
    const { set, shares } = book(route);
    set({ ...route, endpoints: route.endpoints.map((endpoint) => ({ ...endpoint, ready: false })) }, 10);
    assert.deepEqual(shares(10), { east: 1 });
  });
});

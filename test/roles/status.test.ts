import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute, Target } from '../../src/model/route.ts';
import type { ClusterView } from '../../src/model/view.ts';
import { explain } from '../../src/roles/agent/status/explain.ts';
import type { AgentFacts } from '../../src/roles/agent/status/facts.ts';
import { clusterRows, gatewayRows, linkRows } from '../../src/roles/agent/status/members.ts';
import { TargetRates } from '../../src/roles/agent/status/rates.ts';
import { serviceDetail, serviceRows } from '../../src/roles/agent/status/services.ts';
import type { GatewayReport, TargetReport } from '../../src/wire/gateway-report.ts';

const [east, west, south] = ['east', 'west', 'south'].map(parseClusterName) as [ClusterName, ClusterName, ClusterName];
const web = parseServiceKey('shop/web');
const gw = parseReplicaName('gw-0');

function target(cluster: ClusterName, over: Partial<Target> = {}): Target {
  return { cluster, tier: cluster === west ? 0 : 1, capacity: 2, health: 1, ports: [80], stale: false, ...over };
}

function route(targets: readonly Target[] = [target(west), target(east)]): ServiceRoute {
  return {
    key: web,
    ports: [{ port: 80, importPort: 20_000 }],
    exported: true,
    allow: 'members',
    targets,
    failover: { healthyThreshold: 0.7, holdMs: 0, returnOverMs: 0 },
    endpoints: [{ id: 'a', address: '127.0.0.1', ports: new Map([[80, 8080]]), ready: true }],
  } as ServiceRoute;
}

function said(cluster: ClusterName, share: number, over: Partial<TargetReport> = {}): TargetReport {
  const base = {
    cluster,
    share,
    why: `why ${cluster}`,
    reachable: true,
    health: 1,
    connections: 0,
    failures: 0,
    active: 0,
  };
  return { ...base, ...over };
}

function report(targets: readonly TargetReport[], over: Partial<GatewayReport> = {}): GatewayReport {
  const services = [{ service: web, targets, endpoints: [] }];
  return { instance: gw, version: '1', ready: true, draining: false, tableDigest: 'd', links: [], services, ...over };
}

function clusterView(name: ClusterName, over: Partial<ClusterView> = {}): ClusterView {
  return {
    name,
    trustDomain: parseTrustDomain(`${name}.mesh.example`),
    epoch: 1,
    revision: 2,
    freshness: 'live',
    heardAt: 900,
    labels: {},
    gateways: [],
    links: [],
    notices: [],
    ...over,
  };
}

function facts(reports: readonly GatewayReport[], over: Partial<AgentFacts> = {}): AgentFacts {
  const exported = { total: 3, ready: 2 };
  const record = { kind: 'export', service: web, endpoints: exported, ports: [], createdAt: 0 };
  return {
    self: west,
    now: 1000,
    view: {
      self: west,
      revision: 1,
      clusters: new Map([west, east].map((name) => [name, clusterView(name)])),
      services: new Map([
        [web, { key: web, type: 'ClusterSetIP', ports: [], exports: new Map([[east, record]]), conflicts: [] }],
      ]),
    } as unknown as AgentFacts['view'],
    roster: undefined,
    table: { self: west, services: new Map([[web, route()]]), clusters: new Map() },
    tableDigest: 'd',
    gateways: reports.map((each) => ({
      instance: each.instance,
      address: '127.0.0.1:1',
      connectedAt: 400,
      ackedDigest: 'd',
      report: each,
    })),
    ...over,
  };
}

suite('services', () => {
  test('healthy endpoints are the own ones and what others export', () => {
    const [row] = serviceRows(facts([report([said(west, 1), said(east, 0)])]));
    assert.deepEqual([row?.healthy, row?.state, row?.clusters], [{ ready: 3, total: 4 }, 'Active', ['west', 'east']]);
  });

  test('the state says where traffic goes', () => {
    const state = (...targets: TargetReport[]): string | undefined => serviceRows(facts([report(targets)]))[0]?.state;
    assert.equal(state(said(west, 0.5), said(east, 0.5)), 'Spill');
    assert.equal(state(said(west, 0), said(east, 1)), 'Failover');
    assert.equal(state(said(west, 0), said(east, 0)), 'Down');
  });

  test('shares are averaged over gateways, counters added up', () => {
    const reports = [
      report([said(west, 1, { connections: 3 }), said(east, 0)]),
      report([said(west, 0.5, { connections: 4 }), said(east, 0.5)]),
    ];
    const detail = serviceDetail(facts(reports), web, new TargetRates());
    assert.deepEqual(
      detail?.targets.map((row) => [row.cluster, row.share, row.connections, row.state]),
      [
        ['west', 0.75, 7, 'Active'],
        ['east', 0.25, 0, 'Spill'],
      ],
    );
  });

  test('without a gateway shares are planned, and said to be', () => {
    const detail = serviceDetail(facts([]), web, new TargetRates());
    assert.equal(detail?.targets[0]?.share, 1);
    assert.match(detail?.targets[0]?.why ?? '', /planned: no gateway has reported/);
  });

  test('a target that cannot be reached is out, one that is not needed stands by', () => {
    const detail = serviceDetail(
      facts([report([said(west, 0, { reachable: false }), said(east, 0)])]),
      web,
      new TargetRates(),
    );
    assert.deepEqual(
      detail?.targets.map((row) => row.state),
      ['Out', 'Standby'],
    );
  });
});

suite('rates', () => {
  test('are counters over time, per gateway and added up', () => {
    const rates = new TargetRates();
    const at = (now: number, connections: number, failures: number): void =>
      rates.note(report([said(west, 1, { connections, failures })]), now);
    at(1000, 100, 0);
    assert.equal(rates.of(web, west, 1000), undefined);
    at(3000, 110, 1);
    assert.deepEqual(rates.of(web, west, 3000), { perSecond: 5, success: 0.9 });
  });

  test('start again when a gateway does, and end when it is gone', () => {
    const rates = new TargetRates();
    rates.note(report([said(west, 1, { connections: 100 })]), 1000);
    rates.note(report([said(west, 1, { connections: 2 })]), 2000);
    assert.equal(rates.of(web, west, 2000), undefined);
    rates.note(report([said(west, 1, { connections: 4 })]), 3000);
    assert.equal(rates.of(web, west, 3000)?.perSecond, 2);
    rates.retain(new Set());
    assert.equal(rates.of(web, west, 3000), undefined);
  });
});

suite('explain', () => {
  const to = { service: web, port: 80 };

  test('says where a connection goes', () => {
    const { ok, verdict } = explain(facts([report([said(west, 0), said(east, 1)])]), to);
    assert.deepEqual([ok, verdict], [true, 'a new connection goes to east 100%']);
  });

  test('names the step at which it ends', () => {
    const down = facts([report([said(west, 0, { reachable: false }), said(east, 0, { reachable: false })])]);
    assert.deepEqual(
      [explain(down, to).ok, explain(down, to).verdict],
      [false, 'nowhere to go: every candidate is out'],
    );
    assert.match(explain(down, { service: web, port: 81 }).verdict, /no port 81/);
    assert.match(explain(down, { service: parseServiceKey('shop/none'), port: 80 }).verdict, /exported by no member/);
  });

  test('a cluster that does not expose the port gets nothing', () => {
    const table = {
      self: west,
      services: new Map([[web, route([target(east, { ports: [81] })])]]),
      clusters: new Map(),
    };
    assert.equal(explain(facts([report([said(east, 1)])], { table }), to).ok, false);
  });
});

suite('members', () => {
  const link = { cluster: east, instance: gw, address: '127.0.0.1:15008', up: true, rttP50Ms: 2, loss: 0, forMs: 5 };

  test('links are the own ones as measured and others as published', () => {
    const view = facts([]).view;
    const published = clusterView(south, {
      links: [{ kind: 'link', to: west, up: false, since: 400, reason: 'refused' }],
    });
    const clusters = new Map([...view.clusters, [south, published] as const]);
    const rows = linkRows(facts([report([], { links: [link] })], { view: { ...view, clusters } }));
    assert.deepEqual(
      rows.map((row) => [row.from, row.to, row.ready, row.rttP50Ms, row.syncAgeMs, row.forMs, row.message]),
      [
        ['south', 'west', false, undefined, undefined, 600, 'refused'],
        ['west', 'east', true, 2, 100, 5, undefined],
      ],
    );
  });

  test('a gateway that has not taken the present table is not in sync', () => {
    const [row] = gatewayRows(facts([report([])], { tableDigest: 'newer' }));
    assert.deepEqual([row?.inSync, row?.connectedForMs, row?.ready], [false, 600, true]);
  });

  test('clusters are those of the roster, whatever their state', () => {
    const entry = (cluster: ClusterName, state: 'active' | 'revoked') =>
      [
        cluster,
        {
          cluster,
          trustDomain: parseTrustDomain(`${cluster}.mesh.example`),
          state,
          caKeyIds: [],
          labels: {},
          exportable: ['*/*'],
        },
      ] as const;
    const roster = {
      clusters: new Map([entry(south, 'revoked'), entry(east, 'active'), entry(west, 'active')]),
    } as unknown as NonNullable<AgentFacts['roster']>;
    const rows = clusterRows(facts([report([], { links: [link] })], { roster }));
    assert.deepEqual(
      rows.map((row) => [row.cluster, row.state, row.freshness, row.reachable]),
      [
        ['east', 'active', 'live', true],
        ['south', 'revoked', 'unknown', undefined],
        ['west', 'active', 'live', undefined],
      ],
    );
  });
});

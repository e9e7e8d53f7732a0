import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { LocalServices } from '../../src/model/ports/service-source.ts';
import type { ExportRecord, GatewayRecord } from '../../src/model/record.ts';
import type { ClusterView, MeshView } from '../../src/model/view.ts';
import { compile, wantedPorts } from '../../src/policy/compile.ts';
import type { CompileInput } from '../../src/policy/compile-input.ts';
import { defaultFailover } from '../../src/policy/defaults.ts';

const east = parseClusterName('east');
const west = parseClusterName('west');
const web = parseServiceKey('shop/web');

function exported(ready: number, total: number, port = 80): ExportRecord {
  return {
    kind: 'export',
    service: web,
    type: 'ClusterSetIP',
    ports: [{ port, protocol: 'TCP' }],
    allow: 'members',
    endpoints: { ready, total },
    createdAt: 1,
  };
}

function gateway(instance: string, over: Partial<GatewayRecord> = {}): GatewayRecord {
  return {
    kind: 'gateway',
    instance: parseReplicaName(instance),
    addresses: [{ address: '127.0.0.1', port: 15_008, kind: 'instance', instances: 1 }],
    reachable: true,
    draining: false,
    version: '0.1.0',
    ...over,
  };
}

function cluster(name: ClusterName, over: Partial<ClusterView> = {}): ClusterView {
  return {
    name,
    trustDomain: parseTrustDomain(`${name}.mesh.example`),
    epoch: 1,
    revision: 1,
    freshness: 'live',
    heardAt: 0,
    labels: {},
    gateways: [gateway('gw-0')],
    links: [],
    notices: [],
    ...over,
  };
}

function view(record: ExportRecord | undefined, remote: ClusterView | undefined = cluster(east)): MeshView {
  const exports = new Map(record ? [[east, record]] : []);
  return {
    self: west,
    revision: 1,
    clusters: new Map([[west, cluster(west)], ...(remote ? [[remote.name, remote] as const] : [])]),
    services: new Map([[web, { key: web, type: 'ClusterSetIP', ports: record?.ports ?? [], exports, conflicts: [] }]]),
  };
}

const nothingLocal: LocalServices = { synced: true, services: new Map() };

function localWeb(isExported: boolean): LocalServices {
  const endpoint = { id: '127.0.0.1:8080', address: '127.0.0.1', ports: new Map([[80, 8080]]), ready: true };
  const service = {
    key: web,
    ports: [{ port: 80, protocol: 'TCP' as const }],
    exported: isExported,
    allow: 'members' as const,
    endpoints: [endpoint, { ...endpoint, id: 'second', ready: false }],
  };
  return { synced: true, services: new Map([[web, service]]) };
}

function input(over: Partial<CompileInput>): CompileInput {
  return {
    view: view(exported(2, 4)),
    local: nothingLocal,
    importPorts: new Map([['shop/web:80', 20_000]]),
    failover: defaultFailover,
    ...over,
  };
}

suite('compile', () => {
  test('a remote export becomes a target of the second tier with its counts', () => {
    const route = compile(input({})).services.get(web);
    assert.deepEqual(route?.targets, [{ cluster: east, tier: 1, capacity: 4, health: 0.5, ports: [80], stale: false }]);
    assert.deepEqual(route?.ports, [{ port: 80, importPort: 20_000 }]);
    assert.equal(route?.exported, false);
  });

  test('the own exported service is the first tier, with endpoints', () => {
    const route = compile(input({ local: localWeb(true) })).services.get(web);
    assert.deepEqual(
      route?.targets.map((t) => [t.cluster, t.tier, t.health]),
      [
        [west, 0, 0.5],
        [east, 1, 0.5],
      ],
    );
    assert.equal(route?.endpoints.length, 2);
    assert.equal(route?.exported, true);
  });

  test('a service that exists here but is not exported serves nobody (KEP-1645: export is opt-in)', () => {
    const route = compile(input({ local: localWeb(false) })).services.get(web);
    assert.deepEqual(
      route?.targets.map((t) => t.cluster),
      [east],
    );
    assert.deepEqual(route?.endpoints, []);
  });

  test('without any exporter there is no route', () => {
    assert.equal(compile(input({ view: view(undefined) })).services.size, 0);
  });

  test('an exporter that is no member any more is no target', () => {
    const strangers: MeshView = { ...view(exported(1, 1)), clusters: new Map([[west, cluster(west)]]) };
    assert.equal(compile(input({ view: strangers })).services.size, 0);
  });

  test('old data stays in and is marked stale', () => {
    const stale = view(exported(1, 1), cluster(east, { freshness: 'dead' }));
    assert.equal(compile(input({ view: stale })).services.get(web)?.targets[0]?.stale, true);
  });

  test('draining and unreachable gateways are left out; the own ones are there for each other', () => {
    const gateways = [gateway('gw-2', { draining: true }), gateway('gw-1'), gateway('gw-0', { reachable: false })];
    const { clusters } = compile(input({ view: view(exported(1, 1), cluster(east, { gateways })) }));
    assert.deepEqual([...clusters.keys()], [east, west]);
    assert.deepEqual(
      clusters.get(east)?.gateways.map((g) => g.instance),
      ['gw-1'],
    );
  });

  test('rated capacity weighs endpoints', () => {
    const rated = { ...exported(3, 3), capacity: { concurrent: 10 } };
    assert.equal(compile(input({ view: view(rated) })).services.get(web)?.targets[0]?.capacity, 30);
  });

  test('what did not change is the same object as before', () => {
    const first = compile(input({}));
    assert.equal(compile(input({}), first), first);
    const second = compile(input({ view: view(exported(1, 4)) }), first);
    assert.notEqual(second, first);
    assert.notEqual(second.services.get(web), first.services.get(web));
    assert.equal(second.clusters.get(east), first.clusters.get(east));
  });

  test('endpoint ports are compared too, though they are a map', () => {
    const first = compile(input({ local: localWeb(true) }));
    const moved = localWeb(true);
    const service = moved.services.get(web);
    assert.ok(service);
    const endpoints = service.endpoints.map((e) => ({ ...e, ports: new Map([[80, 9999]]) }));
    const local = { ...moved, services: new Map([[web, { ...service, endpoints }]]) };
    assert.notEqual(compile(input({ local }), first).services.get(web), first.services.get(web));
  });
});

suite('wantedPorts', () => {
  test('every exported port of a service, own and remote; none when nobody exports it', () => {
    const seen = view(exported(1, 1, 81)).services.get(web);
    assert.deepEqual(new Set(wantedPorts(seen, localWeb(true).services.get(web))), new Set([80, 81]));
    assert.deepEqual(wantedPorts(view(undefined).services.get(web), localWeb(false).services.get(web)), []);
  });
});

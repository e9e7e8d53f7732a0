import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { globCovers } from '../../src/federation/merge/glob.ts';
import { type MergeInput, merge } from '../../src/federation/merge/merge.ts';
import { changeOf } from '../../src/federation/merge/view-change.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { type ClusterName, parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { ClusterRecord, ExportRecord, RecordKey, ServicePort } from '../../src/model/record.ts';
import type { Roster } from '../../src/model/trust.ts';
import type { MeshView } from '../../src/model/view.ts';
import { SortedMap } from '../../src/runtime/sorted-map.ts';
import { east, entryOf, exportOf, gatewayOf, keyed, rosterOf, south, west } from './support/federation.ts';

const web = parseServiceKey('shop/web');
const roster = rosterOf(entryOf(east), entryOf(west), entryOf(south));

function partition(records: ReadonlyMap<RecordKey, ClusterRecord>, change: Partial<PartitionView> = {}): PartitionView {
  return { epoch: 1, revision: 1, records, freshness: 'live', heardAt: 5, ...change };
}

function mergeOf(exports: Partial<Record<string, ExportRecord>>, change: Partial<MergeInput> = {}): MeshView {
  const partitions = new Map(
    Object.entries(exports).map(([name, record]) => [
      parseClusterName(name),
      partition(record ? keyed(record) : new Map()),
    ]),
  );
  return merge({ self: west, partitions, roster, ...change });
}

const tcp = (port: number, name?: string, appProtocol?: string): ServicePort => ({
  port,
  protocol: 'TCP',
  ...(name !== undefined && { name }),
  ...(appProtocol !== undefined && { appProtocol }),
});

test('merge: the oldest export wins, ties go to the name first in order, not to the local cluster', () => {
  const headless = exportOf('shop/web', { type: 'Headless' });
  const older = mergeOf({ west: exportOf('shop/web', { createdAt: 2 }), south: { ...headless, createdAt: 1 } });
  assert.equal(older.services.get(web)?.type, 'Headless');
  const tie = mergeOf({ west: headless, east: exportOf('shop/web') }).services.get(web);
  assert.equal(tie?.type, 'ClusterSetIP');
  assert.deepEqual([...(tie?.exports.keys() ?? [])], ['east', 'west']);
});

test('merge: a conflict names field, winner, losers, values and how many disagree', () => {
  const view = mergeOf({
    east: exportOf('shop/web', { createdAt: 1 }),
    west: exportOf('shop/web', { createdAt: 2, type: 'Headless' }),
    south: exportOf('shop/web', { createdAt: 3 }),
  });
  assert.deepEqual(view.services.get(web)?.conflicts, [
    {
      field: 'type',
      reason: 'TypeConflict',
      winner: 'east',
      losers: ['west'],
      values: new Map([
        ['east', 'ClusterSetIP'],
        ['west', 'Headless'],
        ['south', 'ClusterSetIP'],
      ]),
      message: 'Conflicting type. Using "ClusterSetIP" from oldest service export in "east". 1/3 clusters disagree.',
    },
  ]);
});

test('merge: several conflicts at once, each with its own reason; the whole map of labels is the oldest one', () => {
  const view = mergeOf({
    east: exportOf('shop/web', { createdAt: 2, labels: { tier: 'gold' } }),
    west: exportOf('shop/web', { createdAt: 1, labels: { team: 'a' }, type: 'Headless', ports: [tcp(81)] }),
  }).services.get(web);
  assert.deepEqual(
    view?.conflicts.map(({ field, reason, winner }) => [field, reason, winner]),
    [
      ['ports', 'PortConflict', 'west'],
      ['type', 'TypeConflict', 'west'],
      ['labels', 'LabelsConflict', 'west'],
    ],
  );
  assert.deepEqual(view?.labels, { team: 'a' });
  assert.equal(
    view?.conflicts[0]?.message,
    'Conflicting ports. Using the union "81/TCP, http 80/TCP", in doubt that of oldest service export in "west". 1/2 clusters disagree.',
  );
});

test('merge: every property of KEP-1645 in which exports differ is a conflict of its own reason', () => {
  const view = mergeOf({
    east: exportOf('shop/web', { createdAt: 1, sessionAffinity: 'ClientIP', ipFamilies: ['IPv6', 'IPv4'] }),
    west: exportOf('shop/web', {
      createdAt: 2,
      sessionAffinity: 'ClientIP',
      sessionAffinityTimeoutS: 60,
      annotations: { owner: 'x' },
      internalTrafficPolicy: 'Local',
      trafficDistribution: 'PreferClose',
      ipFamilies: ['IPv4'],
    }),
    south: exportOf('shop/web', { createdAt: 3, internalTrafficPolicy: 'Cluster' }),
  }).services.get(web);
  assert.deepEqual(
    view?.conflicts.map(({ reason, losers }) => [reason, losers]),
    [
      ['SessionAffinityConflict', ['south']],
      ['SessionAffinityConfigConflict', ['west']],
      ['AnnotationsConflict', ['west']],
      ['InternalTrafficPolicyConflict', ['west']],
      ['TrafficDistributionConflict', ['west']],
      ['IPFamilyConflict', ['west']],
    ],
  );
  assert.deepEqual(
    [view?.sessionAffinity, view?.ipFamilies, view?.internalTrafficPolicy],
    ['ClientIP', ['IPv4'], undefined],
  );
});

test('merge: a conflict over a long value, or over many, stays readable', () => {
  const long = exportOf('shop/web', { labels: { note: 'x'.repeat(4000) } });
  const many = { ports: Array.from({ length: 90 }, (_, n) => tcp(n + 1, `p${n}`, 'a')) };
  const other = { ports: Array.from({ length: 90 }, (_, n) => tcp(n + 1, `q${n}`, 'b')), labels: {} };
  const view = mergeOf({ east: { ...long, ...many }, west: { ...long, ...other } }).services.get(web);
  assert.equal(view?.conflicts.length, 50);
  for (const conflict of view?.conflicts ?? []) {
    assert.ok(conflict.message.length < 500, conflict.message);
    for (const value of conflict.values.values()) assert.ok(value.length <= 201);
  }
});

test('merge: ports are united by name, then by number; what the oldest says of one stands', () => {
  const view = mergeOf({
    east: exportOf('shop/web', { createdAt: 1, ports: [tcp(80, 'http'), tcp(9000)] }),
    west: exportOf('shop/web', {
      createdAt: 2,
      ports: [tcp(8080, 'http'), tcp(9000, 'admin', 'grpc'), tcp(443, 'tls')],
    }),
  }).services.get(web);
  assert.deepEqual(view?.ports, [tcp(80, 'http'), tcp(443, 'tls'), tcp(9000)]);
  assert.deepEqual(
    view?.conflicts.map((conflict) => [conflict.reason, conflict.winner, conflict.losers]),
    [
      ['PortConflict', 'east', ['west']],
      ['PortConflict', 'east', ['west']],
      ['PortConflict', 'east', ['west']],
      ['PortConflict', 'east', ['west']],
    ],
  );
  assert.deepEqual(
    view?.conflicts.map(({ field, message }) => [field, /Using .* in "\w+"/.exec(message)?.[0]]),
    [
      [
        'ports',
        'Using the union "9000/TCP, http 80/TCP, tls 443/TCP", in doubt that of oldest service export in "east"',
      ],
      ['ports[9000/TCP].name', 'Using "" from oldest service export in "east"'],
      ['ports[9000/TCP].appProtocol', 'Using "" from oldest service export in "east"'],
      ['ports[http]', 'Using "80/TCP" from oldest service export in "east"'],
    ],
  );
  const agreeing = mergeOf({
    east: exportOf('shop/web', { ports: [tcp(80), tcp(81)] }),
    west: exportOf('shop/web', { ports: [tcp(81), tcp(80)] }),
  });
  assert.deepEqual(agreeing.services.get(web)?.conflicts, []);
});

test('merge: only what the roster lets a cluster export, and only active members', () => {
  const both = { east: exportOf('shop/web'), south: exportOf('shop/web') };
  const narrow = rosterOf(entryOf(east, { exportable: ['bank/*'] }), entryOf(west), entryOf(south));
  const seen = mergeOf(both, { roster: narrow });
  assert.deepEqual([...(seen.services.get(web)?.exports.keys() ?? [])], ['south']);
  assert.deepEqual(seen.clusters.get(east)?.notices, [
    {
      service: 'shop/web',
      reason: 'NotExportable',
      message: "east exports shop/web, but the authority lets it export 'bank/*'",
    },
  ]);
  assert.deepEqual(seen.clusters.get(south)?.notices, []);
  for (const state of ['suspended', 'revoked'] as const) {
    const view = mergeOf(both, { roster: rosterOf(entryOf(east), entryOf(south, { state })) });
    assert.deepEqual([...(view.services.get(web)?.exports.keys() ?? [])], ['east']);
    assert.deepEqual([...view.clusters.keys()], ['east']);
  }
});

test('merge: a roster that lets a cluster export less takes effect on what was merged before', () => {
  const partitions = new Map([[east, partition(keyed(exportOf('shop/web')))]]);
  const previous = merge({ self: west, partitions, roster });
  const narrow = rosterOf(entryOf(east, { exportable: ['bank/*'] }), entryOf(west), entryOf(south));
  assert.equal(merge({ self: west, partitions, roster: narrow, previous }).services.size, 0);
});

test('merge: a tombstone ends that export only; the last one gone, the service is gone', () => {
  const tombstone: ClusterRecord = { kind: 'tombstone', service: web, deletedAt: 9 };
  const partitions = new Map([
    [east, partition(keyed(tombstone))],
    [west, partition(keyed(exportOf('shop/web')))],
  ]);
  const one = merge({ self: west, partitions, roster });
  assert.deepEqual([...(one.services.get(web)?.exports.keys() ?? [])], ['west']);
  partitions.set(west, partition(keyed(tombstone)));
  assert.equal(merge({ self: west, partitions, roster, previous: one }).services.size, 0);
});

test('merge: stale and dead clusters stay, with their freshness; members without data are there', () => {
  const partitions = new Map([
    [east, partition(keyed(exportOf('shop/web'), gatewayOf('gw-0')), { freshness: 'dead' })],
  ]);
  const view = merge({ self: west, partitions, roster });
  assert.equal(view.services.get(web)?.exports.has(east), true);
  assert.equal(view.clusters.get(east)?.freshness, 'dead');
  assert.equal(view.clusters.get(east)?.gateways[0]?.instance, 'gw-0');
  assert.deepEqual([view.clusters.get(south)?.freshness, view.clusters.get(south)?.heardAt], ['unknown', undefined]);
});

test('merge: the very same view when nothing changed, shared parts when something did', () => {
  const records = keyed(exportOf('shop/web'), exportOf('shop/db'));
  const partitions = new Map([
    [east, partition(records)],
    [west, partition(keyed(exportOf('shop/web')))],
  ]);
  const first = merge({ self: west, partitions, roster });
  assert.equal(merge({ self: west, partitions: new Map(partitions), roster, previous: first }), first);
  partitions.set(east, partition(records, { heardAt: 99 }));
  const heard = merge({ self: west, partitions, roster, previous: first });
  assert.equal(heard.revision, first.revision + 1);
  assert.equal(heard.services, first.services);
  assert.equal(heard.clusters.get(west), first.clusters.get(west));
  partitions.set(east, partition(new Map([...records, ...keyed(exportOf('shop/db', { allow: 'policy' }))])));
  const changed = merge({ self: west, partitions, roster, previous: heard });
  assert.equal(changed.services.get(web), heard.services.get(web));
  assert.notEqual(changed.services.get(parseServiceKey('shop/db')), heard.services.get(parseServiceKey('shop/db')));
});

const someRecord = fc.record({
  service: fc.constantFrom('shop/web', 'shop/db', 'bank/app'),
  createdAt: fc.nat({ max: 3 }),
  headless: fc.boolean(),
  ports: fc.uniqueArray(fc.integer({ min: 80, max: 83 }), { minLength: 1 }),
  named: fc.boolean(),
  deleted: fc.boolean(),
});

const somePartition = fc.array(someRecord, { maxLength: 4 }).map((specs) =>
  partition(
    keyed(
      ...specs.map(
        (spec): ClusterRecord =>
          spec.deleted
            ? { kind: 'tombstone', service: parseServiceKey(spec.service), deletedAt: 1 }
            : exportOf(spec.service, {
                createdAt: spec.createdAt,
                type: spec.headless ? 'Headless' : 'ClusterSetIP',
                ports: spec.ports.map((port) => tcp(port, spec.named ? 'http' : undefined)),
              }),
      ),
    ),
  ),
);

const someMesh = fc.dictionary(fc.constantFrom('east', 'west', 'south'), somePartition);
const someRoster = fc.constantFrom<Roster>(
  roster,
  rosterOf(entryOf(east), entryOf(south, { exportable: ['shop/*'] })),
  rosterOf(entryOf(east, { state: 'revoked' }), entryOf(west), entryOf(south)),
);

type Partitions = ReadonlyMap<ClusterName, PartitionView>;
const named = (mesh: Record<string, PartitionView>): [ClusterName, PartitionView][] =>
  Object.entries(mesh).map(([name, view]) => [parseClusterName(name), view]);
/** As plain maps: those of a view keep their entries where a comparison does not look. */
const content = (view: MeshView): object => ({
  self: view.self,
  services: new Map(view.services),
  clusters: new Map(view.clusters),
});

test('merge: the order of clusters and of records plays no part', () => {
  fc.assert(
    fc.property(someMesh, someRoster, (mesh, members) => {
      const forward: Partitions = new Map(named(mesh));
      const backward: Partitions = new Map(
        named(mesh)
          .toReversed()
          .map(([name, view]) => [name, { ...view, records: new Map([...view.records].toReversed()) }]),
      );
      const reversedRoster = { ...members, clusters: new Map([...members.clusters].toReversed()) };
      assert.deepEqual(
        content(merge({ self: west, partitions: backward, roster: reversedRoster })),
        content(merge({ self: west, partitions: forward, roster: members })),
      );
    }),
  );
});

test('merge: step by step gives the same as all at once', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(someMesh, someRoster), { minLength: 1, maxLength: 6 }), (steps) => {
      let view: MeshView | undefined;
      for (const [mesh, members] of steps) {
        const input = { self: west, partitions: new Map(named(mesh)), roster: members };
        view = merge({ ...input, ...(view && { previous: view }) });
        assert.deepEqual(content(view), content(merge(input)));
        assert.equal(merge({ ...input, previous: view }), view, 'merging again changes nothing');
      }
    }),
  );
});

test('changeOf: what a subscriber has to look at, however many views lie between, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(someMesh, someRoster), { minLength: 1, maxLength: 6 }), (steps) => {
      const views: MeshView[] = [];
      for (const [mesh, members] of steps) {
        const previous = views.at(-1);
        const input = { self: west, partitions: new Map(named(mesh)), roster: members };
        views.push(merge({ ...input, ...(previous && { previous }) }));
      }
      for (const before of [undefined, ...views]) {
        for (const after of views) {
          const services = new Map(before?.services ?? []);
          const clusters = new Map(before?.clusters ?? []);
          const change = changeOf(before, after);
          for (const { key, after: now } of change.services) {
            if (now) services.set(key, now);
            else services.delete(key);
          }
          for (const { key, after: now } of change.clusters) {
            if (now) clusters.set(key, now);
            else clusters.delete(key);
          }
          assert.deepEqual(services, new Map(after.services));
          assert.deepEqual(clusters, new Map(after.clusters));
          assert.ok(change.services.every((each) => each.before !== each.after));
        }
      }
    }),
  );
});

test('merge: a changed service costs the work on that service: no record of another is even looked at', () => {
  let looks = 0;
  const watched = (record: ExportRecord): ExportRecord =>
    new Proxy(record, {
      get(target, name) {
        looks += 1;
        return Reflect.get(target, name);
      },
    });
  const names = Array.from({ length: 2000 }, (_, index) => `shop/s${index}`);
  const records = SortedMap.from(
    names.map((name): [RecordKey, ClusterRecord] => [`export/${name}`, watched(exportOf(name))]),
  );
  const first = merge({ self: west, partitions: new Map([[east, partition(records)]]), roster });
  assert.ok(looks > names.length);
  looks = 0;
  const changed = records.with([['export/shop/s7', exportOf('shop/s7', { allow: 'policy' })]]);
  const second = merge({ self: west, partitions: new Map([[east, partition(changed)]]), roster, previous: first });
  assert.deepEqual(
    changeOf(first, second).services.map(({ key }) => key),
    ['shop/s7'],
  );
  assert.ok(looks < 50, `${looks} looks at records, those of the old s7 included`);
});

test('globCovers: stars stay within their part, a lone star covers all', () => {
  const cases: [string, string, boolean][] = [
    ['*', 'shop/web', true],
    ['shop/*', 'shop/web', true],
    ['*/web', 'shop/web', true],
    ['*/*', 'shop/web', true],
    ['shop/w*b', 'shop/web', true],
    ['shop/w*', 'shop/web', true],
    ['s*p/*e*', 'shop/web', true],
    ['shop', 'shop/web', false],
    ['shop/', 'shop/web', false],
    ['shop/we', 'shop/web', false],
    ['hop/*', 'shop/web', false],
    ['shop*', 'shop/web', false],
    ['', 'shop/web', false],
  ];
  for (const [glob, service, expected] of cases)
    assert.equal(globCovers(glob, parseServiceKey(service)), expected, glob);
  assert.equal(globCovers(`shop/${'a*'.repeat(60)}c`, parseServiceKey(`shop/${'a'.repeat(60)}b`)), false);
});

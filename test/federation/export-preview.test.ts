import assert from 'node:assert/strict';
import { test } from 'node:test';
import { previewExports } from '../../src/federation/export/preview.ts';
import { localServiceOf, type StaticService } from '../../src/federation/export/static-services.ts';
import { merge } from '../../src/federation/merge/merge.ts';
import type { ExportPreview } from '../../src/model/export-report.ts';
import type { ExportRecord } from '../../src/model/record.ts';
import { east, entryOf, exportOf, keyed, rosterOf, west } from './support/federation.ts';

const now = 1_800_000_000_000;

function service(name: string, change: Partial<StaticService> = {}): StaticService {
  return {
    service: name,
    ports: [{ port: 80, name: 'http' }],
    exported: true,
    allow: 'members',
    endpoints: [{ address: '127.0.0.1' }],
    ...change,
  };
}

function preview(
  local: readonly StaticService[],
  { own = [], exportable = ['*'] }: { own?: readonly ExportRecord[]; exportable?: readonly string[] } = {},
): ExportPreview {
  const partition = (records: readonly ExportRecord[]) =>
    ({ epoch: 1, revision: 1, records: keyed(...records), freshness: 'live', heardAt: 1 }) as const;
  const view = merge({
    self: west,
    partitions: new Map([
      [east, partition([exportOf('shop/web')])],
      [west, partition(own)],
    ]),
    roster: rosterOf(entryOf(east), entryOf(west, { exportable })),
  });
  const services = local.map(localServiceOf);
  return previewExports({
    view,
    own: keyed(...own),
    local: { synced: true, services: new Map(services.map((each) => [each.key, each])) },
    exportable,
    now,
  });
}

test('previewExports: an export that agrees with the others is in conflict with nobody', () => {
  assert.deepEqual(preview([service('shop/web'), service('shop/own'), service('shop/hidden', { exported: false })]), {
    cluster: 'west',
    ok: true,
    services: [
      { service: 'shop/own', action: 'export', allowed: true, exporters: ['west'], conflicts: [], newConflicts: [] },
      {
        service: 'shop/web',
        action: 'export',
        allowed: true,
        exporters: ['east', 'west'],
        conflicts: [],
        newConflicts: [],
      },
    ],
  });
});

test('previewExports: a conflict is told before it happens, with who wins', () => {
  const { ok, services } = preview([service('shop/web', { ports: [{ port: 8080, name: 'http' }] })]);
  assert.equal(ok, false);
  assert.deepEqual(
    services[0]?.conflicts.map(({ field, winner, losers }) => [field, winner, losers]),
    [
      ['ports', 'east', ['west']],
      ['ports[http]', 'east', ['west']],
    ],
  );
  assert.equal(services[0]?.newConflicts.length, 2);
});

test('previewExports: a conflict that is there already is not new; a withdrawal ends it', () => {
  const own = [exportOf('shop/web', { ports: [{ port: 81, protocol: 'TCP' }], createdAt: now })];
  const same = preview([service('shop/web', { ports: [{ port: 81 }] })], { own });
  assert.deepEqual([same.ok, same.services[0]?.action, same.services[0]?.newConflicts], [true, 'unchanged', []]);
  assert.equal(same.services[0]?.conflicts.length, 1);
  const gone = preview([], { own });
  assert.deepEqual([gone.services[0]?.action, gone.services[0]?.conflicts], ['withdraw', []]);
});

test('previewExports: what the authority does not allow is no exporter', () => {
  const { ok, services } = preview([service('shop/web', { ports: [{ port: 81 }] })], { exportable: ['bank/*'] });
  assert.equal(ok, false);
  assert.deepEqual([services[0]?.allowed, services[0]?.exporters, services[0]?.conflicts], [false, ['east'], []]);
});

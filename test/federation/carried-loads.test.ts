import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LoadBook } from '../../src/federation/carried-loads.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { RouteTable, ServiceRoute } from '../../src/model/route.ts';
import type { GatewayReport } from '../../src/wire/gateway-report.ts';

const west = parseClusterName('west');
const [one, two, three] = ['gw-1', 'gw-2', 'gw-3'].map(parseReplicaName);
assert.ok(one && two && three);

function table(...services: readonly (readonly [string, number | undefined])[]): RouteTable {
  const route = (name: string, spillAt: number | undefined): ServiceRoute => ({
    key: parseServiceKey(name),
    ports: [],
    exported: true,
    allow: 'members',
    targets: [],
    failover: { healthyThreshold: 0.7, holdMs: 0, returnOverMs: 0, ...(spillAt !== undefined && { spillAt }) },
    endpoints: [{ id: 'a', address: '127.0.0.1', ports: new Map(), ready: true }],
  });
  return {
    self: west,
    services: new Map(services.map(([name, at]) => [parseServiceKey(name), route(name, at)])),
    clusters: new Map(),
  };
}

function report(services: Readonly<Record<string, readonly number[]>>): GatewayReport {
  return {
    instance: parseReplicaName('any'),
    version: '0',
    ready: true,
    draining: false,
    tableDigest: '',
    links: [],
    services: Object.entries(services).map(([service, active]) => ({
      service: parseServiceKey(service),
      targets: [],
      endpoints: active.map((count, index) => ({ id: `${index}`, up: true, active: count })),
    })),
  };
}

const loads = (book: LoadBook, instance = one): Record<string, number> => Object.fromEntries(book.ofOthers(instance));

suite('LoadBook', () => {
  const spilling = table(['shop/web', 0.8], ['shop/cart', undefined]);

  test('each gateway is told the sum of what all others carry, without itself', () => {
    const book = new LoadBook();
    book.note(one, report({ 'shop/web': [1, 2] }), spilling);
    book.note(two, report({ 'shop/web': [10] }), spilling);
    book.note(three, report({ 'shop/web': [20, 20] }), spilling);
    assert.deepEqual(loads(book, one), { 'shop/web': 50 });
    assert.deepEqual(loads(book, two), { 'shop/web': 43 });
    book.note(two, report({ 'shop/web': [0] }), spilling);
    book.forget(three);
    assert.deepEqual(loads(book, one), {});
    assert.deepEqual(loads(book, two), { 'shop/web': 3 });
  });

  test('only services that load moves are told, by the table of the moment', () => {
    const book = new LoadBook();
    const full = report({ 'shop/web': [5], 'shop/cart': [7], 'shop/unknown': [9] });
    book.note(two, full, spilling);
    assert.deepEqual(loads(book), { 'shop/web': 5 });
    book.note(two, full, table(['shop/cart', 0.5]));
    assert.deepEqual(loads(book), { 'shop/cart': 7 });
    book.note(two, full, undefined);
    assert.deepEqual(loads(book), {});
  });
});

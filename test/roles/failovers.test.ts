import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import { FailoverBook } from '../../src/roles/agent/policy/failovers.ts';
import type { GatewayReport, MoveReport } from '../../src/wire/gateway-report.ts';

const web = parseServiceKey('shop/web');
const cart = parseServiceKey('shop/cart');
const east = parseClusterName('east');

function move(sequence: number, over: Partial<MoveReport> = {}): MoveReport {
  return {
    sequence,
    agoMs: 0,
    service: web,
    from: 'Active',
    to: 'Failover',
    shares: [{ cluster: east, share: 1 }],
    why: 'east: takes over',
    ...over,
  };
}

function said(
  name: string,
  ...moves: readonly MoveReport[]
): { readonly instance: ReturnType<typeof parseReplicaName>; readonly report: GatewayReport } {
  const instance = parseReplicaName(name);
  const report = {
    instance,
    version: '1',
    ready: true,
    draining: false,
    tableDigest: '',
    links: [],
    services: [],
    moves,
  };
  return { instance, report };
}

suite('FailoverBook', () => {
  test('keeps each move once, however often it is told, with the time at which it was', () => {
    const book = new FailoverBook();
    book.note([said('gw-0', move(7, { agoMs: 900 }), move(8, { agoMs: 500, from: 'Failover', to: 'Active' }))], 10_000);
    book.note(
      [said('gw-0', move(7, { agoMs: 1900 }), move(8, { agoMs: 1500, from: 'Failover', to: 'Active' }))],
      11_000,
    );
    assert.deepEqual(
      book.history(web, 12_000).map(({ agoMs, to, gateways }) => [agoMs, to, gateways]),
      [
        [2500, 'Active', ['gw-0']],
        [2900, 'Failover', ['gw-0']],
      ],
    );
  });

  test('what several gateways see alike within moments is one event, anything else another', () => {
    const book = new FailoverBook();
    book.note([said('gw-0', move(1)), said('gw-1', move(1, { agoMs: 40 }))], 10_000);
    book.note([said('gw-2', move(5, { shares: [], to: 'Down' }))], 10_000);
    book.note([said('gw-0', move(2))], 11_000);
    assert.deepEqual(
      book.history(undefined, 11_000).map(({ to, shares, gateways }) => [to, shares, gateways]),
      [
        ['Failover', 'east 100%', ['gw-0']],
        ['Failover', 'east 100%', ['gw-0', 'gw-1']],
        ['Down', 'nowhere', ['gw-2']],
      ],
    );
  });

  test('a gateway that was away, or was started again, is taken up where it left', () => {
    const book = new FailoverBook();
    book.note([said('gw-0', move(1))], 1000);
    book.note([], 2000);
    book.note([said('gw-0', move(1, { agoMs: 9000 }), move(2, { agoMs: 8000 }))], 10_000);
    assert.equal(book.history(web, 10_000).length, 2);
    book.note([said('gw-0', move(1_000_000))], 20_000);
    assert.equal(book.history(web, 20_000).length, 3);
  });

  test('is bounded per service, keeps services apart, and bears a gateway that tells nothing', () => {
    const book = new FailoverBook();
    const many = Array.from({ length: 200 }, (_, index) => move(index, { agoMs: (200 - index) * 10_000 }));
    book.note([said('gw-0', ...many), { instance: parseReplicaName('gw-9'), report: undefined }], 1e9);
    book.note([said('gw-1', move(1, { service: cart }))], 1e9);
    assert.equal(book.history(web, 1e9).length, 64);
    assert.equal(book.history(cart, 1e9).length, 1);
    assert.equal(book.history(undefined, 1e9).length, 65);
  });
});

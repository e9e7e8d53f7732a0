import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HeldTable, type TableUpdate } from '../../src/gateway/routes/held-table.ts';
import { parseClusterName } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { encodeServiceRoute, TableDigest } from '../../src/wire/route-table.ts';
import { serviceRoute } from './support/mesh.ts';

const self = parseClusterName('west');
const web = serviceRoute({ self: 'west', service: 'shop/web', local: [1001] });
const cart = serviceRoute({ self: 'west', service: 'shop/cart', local: [1002] });

function digestOf(routes: readonly ServiceRoute[]): string {
  const digest = new TableDigest();
  for (const route of routes) digest.setService(route.key, encodeServiceRoute(route));
  return digest.whole;
}

function update(change: Partial<TableUpdate>): TableUpdate {
  const nothing = { services: [], removedServices: [], clusters: [], removedClusters: [] };
  return { full: true, base: '', digest: '', ...nothing, ...change };
}

function full(...routes: readonly ServiceRoute[]): TableUpdate {
  return update({ digest: digestOf(routes), services: routes.map(encodeServiceRoute) });
}

describe('HeldTable', () => {
  it('takes a full table and then a change to it, sharing what did not change', () => {
    const held = HeldTable.empty(self).apply(full(web, cart));
    const moved = { ...cart, exported: false };
    const next = held.apply(
      update({
        full: false,
        base: held.digest,
        digest: digestOf([web, moved]),
        services: [encodeServiceRoute(moved)],
      }),
    );
    assert.equal(next.table.services.get(web.key), held.table.services.get(web.key));
    assert.equal(next.table.services.get(cart.key)?.exported, false);
    assert.equal(held.table.services.get(cart.key)?.exported, true, 'the table before is as it was');
    const less = next.apply(
      update({ full: false, base: next.digest, digest: digestOf([web]), removedServices: ['shop/cart'] }),
    );
    assert.deepEqual([...less.table.services.keys()], ['shop/web']);
  });

  it('shares unchanged routes also over a full table', () => {
    const held = HeldTable.empty(self).apply(full(web, cart));
    const next = held.apply(full(web));
    assert.equal(next.table.services.get(web.key), held.table.services.get(web.key));
  });

  const held = HeldTable.empty(self).apply(full(web));
  const bad: readonly [string, TableUpdate, string][] = [
    ['a change to another table', update({ full: false, base: 'other', digest: held.digest }), 'conflict'],
    ['a digest that is not its own', { ...full(web), digest: digestOf([cart]) }, 'corrupt'],
    ['a route that does not decode', { ...full(web), services: [Buffer.from('{"key":1}')] }, 'corrupt'],
    ['the removal of no name', update({ full: false, base: held.digest, removedServices: ['../x'] }), 'corrupt'],
  ];
  for (const [what, wrong, code] of bad) {
    it(`refuses ${what} and stays as it was`, () => {
      assert.throws(() => held.apply(wrong), { name: 'IsthmusError', code });
      assert.equal(held.digest, digestOf([web]));
    });
  }

  it('comes back from its file', () => {
    const back = HeldTable.decode(self, Buffer.from(held.encode()));
    assert.equal(back.digest, held.digest);
    assert.deepEqual(back.table, held.table);
  });

  it('refuses a file that is not whole, or not its own', () => {
    const text = held.encode();
    for (const [name, damaged] of [
      ['cut', text.slice(0, -20)],
      ['empty', ''],
      ['a changed port', text.replaceAll('1001', '1009')],
      ['of version 2', text.replace('"v":1', '"v":2')],
      ['null', 'null'],
    ] as const) {
      assert.throws(() => HeldTable.decode(self, Buffer.from(damaged)), { code: 'corrupt' }, name);
    }
    assert.throws(() => HeldTable.decode(parseClusterName('east'), Buffer.from(text)), /belongs to 'west'/);
  });
});

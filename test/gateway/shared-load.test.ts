import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServiceBook } from '../../src/gateway/balance/service-book.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { step } from '../../src/policy/shares.ts';
import { serviceRoute } from './support/mesh.ts';

/** What the other gateways of a cluster carry counts as load of its endpoints, as long as it is told. */
describe('ServiceBook, load that other gateways bring', () => {
  const west = parseClusterName('west');
  const base = serviceRoute({ self: 'west', local: [1], remote: ['east'] });
  const route = {
    ...base,
    targets: base.targets.map((target) => ({ ...target, rated: 10 })),
    failover: { ...base.failover, returnOverMs: 0, spillAt: 0.5 },
  };

  function start(of = route) {
    const rules = { probeInitialMs: 1000, probeMaxMs: 10_000 };
    const book = new ServiceBook({ self: west, step, rules, reach: () => 'up', onChange: () => undefined });
    book.setTable({ self: west, services: new Map([[of.key, of]]), clusters: new Map() }, 0);
    const entry = book.get(of.key);
    const endpoint = entry?.endpoints.get('127.0.0.1:1');
    assert.ok(entry && endpoint);
    return { book, entry, endpoint, stays: () => Math.round((entry.result.shares.get(west) ?? 0) * 100) };
  }

  it('is added to what it carries itself', () => {
    const { book, endpoint, stays } = start();
    endpoint.active = 4;
    book.refresh(10);
    assert.equal(stays(), 100);
    book.setSiblings(new Map([[route.key, 2]]), 20);
    // 6 of 10, from 5 on: (10 - 6) / (10 - 5).
    assert.equal(stays(), 80);
    endpoint.active = 0;
    book.refresh(30);
    assert.equal(stays(), 100);
  });

  it('is forgotten when it is not told again, and when it is told that there is none', () => {
    const { book, stays } = start();
    book.setSiblings(new Map([[route.key, 10]]), 0);
    assert.equal(stays(), 0);
    book.refresh(5000);
    assert.equal(stays(), 0);
    book.refresh(5001);
    assert.equal(stays(), 100);
    book.setSiblings(new Map([[route.key, 10]]), 6000);
    book.setSiblings(new Map(), 6001);
    assert.equal(stays(), 100);
  });

  it('says what it carries itself to whoever asks, and not what it sends elsewhere', () => {
    const { book, entry, endpoint } = start();
    endpoint.active = 3;
    entry.target(parseClusterName('east')).active = 7;
    book.setSiblings(new Map([[route.key, 10]]), 0);
    assert.equal(entry.carriedHere, 3);
  });

  it('of another cluster is what its gateways say, and at least what goes there from here', () => {
    const [east, south] = ['east', 'south'].map(parseClusterName);
    assert.ok(east && south);
    const targets = [east, south].map((cluster, tier) => ({ ...base.targets[0], cluster, tier, rated: 10 }));
    const { book, entry } = start({ ...route, targets: targets as typeof route.targets });
    const toEast = (now: number): number => {
      book.refresh(now);
      return Math.round((entry.result.shares.get(east) ?? 0) * 100);
    };
    entry.target(east).active = 6;
    assert.equal(toEast(10), 80, 'nothing was said');
    entry.target(east).load.note(parseReplicaName('gw0'), 8, 20);
    assert.equal(toEast(20), 40, 'others send there, too');
    assert.equal(toEast(10_020), 40);
    assert.equal(toEast(10_021), 80, 'what was said is old');
    entry.target(east).load.note(parseReplicaName('gw0'), 2, 10_100);
    assert.equal(toEast(10_100), 80, 'another gateway of it may carry the rest');
    entry.target(east).active = 0;
    assert.equal(toEast(10_200), 100);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { parseServiceKey } from '../../src/model/names.ts';
import type { PublishedPolicy } from '../../src/policy/policy.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { east, policy, published, south, web, west } from './support/federation.ts';

const federation = policy(
  'FederationPolicy',
  { failover: { hold: '1s', returnOver: '1s', spillAt: '50%' } },
  'default',
);
const namespace = policy('TrafficPolicy', { failover: { hold: '2s', returnOver: '2s' } }, 'all');
const service = policy('TrafficPolicy', { target: { service: 'web' }, failover: { hold: '3s' } });
const other = parseServiceKey('shop/cart');

suite('PolicySet', () => {
  test('the most specific wins field by field, whoever was first', () => {
    const set = new PolicySet([
      published(service, east, 3),
      published(federation, east, 1),
      published(namespace, east, 2),
    ]);
    const { fields } = set.stated(web);
    assert.deepEqual(
      [fields['failover.hold'], fields['failover.returnOver'], fields['failover.spillAt']],
      [3000, 2000, 0.5],
    );
    assert.equal(set.stated(other).fields['failover.hold'], 2000);
    assert.equal(set.stated(parseServiceKey('bank/ledger')).fields['failover.hold'], 1000);
  });

  test('each field knows its origin, and the losers know who won', () => {
    const set = new PolicySet([published(service), published(namespace)]);
    const { origins, overridden } = set.stated(web);
    assert.equal(origins.get('failover.hold')?.policy, service);
    assert.equal(origins.get('failover.returnOver')?.policy, namespace);
    assert.deepEqual(
      overridden.map((each) => [each.policy.policy, each.field, each.by.policy]),
      [[namespace, 'failover.hold', service]],
    );
  });

  test('of two policies for one target the older wins, then the publisher, then the name in order', () => {
    const hold = (seconds: number, name: string) =>
      policy('TrafficPolicy', { target: { service: 'web' }, failover: { hold: `${seconds}s` } }, name);
    const holdOf = (...policies: readonly PublishedPolicy[]) =>
      new PolicySet(policies).stated(web).fields['failover.hold'];
    assert.equal(holdOf(published(hold(1, 'a'), west, 5), published(hold(2, 'b'), east, 6)), 1000);
    assert.equal(holdOf(published(hold(1, 'a'), west, 5), published(hold(2, 'b'), east, 5)), 2000);
    assert.equal(holdOf(published(hold(1, 'b'), east, 5), published(hold(2, 'a'), east, 5)), 2000);
  });

  test('the order in which policies are known plays no part', () => {
    const all = [federation, namespace, service].flatMap((each, index) => [
      published(each, east, index),
      published(each, south, index),
    ]);
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
        assert.deepEqual(new PolicySet(shuffled).stated(web), new PolicySet(all).stated(web));
      }),
    );
  });

  test('services that no policy names share one answer', () => {
    const set = new PolicySet([published(namespace), published(service)]);
    assert.equal(set.stated(other), set.stated(parseServiceKey('shop/mail')));
    assert.notEqual(set.stated(web), set.stated(other));
    assert.equal(set.stated(web), set.stated(web));
  });
});

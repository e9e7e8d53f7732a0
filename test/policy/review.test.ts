import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ClusterName } from '../../src/model/names.ts';
import type { PolicyRecord } from '../../src/model/record.ts';
import { recordOf } from '../../src/policy/policy.ts';
import { inForceOf, type PolicyReview, reviewPolicies, type ReviewRules } from '../../src/policy/review.ts';
import { east, policy, south, web, west } from './support/federation.ts';

const hold = (seconds: number): PolicyRecord =>
  recordOf(policy('TrafficPolicy', { failover: { hold: `${seconds}s` } }), seconds, 1);
const access = recordOf(policy('AccessPolicy', { from: [{ clusters: ['east'] }] }), 1, 1);
const broken: PolicyRecord = { ...hold(9), spec: { failover: { hold: 'soon' } } };

function review(publisher: ClusterName, record: PolicyRecord, over: Partial<ReviewRules> = {}): PolicyReview {
  const rules = { self: west, mayPublish: (cluster: ClusterName) => cluster === east, before: new Map(), ...over };
  const [only] = reviewPolicies([{ publisher, record }], rules);
  assert.ok(only);
  return only;
}

suite('reviewPolicies', () => {
  test('a cluster that may publish publishes for all', () => {
    const { outcome, inForce } = review(east, hold(3));
    assert.equal(outcome, 'InForce');
    assert.deepEqual([inForce?.publisher, inForce?.revision, inForce?.createdAt], [east, 3, 1]);
  });

  test('a policy of a cluster that may not publish is ignored, and why is said', () => {
    const { outcome, message, inForce } = review(south, hold(3));
    assert.deepEqual([outcome, inForce], ['Ignored', undefined]);
    assert.match(message, /south may not publish policies for the federation \(mayPublishPolicy\)/);
  });

  test('any cluster says who may call what it exports itself, and nobody else', () => {
    assert.equal(review(west, access).outcome, 'InForce');
    const elsewhere = review(south, access);
    assert.deepEqual([elsewhere.outcome, elsewhere.inForce], ['Elsewhere', undefined]);
    assert.equal(review(south, access, { self: south }).outcome, 'InForce');
  });

  test('a rejected policy never replaces a good one', () => {
    const good = review(east, hold(3));
    const before = inForceOf([good]);
    const bad = review(east, broken, { before });
    assert.equal(bad.outcome, 'Rejected');
    assert.equal(bad.inForce, good.inForce);
    assert.match(bad.message, /spec\.failover\.hold: 'soon' must be a duration.*the version before it stays in force/);
    assert.equal(review(east, broken).inForce, undefined);
  });

  test('a policy that did not change is the same object', () => {
    const record = hold(3);
    const first = review(east, record);
    assert.equal(review(east, record, { before: inForceOf([first]) }).inForce, first.inForce);
  });

  test('a creation time later than the version is not believed', () => {
    assert.equal(review(east, { ...hold(3), createdAt: 99 }).inForce?.createdAt, 3);
  });

  test('reviews come in the order of publisher and name, whatever order records came in', () => {
    const sources = [
      { publisher: west, record: hold(1) },
      { publisher: east, record: access },
      { publisher: east, record: hold(1) },
    ];
    const rules: ReviewRules = { self: west, mayPublish: () => true, before: new Map() };
    const order = (of: typeof sources) =>
      reviewPolicies(of, rules).map((each) => `${each.publisher} ${each.record.type}`);
    assert.deepEqual(order(sources), order(sources.toReversed()));
    assert.equal(web, 'shop/web');
  });
});

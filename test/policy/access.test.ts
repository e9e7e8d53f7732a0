import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { AccessPlan, AccessVerdict, Caller } from '../../src/model/access.ts';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { judgeAccess } from '../../src/policy/access.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { east, policy, published, web, west } from './support/federation.ts';

const gateway = parseSpiffeId('spiffe://east.mesh.example/isthmus/gateway/gateway-0');
const shopWeb = parseSpiffeId('spiffe://east.mesh.example/ns/shop/sa/web');
const anonymous: Caller = { cluster: east, peer: gateway, identity: undefined, proof: 'none' };
const asserted: Caller = { cluster: east, peer: gateway, identity: shopWeb, proof: 'asserted' };
const proven: Caller = { cluster: east, peer: shopWeb, identity: shopWeb, proof: 'proven' };

function plan(specs: readonly object[], allow: 'members' | 'policy' = 'members'): AccessPlan | undefined {
  const policies = specs.map((spec, index) => published(policy('AccessPolicy', spec, `p${index}`), west));
  return new PolicySet(policies).access(web, allow);
}

function judge(
  access: AccessPlan | undefined,
  caller: Caller,
  port = 80,
  allow: 'members' | 'policy' = 'members',
): AccessVerdict {
  return judgeAccess({ route: { allow, ...(access && { access }) }, port, caller });
}

suite('judgeAccess', () => {
  test('without a policy the export decides', () => {
    assert.deepEqual(judge(undefined, anonymous), { decision: 'allowed', rule: 'allow: members' });
    assert.equal(judge(undefined, anonymous, 80, 'policy').decision, 'denied');
  });

  test('as soon as a policy targets the service, what none allows is denied', () => {
    const access = plan([{ from: [{ clusters: ['south'] }] }]);
    const verdict = judge(access, anonymous);
    assert.equal(verdict.decision, 'denied');
    assert.match(verdict.rule, /AccessPolicy shop\/p0 of west targets it, and no rule allows/);
  });

  test('a policy for another service of the namespace leaves this one alone', () => {
    assert.equal(plan([{ from: [{ clusters: ['south'] }], to: { services: ['cart'] } }]), undefined);
  });

  test('deny wins over allow, and is named', () => {
    const access = plan([{ from: [{ clusters: ['east'] }] }, { action: 'deny', from: [{ namespaces: ['shop'] }] }]);
    assert.deepEqual(judge(access, asserted), { decision: 'denied', rule: 'AccessPolicy shop/p1 of west' });
    assert.deepEqual(judge(access, anonymous), { decision: 'allowed', rule: 'AccessPolicy shop/p0 of west' });
  });

  const matches: readonly (readonly [string, object, Caller, boolean])[] = [
    ['a cluster', { clusters: ['east'] }, anonymous, true],
    ['another cluster', { clusters: ['west'] }, anonymous, false],
    ['a trust domain', { trustDomains: ['east.mesh.example'] }, anonymous, true],
    ['a trust domain that only ends like it', { trustDomains: ['mesh.example'] }, anonymous, false],
    ['a namespace', { namespaces: ['shop'] }, asserted, true],
    ['a namespace, of a caller without a name', { namespaces: ['shop'] }, anonymous, false],
    ['a service account', { serviceAccounts: ['shop/web'] }, asserted, true],
    ['a service account of another namespace', { serviceAccounts: ['bank/web'] }, asserted, false],
    ['an id', { ids: ['spiffe://east.mesh.example/ns/shop/sa/web'] }, asserted, true],
    ['ids below a path', { ids: ['spiffe://east.mesh.example/ns/shop/*'] }, asserted, true],
    [
      'ids below a path that is only a beginning of the name',
      { ids: ['spiffe://east.mesh.example/ns/sho/*'] },
      asserted,
      false,
    ],
    ['ids of a whole trust domain', { ids: ['spiffe://east.mesh.example/*'] }, asserted, true],
    ['an id without a wildcard is one id', { ids: ['spiffe://east.mesh.example/ns/shop'] }, asserted, false],
    ['an id, of a caller without a name', { ids: ['spiffe://east.mesh.example/*'] }, anonymous, false],
    ['proof by TLS', { proof: 'proven' }, proven, true],
    ['proof by TLS, of what a gateway says', { proof: 'proven' }, asserted, false],
    ['what a gateway says', { proof: 'asserted' }, asserted, true],
    ['everything at once', { clusters: ['east'], namespaces: ['shop'], proof: 'asserted' }, asserted, true],
    ['everything but one', { clusters: ['east'], namespaces: ['bank'], proof: 'asserted' }, asserted, false],
  ];
  for (const [what, from, caller, expected] of matches) {
    test(`${expected ? 'matches' : 'does not match'} ${what}`, () => {
      assert.equal(judge(plan([{ from: [from] }]), caller).decision, expected ? 'allowed' : 'denied');
      assert.equal(
        judge(plan([{ action: 'deny', from: [from] }, { action: 'allow' }]), caller).decision,
        expected ? 'denied' : 'allowed',
      );
    });
  }

  test('ports are part of a rule', () => {
    const access = plan([{ to: { ports: [80] } }]);
    assert.equal(judge(access, anonymous, 80).decision, 'allowed');
    assert.equal(judge(access, anonymous, 81).decision, 'denied');
  });

  test('audit decides nothing and says what it would', () => {
    const denying = plan([{ mode: 'audit', action: 'deny', from: [{ clusters: ['east'] }] }]);
    assert.deepEqual(judge(denying, anonymous), {
      decision: 'allowed',
      rule: 'allow: members; audit: would be denied by AccessPolicy shop/p0 of west',
    });
    const allowing = plan([{ mode: 'audit', from: [{ clusters: ['south'] }] }]);
    assert.match(judge(allowing, anonymous).rule, /^allow: members; audit: would be denied by no rule that allows$/);
    const agreeing = plan([{ mode: 'audit', from: [{ clusters: ['east'] }] }]);
    assert.equal(judge(agreeing, anonymous).rule, 'allow: members');
  });

  test('zero trust by one line: a federation that requires a policy denies what no policy allows', () => {
    const all = published(policy('FederationPolicy', { access: { requirePolicy: true } }, 'default'));
    const strict = new PolicySet([all]).access(web, 'members');
    assert.match(judge(strict, anonymous).rule, /FederationPolicy default of east requires a policy/);
    assert.equal(judge(strict, anonymous).decision, 'denied');
    const opened = new PolicySet([all, published(policy('AccessPolicy', { from: [{ clusters: ['east'] }] }))]);
    assert.equal(judge(opened.access(web, 'members'), anonymous).decision, 'allowed');
  });

  test('adding a deny rule never lets anybody in', () => {
    const from = fc.subarray([{ clusters: ['east'] }, { namespaces: ['shop'] }, { proof: 'proven' }], { minLength: 1 });
    const rule = fc.record({ action: fc.constantFrom('allow', 'deny'), from });
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 4 }),
        from,
        fc.constantFrom(anonymous, asserted, proven),
        (rules, denied, caller) => {
          const before = judge(plan(rules), caller).decision === 'allowed';
          const after = judge(plan([...rules, { action: 'deny', from: denied }]), caller).decision === 'allowed';
          assert.ok(before || !after);
        },
      ),
    );
  });
});

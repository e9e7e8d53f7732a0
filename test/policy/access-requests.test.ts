import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { AccessPlan, AccessVerdict, Caller } from '../../src/model/access.ts';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { judgeAccess, judgeRequest } from '../../src/policy/access.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { east, policy, published, web, west } from './support/federation.ts';

const gateway = parseSpiffeId('spiffe://east.mesh.example/isthmus/gateway/gateway-0');
const shopWeb = parseSpiffeId('spiffe://east.mesh.example/ns/shop/sa/web');
const anonymous: Caller = { cluster: east, peer: gateway, identity: undefined, proof: 'none' };
const asserted: Caller = { cluster: east, peer: gateway, identity: shopWeb, proof: 'asserted' };

function plan(...specs: readonly object[]): AccessPlan {
  const policies = specs.map((spec, index) => published(policy('AccessPolicy', spec, `p${index}`), west));
  const access = new PolicySet(policies).access(web, 'members');
  assert.ok(access);
  return access;
}

interface Asked {
  readonly caller?: Caller;
  readonly port?: number;
}

function connect(
  access: AccessPlan,
  seesRequests: boolean,
  { caller = anonymous, port = 80 }: Asked = {},
): AccessVerdict {
  return judgeAccess({ route: { allow: 'members', access }, port, caller, seesRequests });
}

function ask(access: AccessPlan, request: string, { caller = anonymous, port = 80 }: Asked = {}): AccessVerdict {
  const [method = '', target = ''] = request.split(' ');
  return judgeRequest({ route: { allow: 'members', access }, port, caller, method, target });
}

const reads = { to: { methods: ['GET', 'HEAD'], pathPrefixes: ['/api'] } };
const noAdmin = { action: 'deny', to: { pathPrefixes: ['/admin'] } };
const all = { action: 'allow' };

suite('judgeAccess with rules by request', () => {
  test('is left to the requests where they can be seen', () => {
    assert.deepEqual(connect(plan(reads), true), {
      decision: 'perRequest',
      rule: 'by request: AccessPolicy shop/p0 of west',
    });
    assert.deepEqual(connect(plan(all, noAdmin), true), {
      decision: 'perRequest',
      rule: 'by request: AccessPolicy shop/p1 of west',
    });
  });

  test('is safe where they cannot: such a rule allows nothing, and denies everything', () => {
    assert.equal(connect(plan(reads), false).decision, 'denied');
    assert.deepEqual(connect(plan(all, noAdmin), false), { decision: 'denied', rule: 'AccessPolicy shop/p1 of west' });
    assert.equal(
      judgeAccess({ route: { allow: 'members', access: plan(reads) }, port: 80, caller: anonymous }).decision,
      'denied',
    );
  });

  test('is decided at once where no request could change it', () => {
    assert.equal(connect(plan(all, reads), true).decision, 'allowed', 'a rule allows whatever is asked');
    const denied = plan(reads, { action: 'deny', from: [{ clusters: ['east'] }] });
    assert.deepEqual(connect(denied, true), { decision: 'denied', rule: 'AccessPolicy shop/p1 of west' });
    assert.equal(connect(plan(noAdmin), true).decision, 'denied', 'nothing allows');
    const others = plan({ ...reads, from: [{ clusters: ['south'] }] }, all);
    assert.equal(connect(others, true).rule, 'AccessPolicy shop/p1 of west', 'a rule for other callers');
    const port = plan({ action: 'deny', to: { ports: [81], pathPrefixes: ['/'] } }, all);
    assert.equal(connect(port, true, { port: 80 }).decision, 'allowed', 'a rule for another port');
  });

  test('a rule that is tried out has its requests looked at, and the connection made', () => {
    const tried = plan({ ...noAdmin, mode: 'audit' });
    assert.deepEqual(connect(tried, true), {
      decision: 'perRequest',
      rule: 'allow: members; audit: would be by request: AccessPolicy shop/p0 of west',
    });
    assert.deepEqual(ask(tried, 'GET /admin'), {
      decision: 'allowed',
      rule: 'allow: members; audit: would be denied by AccessPolicy shop/p0 of west',
    });
    assert.deepEqual(ask(tried, 'GET /'), { decision: 'allowed', rule: 'allow: members' });
    assert.equal(connect(tried, false).decision, 'allowed', 'audit never denies');
  });
});

suite('judgeRequest', () => {
  test('goes by method and path', () => {
    const access = plan(reads);
    assert.deepEqual(ask(access, 'GET /api/items?x=1'), { decision: 'allowed', rule: 'AccessPolicy shop/p0 of west' });
    assert.equal(ask(access, 'HEAD /api').decision, 'allowed');
    assert.equal(ask(access, 'POST /api').decision, 'denied');
    assert.equal(ask(access, 'GET /apis').decision, 'denied');
    assert.match(ask(access, 'GET /').rule, /targets it, and no rule allows/);
  });

  test('deny wins over allow, and is named', () => {
    const access = plan(all, noAdmin);
    assert.equal(ask(access, 'GET /adm').decision, 'allowed');
    assert.deepEqual(ask(access, 'GET /admin/x'), { decision: 'denied', rule: 'AccessPolicy shop/p1 of west' });
    assert.equal(ask(access, 'OPTIONS *').decision, 'allowed', 'it is about no resource');
  });

  test('a gRPC method is a path', () => {
    const access = plan({ to: { methods: ['POST'], pathPrefixes: ['/shop.Cart/AddItem', '/shop.Stock'] } });
    assert.equal(ask(access, 'POST /shop.Cart/AddItem').decision, 'allowed');
    assert.equal(ask(access, 'POST /shop.Cart/Clear').decision, 'denied');
    assert.equal(ask(access, 'POST /shop.Stock/List').decision, 'allowed');
  });

  test('who calls counts as for connections', () => {
    const access = plan({ ...reads, from: [{ serviceAccounts: ['shop/web'] }] });
    assert.equal(ask(access, 'GET /api', { caller: asserted }).decision, 'allowed');
    assert.equal(ask(access, 'GET /api', { caller: anonymous }).decision, 'denied');
  });

  const around = [
    '/public/../admin',
    '/public/%2e%2e/admin',
    '//admin',
    '/admin;x',
    '/public/..;/admin',
    '/%2561dmin',
    '/public%2f..%2fadmin',
    '/\\admin',
    '/admin%00',
    '/%c0%af/admin',
    'http://east/admin',
    '/admin%',
  ];
  for (const target of around) {
    test(`${target} is no way round a rule about /admin`, () => {
      const verdict = ask(plan(all, noAdmin), `GET ${target}`);
      assert.equal(verdict.decision, 'denied');
      assert.match(verdict.rule, /^AccessPolicy shop\/p1 of west: the path /);
    });
    test(`${target} is no way into a rule that allows what is public`, () => {
      assert.equal(ask(plan({ to: { pathPrefixes: ['/public', '/admin'] } }), `GET ${target}`).decision, 'denied');
    });
  }

  test('what cannot be read does not matter where no rule by path concerns the caller', () => {
    assert.equal(ask(plan(all), 'GET //x/../y').decision, 'allowed');
    assert.equal(ask(plan(all, reads), 'GET //x').decision, 'allowed', 'something else allows');
    const others = plan(all, { ...noAdmin, from: [{ clusters: ['south'] }] });
    assert.equal(ask(others, 'GET //x').decision, 'allowed');
    const posts = plan(all, { action: 'deny', to: { methods: ['POST'], pathPrefixes: ['/admin'] } });
    assert.equal(ask(posts, 'GET //admin').decision, 'allowed', 'the method decides already');
  });

  test('a method in lower case is no way round a rule by method', () => {
    const access = plan(all, { action: 'deny', to: { methods: ['DELETE'] } });
    assert.equal(ask(access, 'DELETE /').decision, 'denied');
    assert.match(ask(access, 'delete /').rule, /the method is not in upper case/);
    assert.equal(ask(access, 'Delete /').decision, 'denied');
    assert.equal(ask(plan(all), 'delete /').decision, 'allowed');
  });

  const from = fc.constantFrom(undefined, [{ clusters: ['east'] }], [{ namespaces: ['shop'] }]);
  const to = fc.record(
    {
      ports: fc.constantFrom([80], [81], [80, 81]),
      methods: fc.subarray(['GET', 'POST', 'DELETE'], { minLength: 1 }),
      pathPrefixes: fc.subarray(['/', '/a', '/a/b', '/b'], { minLength: 1 }),
    },
    { requiredKeys: [] },
  );
  const rule = fc
    .record({
      action: fc.constantFrom('allow', 'deny'),
      mode: fc.constantFrom('enforce', 'enforce', 'audit'),
      from,
      to,
    })
    .map(({ from: who, ...rest }) => ({ ...rest, ...(who && { from: who }) }));
  const rules = fc.array(rule, { minLength: 1, maxLength: 5 });
  const request = fc
    .tuple(
      fc.constantFrom('GET', 'POST', 'DELETE', 'get'),
      fc.constantFrom('/', '/a', '/a/b/c', '/ab', '/b/../a', '//a'),
    )
    .map(([method, target]) => `${method} ${target}`);
  const asked = fc.record({ caller: fc.constantFrom(anonymous, asserted), port: fc.constantFrom(80, 81) });

  test('what is decided for a connection is decided for every request on it', () => {
    fc.assert(
      fc.property(rules, request, asked, (specs, line, who) => {
        const access = plan(...specs);
        const first = connect(access, true, who).decision;
        const then = ask(access, line, who).decision;
        if (first !== 'perRequest') assert.equal(then, first);
      }),
      { numRuns: 500 },
    );
  });

  test('where requests are not seen, nothing is let in that some request would not be', () => {
    fc.assert(
      fc.property(rules, request, asked, (specs, line, who) => {
        const access = plan(...specs);
        if (connect(access, false, who).decision === 'allowed') {
          assert.equal(ask(access, line, who).decision, 'allowed');
        }
      }),
      { numRuns: 500 },
    );
  });

  test('adding a rule that denies never lets a request in', () => {
    fc.assert(
      fc.property(rules, rule, request, asked, (specs, added, line, who) => {
        const before = ask(plan(...specs, all), line, who).decision;
        const after = ask(plan(...specs, all, { ...added, action: 'deny' }), line, who).decision;
        assert.ok(before === 'allowed' || after === 'denied');
      }),
      { numRuns: 500 },
    );
  });
});

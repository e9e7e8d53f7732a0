import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSpiffeId, type SpiffeId } from '../../src/model/identity.ts';
import type { ExplainedRequest, Explanation } from '../../src/model/status.ts';
import { compile } from '../../src/policy/compile.ts';
import { PolicySet } from '../../src/policy/policy-set.ts';
import { explain } from '../../src/roles/agent/status/explain.ts';
import { east, inputOf, policy, published, web, west } from '../policy/support/federation.ts';

/** What explain says of policies, without any gateway: west asks for shop/web, which only east exports. */

interface Asked {
  readonly policies: readonly (readonly [kind: string, spec: object])[];
  readonly identity?: SpiffeId;
  readonly request?: ExplainedRequest;
  /** Whether the port says that it speaks HTTP. */
  readonly http?: boolean;
}

function ask({ policies, identity, request, http = true }: Asked): Explanation & { readonly text: string } {
  const set = new PolicySet(policies.map(([kind, spec], index) => published(policy(kind, spec, `p${index}`), east)));
  const members = [
    { name: west, endpoints: 0 },
    { name: east, endpoints: 2 },
  ];
  const input = inputOf(west, members, { policies: set });
  const compiled = compile(input);
  const route = compiled.services.get(web);
  assert.ok(route);
  const ports = route.ports.map(({ port, importPort }) => ({ port, importPort, ...(http && { name: 'http-web' }) }));
  const table = { ...compiled, services: new Map([[web, { ...route, ports }]]) };
  const facts = {
    self: west,
    now: 0,
    view: input.view,
    roster: undefined,
    table,
    tableDigest: '',
    gateways: [],
    policy: { input, policiesAt: () => set },
  };
  const found = explain(facts, { service: web, port: 80, identity, request });
  return { ...found, text: found.steps.map(({ title, detail }) => `${title}: ${detail}`).join('\n') };
}

const cart = parseSpiffeId('spiffe://west.mesh.example/ns/shop/sa/cart');
const reads = [
  'AccessPolicy',
  { from: [{ serviceAccounts: ['shop/cart'] }], to: { methods: ['GET'], pathPrefixes: ['/api'] } },
] as const;

suite('explain', () => {
  test('tells how connections and requests are carried, each value with its origin', () => {
    const { text } = ask({
      policies: [
        [
          'TrafficPolicy',
          { http: { timeout: '3s', retries: { on: ['connect', 503] } }, connection: { maxPending: 7 } },
        ],
        ['FederationPolicy', { loadBalancing: { algorithm: 'consistentHash', hash: { header: 'X-User' } } }],
      ],
    });
    assert.match(text, /^protocol: http, by its name http-web: each request has its own choice$/m);
    assert.match(
      text,
      /^loadBalancing: algorithm consistentHash, hash header x-user \(FederationPolicy p1 of east\); slowStart 5s \(configuration or default\)$/m,
    );
    assert.match(
      text,
      /^connection: raceAfter auto, maxConnections 4096 \(.*default\); maxPending 7 \(TrafficPolicy shop\/p0 of east\)$/m,
    );
    assert.match(text, /^outlier: consecutiveFailures 5, successRate auto, baseEjection 10s, maxEjected 50% \(/m);
    assert.match(
      text,
      /^http: timeout 3s, retries\.on connect, 503 \(TrafficPolicy shop\/p0 of east\); retries\.attempts 2, retries\.budget 20% \(/m,
    );
  });

  test('tells the same without a policy, and no http where the port is not', () => {
    const { text } = ask({ policies: [], http: false });
    assert.match(text, /^protocol: tcp, as nothing says otherwise: each connection has its choice$/m);
    assert.match(
      text,
      /^loadBalancing: algorithm leastRequest, hash sourceIP, slowStart 5s \(configuration or default\)$/m,
    );
    assert.doesNotMatch(text, /^http:/m);
  });

  test('says by which rule a request of a workload is allowed, or not', () => {
    const allowed = ask({ policies: [reads], identity: cart, request: { method: undefined, path: '/api/x' } });
    assert.match(
      text(allowed),
      /^spiffe:.*\/sa\/cart asking GET \/api\/x is allowed by AccessPolicy shop\/p0 of east$/,
    );
    assert.equal(allowed.ok, true);
    const method = ask({ policies: [reads], identity: cart, request: { method: 'POST', path: '/api/x' } });
    assert.match(text(method), /asking POST \/api\/x is denied by .* no rule allows$/);
    assert.equal(method.ok, false);
    const path = ask({ policies: [reads], identity: cart, request: { method: 'GET', path: '/x/../api' } });
    assert.match(text(path), /is denied by AccessPolicy shop\/p0 of east: the path has a dot segment$/);
    const other = ask({ policies: [reads], request: { method: 'GET', path: '/api/x' } });
    assert.match(text(other), /^an anonymous caller of west asking GET \/api\/x is denied/);
  });

  test('says that requests decide, when none is given', () => {
    const open = ask({ policies: [reads], identity: cart });
    assert.match(
      text(open),
      /is judged by request: AccessPolicy shop\/p0 of east; --method and --path say which request$/,
    );
    assert.equal(open.ok, true);
    assert.equal(open.verdict, 'a new connection goes to east 100%; east would judge each request');
  });

  test('where requests cannot be seen, says that nothing is allowed by them', () => {
    const blind = ask({ policies: [reads], identity: cart, request: { method: 'GET', path: '/api' }, http: false });
    assert.equal(blind.ok, false);
    assert.match(text(blind), /is denied by AccessPolicy shop\/p0 of east targets it, and no rule allows$/);
  });
});

function text({ steps }: Explanation): string {
  return steps.find(({ title }) => title === 'access east')?.detail ?? 'no step about access';
}

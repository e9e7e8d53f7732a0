import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { describeFaults, parsePolicy } from '../../src/policy/parse.ts';
import { documentOf, parsePolicyKey, type Policy, policyKey, policyKinds, recordOf } from '../../src/policy/policy.ts';

const apiVersion = 'isthmus.dev/v1alpha1';

function document(kind: string, spec: unknown, metadata: object = { name: 'web', namespace: 'shop' }): unknown {
  return { apiVersion, kind, metadata, spec };
}

function traffic(spec: unknown): unknown {
  return document('TrafficPolicy', spec);
}

function parsed(from: unknown): Policy {
  const result = parsePolicy(from);
  assert.ok(result.ok, result.ok ? '' : describeFaults(result.faults));
  return result.policy;
}

function faults(from: unknown): string {
  const result = parsePolicy(from);
  assert.ok(!result.ok, 'was accepted');
  return describeFaults(result.faults);
}

suite('parsePolicy', () => {
  test('reads every field of the example in the documentation', () => {
    const { name, body, notes } = parsed(
      traffic({
        target: { service: 'web' },
        locality: {
          preferLocal: true,
          tiers: [
            { match: { region: 'same' }, weight: 'byCapacity' },
            { match: { clusters: ['west', 'south'] }, weights: { west: 70, south: 30 } },
          ],
          fallback: 'any',
        },
        failover: { healthyThreshold: '70%', panicThreshold: '30%', hold: '30s', returnOver: '60s', spillAt: '80%' },
        placement: { require: { compliance: 'pci' } },
        loadBalancing: { algorithm: 'consistentHash', hash: 'sourceIP', slowStart: '5s' },
        connection: {
          connectTimeout: '2s',
          raceAfter: 'auto',
          maxConnections: 4096,
          maxPending: 1024,
          idleTimeout: '1h',
        },
        outlier: { consecutiveFailures: 5, successRate: 'auto', baseEjection: '10s', maxEjected: '50%' },
        http: { timeout: '15s', retries: { attempts: 2, on: ['connect', 'reset', 502], perTry: '3s', budget: '20%' } },
      }),
    );
    assert.deepEqual(name, { kind: 'TrafficPolicy', namespace: 'shop', name: 'web' });
    assert.ok(body.kind === 'TrafficPolicy');
    assert.equal(body.service, 'shop/web');
    assert.equal(body.fields['failover.spillAt'], 0.8);
    assert.equal(body.fields['failover.hold'], 30_000);
    assert.deepEqual(body.fields['locality.tiers']?.[1]?.weights, new Map(Object.entries({ west: 70, south: 30 })));
    assert.deepEqual(body.fields['http.retries.on'], ['connect', 'reset', 502]);
    assert.equal(body.fields['http.retries.perTry'], 3000);
    assert.equal(body.fields['connection.raceAfter'], 'auto');
    assert.deepEqual(notes, []);
  });

  test('a FederationPolicy is for all: it may ask for zero trust, it has no namespace', () => {
    const { body, name } = parsed(
      document('FederationPolicy', { access: { requirePolicy: true } }, { name: 'default' }),
    );
    assert.deepEqual(body, { kind: 'FederationPolicy', service: undefined, fields: { 'access.requirePolicy': true } });
    assert.equal(policyKey(name), 'FederationPolicy/-/default');
    assert.match(faults(document('FederationPolicy', {})), /metadata\.namespace: must not be there/);
  });

  test('an AccessPolicy says who may call what', () => {
    const { body } = parsed(
      document('AccessPolicy', {
        action: 'deny',
        mode: 'audit',
        from: [
          { clusters: ['east'], namespaces: ['shop'] },
          { ids: ['spiffe://east.mesh.example/ns/shop/*'], proof: 'proven' },
        ],
        to: { services: ['web', 'cart'], ports: [80] },
      }),
    );
    assert.ok(body.kind === 'AccessPolicy');
    assert.equal(body.action, 'deny');
    assert.equal(body.audit, true);
    assert.deepEqual([...(body.services ?? [])], ['shop/web', 'shop/cart']);
    assert.deepEqual(body.ports, [80]);
    assert.equal(body.from?.length, 2);
  });

  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    [
      'an unknown field',
      traffic({ failover: { holdd: '3s' } }),
      /^spec\.failover\.holdd: unknown key; did you mean 'hold'\?$/,
    ],
    [
      'a misspelt section',
      traffic({ placment: { require: { a: 'b' } } }),
      /^spec\.placment: unknown key; did you mean 'placement'\?$/,
    ],
    [
      'a threshold above 100%',
      traffic({ failover: { healthyThreshold: '170%' } }),
      /healthyThreshold: '170%' must be a share such as '70%', from 0% to 100%/,
    ],
    [
      'a panic threshold above the healthy one',
      traffic({ failover: { healthyThreshold: '50%', panicThreshold: '60%' } }),
      /panicThreshold: must not be above healthyThreshold, which is 50%: current value is 60%/,
    ],
    [
      'a number for a duration',
      traffic({ failover: { hold: 5 } }),
      /spec\.failover\.hold: '5' must be a duration such as/,
    ],
    ['spillAt of nothing', traffic({ failover: { spillAt: '0%' } }), /spillAt: '0%' must be a share/],
    [
      'weights that send nothing anywhere',
      traffic({ locality: { tiers: [{ match: { clusters: ['west'] }, weights: { west: 0 } }] } }),
      /at least one cluster a weight above 0/,
    ],
    [
      'a negative weight',
      traffic({ locality: { tiers: [{ match: { clusters: ['west'] }, weights: { west: -1 } }] } }),
      /weights\.west: '-1' must be a whole number from 0/,
    ],
    [
      'a weight for a cluster that the tier does not match',
      traffic({ locality: { tiers: [{ match: { clusters: ['west'] }, weights: { west: 1, east: 1 } }] } }),
      /weights\.east: '1' must be of clusters that the tier matches \(west\)/,
    ],
    [
      'weights beside byCapacity',
      traffic({ locality: { tiers: [{ match: { clusters: ['west'] }, weight: 'byCapacity', weights: { west: 1 } }] } }),
      /must not stand beside 'weight: byCapacity'/,
    ],
    [
      'one cluster in two tiers',
      traffic({ locality: { tiers: [{ match: { clusters: ['west'] } }, { match: { clusters: ['west'] } }] } }),
      /must be in one tier: 'west' is in tiers\[0\] already/,
    ],
    [
      'a tier of nobody',
      traffic({ locality: { tiers: [{ match: {} }] } }),
      /tiers\[0\]\.match: .*must say which clusters/,
    ],
    ['a placement without labels', traffic({ placement: { require: {} } }), /must name at least one label/],
    ['no namespace', document('TrafficPolicy', {}, { name: 'web' }), /metadata\.namespace: is required/],
    ['no such kind', document('TraficPolicy', {}), /kind: 'TraficPolicy' must be 'TrafficPolicy' or/],
    [
      'another version',
      { ...(traffic({}) as object), apiVersion: 'v1' },
      /apiVersion: 'v1' must be 'isthmus\.dev\/v1alpha1'/,
    ],
    ['a key beside spec', { ...(traffic({}) as object), sepc: {} }, /sepc: unknown key/],
    ['access in a TrafficPolicy', traffic({ access: { requirePolicy: true } }), /spec\.access: unknown key/],
    [
      'a method in lower case',
      document('AccessPolicy', { to: { methods: ['get'] } }),
      /spec\.to\.methods\[0\]: 'get' must be a method in upper case, such as 'GET'/,
    ],
    [
      'a path with a wildcard',
      document('AccessPolicy', { to: { pathPrefixes: ['/api/*'] } }),
      /spec\.to\.pathPrefixes\[0\]: '\/api\/\*' must be the beginning of a path.* and it has a '\*': a prefix is for all below/,
    ],
    [
      'a path that servers read differently',
      document('AccessPolicy', { to: { pathPrefixes: ['/api/../admin'] } }),
      /'\/api\/\.\.\/admin' must be .* and it has a dot segment/,
    ],
    [
      'a path that ends in a slash',
      document('AccessPolicy', { to: { pathPrefixes: ['/api/'] } }),
      /'\/api\/' must be .* and it ends in '\/'/,
    ],
    [
      'a try longer than the request',
      traffic({ http: { timeout: '1s', retries: { perTry: '2s' } } }),
      /spec\.http\.retries\.perTry: must not be above http\.timeout, which is 1s: current value is 2s/,
    ],
    [
      'a retry on what is no failure',
      traffic({ http: { retries: { on: ['connect', 404] } } }),
      /spec\.http\.retries\.on\[1\]: '404' must be 'connect', 'reset', a status from 500 to 599/,
    ],
    [
      'a hash by two things',
      traffic({ loadBalancing: { hash: { header: 'a', cookie: 'b' } } }),
      /spec\.loadBalancing\.hash: .*must be 'sourceIP', or one of header and cookie/,
    ],
    [
      'a caller that is nobody in particular',
      document('AccessPolicy', { from: [{}] }),
      /spec\.from\[0\]: .*must say who/,
    ],
    [
      'an id with a wildcard inside',
      document('AccessPolicy', { from: [{ ids: ['spiffe://a/*/b'] }] }),
      /current value is 'spiffe:\/\/a\/\*\/b'/,
    ],
    [
      'a port that is none',
      document('AccessPolicy', { to: { ports: [0] } }),
      /ports\[0\]: '0' must be a whole number from 1 to 65535/,
    ],
    ['nothing', undefined, /is required/],
  ];
  for (const [what, from, expected] of wrong) {
    test(`refuses ${what}, with path, value and what would be right`, () => assert.match(faults(from), expected));
  }

  test('reports everything that is wrong at once', () => {
    const text = faults(traffic({ failover: { hold: 5, healthyThreshold: 2 }, nonsense: 1 }));
    assert.equal(text.split('; spec.').length, 3);
  });

  test('never throws, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.anything({ withNullPrototype: true, maxDepth: 4 }),
        fc.constantFrom(...policyKinds),
        (junk, kind) => {
          parsePolicy(junk);
          parsePolicy(document(kind, junk));
          parsePolicy(traffic({ locality: junk, failover: junk, placement: junk }));
          parsePolicy(document('AccessPolicy', { from: junk, to: junk }));
        },
      ),
      { numRuns: 300 },
    );
  });
});

suite('names and records', () => {
  test('a policy goes through its record unchanged', () => {
    const policy = parsed(traffic({ failover: { hold: '1s' } }));
    const record = recordOf(policy, 7, 5);
    assert.deepEqual(
      [record.type, record.namespace, record.name, record.issuedAt, record.createdAt],
      ['TrafficPolicy', 'shop', 'web', 7, 5],
    );
    assert.deepEqual(parsed(documentOf(record)), policy);
  });

  test('parsePolicyKey reads what policyKey writes and nothing else', () => {
    for (const key of ['TrafficPolicy/shop/web', 'AccessPolicy/shop/web', 'FederationPolicy/-/default']) {
      assert.equal(policyKey(parsePolicyKey(key)), key);
    }
    for (const key of [
      '',
      'web',
      'TrafficPolicy/-/web',
      'FederationPolicy/shop/web',
      'X/a/b',
      'TrafficPolicy/shop/web/x',
      'TrafficPolicy/shop/W',
    ]) {
      assert.throws(() => parsePolicyKey(key), { code: 'invalid' }, key);
    }
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { readDocument } from '../../src/config/document.ts';
import { parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { decodeServiceRoute, encodeServiceRoute } from '../../src/wire/route-table.ts';

function parsed(policy: string): ReturnType<typeof parseAgentConfig> {
  const text = [
    'stateDir: state',
    'cluster: east',
    'hub: { url: memory }',
    'listen: { grpc: "127.0.0.1:1" }',
    `policy: ${policy}`,
  ].join('\n');
  return parseAgentConfig(readDocument('agent.yaml', text), (path) => `/${path}`);
}

describe('policy of an agent', () => {
  test('says how connections are carried, with the names and defaults of a TrafficPolicy', () => {
    const result = parsed(
      '{ loadBalancing: { algorithm: consistentHash }, connection: { raceAfter: auto, connectTimeout: 1s }, outlier: {} }',
    );
    assert.ok(result.ok, JSON.stringify(result));
    const { loadBalancing, connection, outlier } = result.value.policy;
    assert.deepEqual(loadBalancing, { algorithm: 'consistentHash', slowStartMs: 5000 });
    assert.deepEqual(connection, { connectTimeoutMs: 1000, maxConnections: 4096, maxPending: 1024 });
    assert.deepEqual(outlier, {
      consecutiveFailures: 5,
      successRate: 'auto',
      baseEjectionMs: 10_000,
      maxEjected: 0.5,
    });
  });

  test('refuses what cannot be, saying what would be right', () => {
    const bad = [
      ['{ loadBalancing: { algorithm: leastConn } }', /'leastRequest' or 'roundRobin' or 'random' or 'consistentHash'/],
      ['{ connection: { raceAfter: soon } }', /'auto' .*or a duration such as '250ms'/],
      ['{ outlier: { maxEjected: 150% } }', /a share such as '70%'/],
      ['{ outlier: { consecutiveFailure: 5 } }', /did you mean 'consecutiveFailures'/],
    ] as const;
    for (const [policy, expected] of bad) {
      const result = parsed(policy);
      assert.ok(!result.ok, policy);
      assert.match(result.problems[0]?.message ?? '', expected);
    }
  });

  test('reaches gateways in their routes', () => {
    const result = parsed('{ loadBalancing: {}, connection: { idleTimeout: 1m, raceAfter: 50ms }, outlier: {} }');
    assert.ok(result.ok);
    const { loadBalancing, connection, outlier, failover } = result.value.policy;
    const route: ServiceRoute = {
      key: parseServiceKey('shop/web'),
      ports: [{ port: 80, importPort: undefined }],
      exported: false,
      allow: 'members',
      targets: [{ cluster: parseClusterName('east'), tier: 0, capacity: 1, health: 1, ports: [80], stale: false }],
      failover,
      endpoints: [],
      ...(loadBalancing && { loadBalancing }),
      ...(connection && { connection }),
      ...(outlier && { outlier }),
    };
    assert.deepEqual(decodeServiceRoute(encodeServiceRoute(route)), route);
    assert.ok(loadBalancing && connection && outlier);
  });
});

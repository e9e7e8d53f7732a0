import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { ClusterRoute, ServiceRoute } from '../../src/model/route.ts';
import {
  decodeClusterRoute,
  decodeServiceRoute,
  emptyTable,
  encodeClusterRoute,
  encodeServiceRoute,
  TableDigest,
} from '../../src/wire/route-table.ts';
import { domainOf } from '../federation/support/seals.ts';

const east = parseClusterName('east');

const service: ServiceRoute = {
  key: parseServiceKey('shop/web'),
  ports: [
    { port: 80, name: 'http', appProtocol: 'http', importPort: 20_000 },
    { port: 81, importPort: undefined },
  ],
  exported: true,
  allow: 'members',
  targets: [{ cluster: east, tier: 0, capacity: 2, health: 1, ports: [80], stale: false }],
  failover: { holdMs: 1000, returnOverMs: 3000, healthyThreshold: 0.7 },
  endpoints: [{ id: 'a', address: '127.0.0.1', ports: new Map([[80, 8080]]), ready: true }],
};

const cluster: ClusterRoute = {
  name: east,
  trustDomain: domainOf('east'),
  gateways: [{ instance: parseReplicaName('gw-0'), address: '127.0.0.1', port: 15_008 }],
};

test('routes come back as they were', () => {
  assert.deepEqual(decodeServiceRoute(encodeServiceRoute(service)), service);
  assert.deepEqual(decodeClusterRoute(encodeClusterRoute(cluster)), cluster);
});

test('routes: encoding what was decoded gives the same bytes, so both ends agree on digests', () => {
  const bytes = encodeServiceRoute(service);
  assert.deepEqual(encodeServiceRoute(decodeServiceRoute(bytes)), bytes);
  const { key, ...rest } = service;
  assert.deepEqual(encodeServiceRoute({ ...rest, key }), bytes);
});

test('routes: any bytes are decoded or corrupt', () => {
  const good = Buffer.from(encodeServiceRoute(service));
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      try {
        decodeServiceRoute(bytes);
      } catch (thrown) {
        assert.equal((thrown as { code?: string }).code, 'corrupt');
      }
    }),
  );
  for (const bytes of [Buffer.alloc(0), Buffer.from('{}'), Buffer.from('null'), Buffer.alloc((1 << 20) + 1)]) {
    assert.throws(() => decodeServiceRoute(bytes), { code: 'corrupt' });
    assert.throws(() => decodeClusterRoute(bytes), { code: 'corrupt' });
  }
});

test('TableDigest: follows parts as they come and go', () => {
  const digest = new TableDigest();
  const empty = digest.whole;
  digest.setService('shop/web', encodeServiceRoute(service));
  const withService = digest.whole;
  digest.setCluster('shop/web', encodeServiceRoute(service));
  assert.notEqual(digest.whole, withService, 'a cluster of that name is something else');
  digest.removeCluster('shop/web');
  assert.equal(digest.whole, withService);
  digest.removeService('shop/web');
  assert.equal(digest.whole, empty);
  assert.equal(emptyTable(east).services.size, 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import {
  decodeAdvert,
  decodeReport,
  encodeAdvert,
  type GatewayReport,
  ReportEncoder,
  type ServiceReport,
} from '../../src/wire/gateway-report.ts';

const east = parseClusterName('east');
const instance = parseReplicaName('gw-0');

const report: GatewayReport = {
  instance,
  version: '0.1.0',
  ready: true,
  draining: false,
  svidNotAfter: 5,
  tableDigest: 'ab',
  links: [{ cluster: east, instance, address: '127.0.0.1:15008', up: true, rttP50Ms: 0.4, loss: 0, forMs: 10 }],
  services: [
    {
      service: parseServiceKey('shop/web'),
      targets: [
        { cluster: east, share: 1, why: 'tier 0', reachable: true, health: 1, connections: 3, failures: 0, active: 1 },
      ],
      endpoints: [{ id: 'a', up: false, active: 0, reason: 'refused' }],
    },
  ],
};

test('reports and adverts come back as they were', () => {
  assert.deepEqual(decodeReport(new ReportEncoder().encode(report)), report);
  const advert = {
    addresses: [{ address: '::1', port: 15_008, kind: 'balanced' as const, instances: 3 }],
    version: '1',
  };
  assert.deepEqual(decodeAdvert(encodeAdvert(advert)), advert);
});

test('decodeAdvert: an address alone is one instance', () => {
  const decoded = decodeAdvert(Buffer.from('{"addresses":[{"address":"10.0.0.1","port":1}],"version":"1"}'));
  assert.deepEqual(decoded.addresses, [{ address: '10.0.0.1', port: 1, kind: 'instance', instances: 1 }]);
});

test('decodeReport: names the place of what is wrong', () => {
  const text = Buffer.from(new ReportEncoder().encode(report)).toString().replace('"loss":0', '"loss":2');
  assert.throws(() => decodeReport(Buffer.from(text)), { code: 'corrupt', message: /at links\.0\.loss/ });
  assert.throws(() => decodeReport(Buffer.alloc(5 << 20)), { code: 'corrupt', message: /over the limit/ });
});

test('any bytes: corrupt, never anything else', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        assert.throws(() => decodeReport(bytes), { code: 'corrupt' });
        assert.throws(() => decodeAdvert(bytes), { code: 'corrupt' });
      },
    ),
  );
});

/** As a gateway with so many services tells of them; each in five clusters. */
function serviceOf(index: number, active = 0): ServiceReport {
  const target = {
    share: 0.2,
    why: 'by capacity; data stale',
    reachable: true,
    health: 1,
    connections: 0,
    failures: 0,
  };
  return {
    service: parseServiceKey(`namespace-${index % 100}/service-${index}`),
    targets: Array.from({ length: 5 }, (_, each) => ({
      cluster: parseClusterName(`cluster-${each}`),
      ...target,
      active: each === 0 ? active : 0,
    })),
    endpoints: [],
  };
}

test('ReportEncoder: 10,000 services in five clusters stay far below what an agent takes, and all are told of', () => {
  const services = Array.from({ length: 10_000 }, (_, index) => serviceOf(index));
  const encoder = new ReportEncoder();
  const told = new Set<string>();
  let rounds = 0;
  for (; told.size < services.length && rounds < 20; rounds += 1) {
    const bytes = encoder.encode({ ...report, services });
    assert.ok(bytes.length < 1.1 * (1 << 20), `${bytes.length} bytes`);
    const decoded = decodeReport(bytes);
    assert.equal(decoded.omitted, services.length - decoded.services.length);
    for (const { service } of decoded.services) told.add(service);
  }
  assert.equal(told.size, services.length, `${told.size} after ${rounds} reports`);
});

test('ReportEncoder: what something is going on with is told of in every report, as far as it fits', () => {
  const quiet = Array.from({ length: 200 }, (_, index) => serviceOf(index));
  const services = [...quiet, serviceOf(500, 7), { ...serviceOf(501), problem: 'the import port is in use' }];
  const encoder = new ReportEncoder(20_000);
  for (let round = 0; round < 5; round += 1) {
    const decoded = decodeReport(encoder.encode({ ...report, services }));
    const names = decoded.services.map(({ service }) => service);
    assert.deepEqual(names.slice(0, 2), ['namespace-0/service-500', 'namespace-1/service-501']);
    assert.ok(names.length > 10 && (decoded.omitted ?? 0) > 100);
  }
});

test('ReportEncoder: when everything is busy each has its turn; one that fits nowhere is left out alone', () => {
  const services = Array.from({ length: 100 }, (_, index) => serviceOf(index, 1));
  const endpoints = Array.from({ length: 1000 }, (_, index) => ({ id: `${index}`, up: true, active: 1 }));
  const huge = { ...serviceOf(1000, 1), endpoints };
  const encoder = new ReportEncoder(20_000);
  const told = new Set<string>();
  for (let round = 0; round < 20; round += 1) {
    for (const { service } of decodeReport(encoder.encode({ ...report, services: [huge, ...services] })).services) {
      told.add(service);
    }
  }
  assert.deepEqual(
    services.filter(({ service }) => !told.has(service)),
    [],
  );
  assert.ok(!told.has(huge.service));
});

test('ReportEncoder: nothing is left out where all fits', () => {
  const services = Array.from({ length: 100 }, (_, index) => serviceOf(index, index % 2));
  const decoded = decodeReport(new ReportEncoder().encode({ ...report, services }));
  assert.equal(decoded.omitted, undefined);
  assert.equal(decoded.services.length, 100);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import {
  decodeAdvert,
  decodeReport,
  encodeAdvert,
  encodeReport,
  type GatewayReport,
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
  assert.deepEqual(decodeReport(encodeReport(report)), report);
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
  const text = Buffer.from(encodeReport(report)).toString().replace('"loss":0', '"loss":2');
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

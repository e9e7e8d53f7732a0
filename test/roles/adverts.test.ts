import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseReplicaName } from '../../src/model/names.ts';
import type { GatewayRecord } from '../../src/model/record.ts';
import { GatewayAdverts, gatewayGraceMs } from '../../src/roles/agent/adverts.ts';

const instance = parseReplicaName('gw-0');

function advert(port: number): GatewayRecord {
  const addresses = [{ address: '127.0.0.1', port, kind: 'instance' as const, instances: 1 }];
  return { kind: 'gateway', instance, addresses, reachable: true, draining: false, version: '1' };
}

suite('GatewayAdverts', () => {
  test('a gateway that restarts is no news', () => {
    const adverts = new GatewayAdverts();
    adverts.note([advert(1)], 0);
    adverts.note([], gatewayGraceMs - 1);
    assert.deepEqual(adverts.records, [advert(1)]);
    assert.equal(adverts.hasMissing(new Set()), true);
    adverts.note([advert(2)], gatewayGraceMs);
    assert.deepEqual(adverts.records, [advert(2)]);
    assert.equal(adverts.hasMissing(new Set([instance])), false);
  });

  test('one that stays away is withdrawn', () => {
    const adverts = new GatewayAdverts();
    adverts.note([advert(1)], 0);
    adverts.note([], gatewayGraceMs);
    assert.deepEqual(adverts.records, []);
  });
});

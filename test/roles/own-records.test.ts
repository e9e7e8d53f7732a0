import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type ClusterName, parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { LinkRecord } from '../../src/model/record.ts';
import { bucketOfRtt, linkRecords } from '../../src/roles/agent/own-records.ts';
import type { GatewayReport, LinkReport } from '../../src/wire/gateway-report.ts';

const east = parseClusterName('east');

function link(over: Partial<LinkReport>): LinkReport {
  return {
    cluster: east,
    instance: parseReplicaName('gw-0'),
    address: '127.0.0.1:15008',
    up: true,
    loss: 0,
    forMs: 0,
    ...over,
  };
}

function report(...links: LinkReport[]): GatewayReport {
  const instance = parseReplicaName('gw-0');
  return { instance, version: '0.1.0', ready: true, draining: false, tableDigest: '', links, services: [] };
}

const before = (record: Partial<LinkRecord>): ReadonlyMap<ClusterName, LinkRecord> =>
  new Map([[east, { kind: 'link', to: east, up: true, since: 5, ...record }]]);

suite('bucketOfRtt', () => {
  test('rounds up to 1, 2, 5 times a power of ten', () => {
    const cases: [number, number][] = [
      [0, 1],
      [0.3, 1],
      [1.1, 2],
      [2, 2],
      [2.1, 5],
      [7, 10],
      [11, 20],
      [99, 100],
      [101, 200],
    ];
    for (const [rtt, bucket] of cases) assert.equal(bucketOfRtt(rtt), bucket, `${rtt}`);
    assert.equal(bucketOfRtt(Number.NaN), 1);
  });
});

suite('linkRecords', () => {
  test('a link is up when one gateway gets through, and says the best RTT', () => {
    const records = linkRecords(
      [report(link({ up: false, reason: 'refused' })), report(link({ rttP50Ms: 12 }))],
      new Map(),
      9,
    );
    assert.deepEqual(records, [{ kind: 'link', to: east, up: true, rttMs: 20, since: 9 }]);
  });

  test('keeps since while nothing changes, and gives a reason when down', () => {
    assert.equal(linkRecords([report(link({}))], before({ up: true }), 9)[0]?.since, 5);
    const [down] = linkRecords([report(link({ up: false, reason: 'timeout' }))], before({ up: true }), 9);
    assert.deepEqual([down?.since, down?.reason, down?.rttMs], [9, 'timeout', undefined]);
  });

  test('a value that wavers around an edge does not change the record', () => {
    const rtts = [2.0, 2.1, 1.9, 2.3].map(
      (rttP50Ms) => linkRecords([report(link({ rttP50Ms }))], before({ rttMs: 2 }), 9)[0]?.rttMs,
    );
    assert.deepEqual(rtts, [2, 2, 2, 2]);
    assert.equal(linkRecords([report(link({ rttP50Ms: 4 }))], before({ rttMs: 2 }), 9)[0]?.rttMs, 5);
    assert.equal(linkRecords([report(link({ rttP50Ms: 0.5 }))], before({ rttMs: 2 }), 9)[0]?.rttMs, 1);
  });
});

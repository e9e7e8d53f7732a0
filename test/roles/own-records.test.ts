import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type ClusterName, parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { LinkRecord } from '../../src/model/record.ts';
import { bucketOfRtt, linksOf, type SaidLink } from '../../src/roles/agent/own-records.ts';
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

function said(record: Partial<LinkRecord>, at = 5): ReadonlyMap<ClusterName, SaidLink> {
  return new Map([[east, { record: { kind: 'link', to: east, up: true, since: 5, ...record }, at }]]);
}

function recordOf(links: ReadonlyMap<ClusterName, SaidLink>): LinkRecord | undefined {
  return links.get(east)?.record;
}

/** Long after the last word. */
const later = 60_000;

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

suite('linksOf', () => {
  test('a link is up when one gateway gets through, and says the best RTT', () => {
    const links = linksOf(
      [report(link({ up: false, reason: 'refused' })), report(link({ rttP50Ms: 12 }))],
      new Map(),
      9,
    );
    assert.deepEqual(recordOf(links), { kind: 'link', to: east, up: true, rttMs: 20, since: 9 });
  });

  test('keeps since while nothing changes, and gives a reason when down', () => {
    assert.equal(recordOf(linksOf([report(link({ rttP50Ms: 3 }))], said({ up: true }), later))?.since, 5);
    const down = recordOf(linksOf([report(link({ up: false, reason: 'timeout' }))], said({ up: true }), 9));
    assert.deepEqual([down?.since, down?.reason, down?.rttMs], [9, 'timeout', undefined]);
  });

  test('a value that wavers around an edge does not change the record', () => {
    const after = (rttP50Ms: number): number | undefined =>
      recordOf(linksOf([report(link({ rttP50Ms }))], said({ rttMs: 2 }), later))?.rttMs;
    assert.deepEqual([2.0, 2.1, 1.9, 2.3].map(after), [2, 2, 2, 2]);
    assert.deepEqual([4, 0.5].map(after), [5, 1]);
  });

  test('up and down are said at once; what is measured of a link that stays, every 30 s at most', () => {
    let links: ReadonlyMap<ClusterName, SaidLink> = new Map();
    const spoken = new Set<LinkRecord>();
    for (let second = 0; second < 120; second += 1) {
      links = linksOf([report(link({ rttP50Ms: second % 2 === 0 ? 1 : 400 }))], links, second * 1000);
      spoken.add(recordOf(links) as LinkRecord);
    }
    assert.ok(spoken.size >= 2 && spoken.size <= 4, `${spoken.size} records in 120 s`);
    links = linksOf([report(link({ up: false, reason: 'no answer' }))], links, 120_500);
    assert.equal(recordOf(links)?.up, false);
    links = linksOf([report(link({}))], links, 120_600);
    assert.deepEqual([recordOf(links)?.up, recordOf(links)?.rttMs], [true, undefined]);
    links = linksOf([report(link({ rttP50Ms: 9 }))], links, 120_700);
    assert.equal(recordOf(links)?.rttMs, 10, 'the first that is measured');
  });
});

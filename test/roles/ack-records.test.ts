import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { type AckRecord, type ClusterRecord, recordKeyOf } from '../../src/model/record.ts';
import type { Acknowledgement, Roster, RosterEntry } from '../../src/model/trust.ts';
import type { Freshness } from '../../src/model/view.ts';
import { gatewayAck, missingAcks, type ReportingGateway, settledAck } from '../../src/roles/agent/ack-records.ts';
import { decodeRecord, encodeRecord } from '../../src/wire/record.ts';

const east = parseClusterName('east');
const west = parseClusterName('west');
const g0 = parseReplicaName('gateway-0');

const proof = (rosterSequence: number, changes: Partial<Acknowledgement> = {}): Acknowledgement => ({
  rosterSequence,
  bundleSequence: rosterSequence,
  chain: [
    { keyId: 'aa', notAfter: 2000 },
    { keyId: 'bb', notAfter: 9000 },
  ],
  at: 1000,
  ...changes,
});

const ack = (rosterSequence: number, changes: Partial<AckRecord> = {}): AckRecord => ({
  kind: 'ack',
  role: 'gateway',
  replica: g0,
  ...proof(rosterSequence),
  ...changes,
});

const gatewayRecord: ClusterRecord = {
  kind: 'gateway',
  instance: g0,
  addresses: [],
  reachable: true,
  draining: false,
  version: '1',
};

function partition(freshness: Freshness, records: readonly ClusterRecord[]): PartitionView {
  return {
    epoch: 1,
    revision: 1,
    records: new Map(records.map((record) => [recordKeyOf(record), record])),
    freshness,
    heardAt: 0,
  };
}

function roster(states: Readonly<Record<string, RosterEntry['state']>>): Roster {
  const clusters = Object.entries(states).map(([name, state]): [ClusterName, RosterEntry] => {
    const cluster = parseClusterName(name);
    const trustDomain = parseTrustDomain(`${name}.mesh.example`);
    return [
      cluster,
      { cluster, trustDomain, state, caKeyIds: [], labels: {}, exportable: [] } as unknown as RosterEntry,
    ];
  });
  const federationDomain = parseTrustDomain('mesh.example');
  return { federationDomain, sequence: 5, issuedAt: 0, clusters: new Map(clusters), deniedKeyIds: [] };
}

const gateway = (acknowledged: Acknowledgement | undefined): ReportingGateway => ({
  replica: g0,
  trust: { clock: 1500, ...(acknowledged && { acknowledged }) },
  heardAt: 1400,
});

test('missingAcks: every own gateway that is connected, and every live replica of other active members', () => {
  const missing = (
    gateways: readonly ReportingGateway[],
    others: readonly (readonly [Freshness, readonly ClusterRecord[]])[],
    siblings: readonly AckRecord[] = [],
  ) =>
    missingAcks(5, {
      gateways,
      siblings,
      partitions: new Map(others.map(([freshness, records]) => [west, partition(freshness, records)])),
      self: east,
      roster: roster({ east: 'active', west: 'active' }),
    });
  assert.deepEqual(missing([], []), []);
  assert.deepEqual(missing([gateway(proof(5))], []), []);
  assert.deepEqual(missing([gateway(proof(4))], []), ['east/gateway-0']);
  assert.deepEqual(missing([gateway(undefined)], []), ['east/gateway-0'], 'one that proved nothing');
  assert.deepEqual(
    missing([{ replica: g0, trust: undefined, heardAt: 0 }], []),
    ['east/gateway-0'],
    'one that says nothing',
  );
  assert.deepEqual(missing([], [['live', [ack(6), gatewayRecord]]]), []);
  assert.deepEqual(missing([], [['live', [ack(4), gatewayRecord]]]), ['west/gateway-0']);
  assert.deepEqual(missing([], [['live', [gatewayRecord]]]), ['west/gateway-0'], 'a gateway without acknowledgement');
  const agent = ack(4, { role: 'agent', replica: parseReplicaName('agent-0') });
  assert.deepEqual(missing([], [['live', [agent]]]), ['west/agent-0'], 'who verifies seals counts too');
  assert.deepEqual(missing([], [], [agent]), ['east/agent-0'], 'another agent of the own cluster');
  assert.deepEqual(missing([], [], [{ ...agent, rosterSequence: 5 }]), []);
  for (const freshness of ['suspect', 'dead', 'unknown'] as const) {
    assert.deepEqual(missing([], [[freshness, [ack(4), gatewayRecord]]]), [], `${freshness}: nobody to wait for`);
  }
});

test('missingAcks: a member that is not active is not waited for', () => {
  const partitions = new Map([[west, partition('live', [gatewayRecord])]]);
  const facts = { gateways: [], siblings: [], partitions, self: east };
  assert.deepEqual(missingAcks(5, { ...facts, roster: roster({ west: 'suspended' }) }), []);
  assert.deepEqual(missingAcks(5, { ...facts, roster: roster({}) }), []);
  assert.deepEqual(missingAcks(5, { ...facts, roster: roster({ west: 'active' }) }), ['west/gateway-0']);
});

test('settledAck: the same content is the same record, with the moment it was first proved', () => {
  const before = ack(5, { at: 1000, clockSkewMs: 100 });
  assert.equal(settledAck(ack(5, { at: 31_000, clockSkewMs: 300 }), before), before, 'nothing to write');
  const moved = settledAck(ack(5, { at: 31_000, clockSkewMs: 400 }), before);
  assert.deepEqual([moved.at, moved.clockSkewMs], [1000, 400]);
  assert.equal(settledAck(ack(6, { at: 31_000 }), before).at, 31_000);
  const renewed = ack(5, { at: 31_000, chain: [{ keyId: 'cc', notAfter: 1 }] });
  assert.equal(settledAck(renewed, before).at, 31_000);
});

test('gatewayAck: its clock is compared through ours', () => {
  assert.equal(gatewayAck(gateway(proof(5)), 30)?.clockSkewMs, 130);
  assert.equal(gatewayAck(gateway(proof(5)), undefined)?.clockSkewMs, undefined);
  assert.equal(gatewayAck(gateway(undefined), 30), undefined);
});

test('an acknowledgement survives the hub, and a strange one is refused', () => {
  const record = ack(5, { issued: [{ keyId: 'bb', live: 3, lastNotAfter: 9000 }], journalHead: '0'.repeat(64) });
  const decoded = decodeRecord('ack/gateway/gateway-0', encodeRecord(record));
  assert.deepEqual(decoded, { ok: true, record });
  const strange = encodeRecord({ ...record, chain: [] });
  assert.equal(decodeRecord('ack/gateway/gateway-0', strange).ok, false);
  assert.equal(decodeRecord('ack/agent/gateway-0', encodeRecord(record)).ok, false, 'under its own key only');
});

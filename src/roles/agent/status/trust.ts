import type { AckRecord } from '../../../model/record.ts';
import type { TrustReplicaRow, TrustStatus } from '../../../model/trust-report.ts';
import type { ClusterCa } from '../../../trust/io/cluster-ca.ts';
import type { PartitionView } from '../../../federation/partition-view.ts';
import type { ClusterName } from '../../../model/names.ts';
import { ackRow } from '../../ack-row.ts';
import type { Acknowledgements } from '../acknowledgements.ts';

export interface TrustFacts {
  readonly ca: ClusterCa;
  readonly acknowledgements: Acknowledgements;
  /** Other members' partitions. */
  readonly partitions: ReadonlyMap<ClusterName, PartitionView>;
  /** Wall clock in ms. */
  readonly now: number;
  /** Monotonic ms. */
  readonly monotonic: number;
}

/** What `isthmus trust status` shows. */
export function trustStatus(facts: TrustFacts): TrustStatus {
  const { ca, now, monotonic } = facts;
  const status = ca.status();
  const { authority, pending, rosterCounters, renewalProblem } = status;
  const replicas = trustRows(facts);
  const { issued, journal } = ca.issued();
  const { older, conflicting, refused } = rosterCounters;
  return {
    cluster: ca.cluster,
    replica: ca.replica,
    federationDomain: ca.federationDomain,
    trustDomain: ca.trustDomain,
    ...(status.rosterSequence > 0 && {
      roster: { sequence: status.rosterSequence, ageMs: Math.max(0, now - status.rosterIssuedAt) },
    }),
    refusedRosters: { older, conflicting, unverified: refused },
    authority: {
      connected: authority.connected,
      forMs: Math.max(0, monotonic - authority.since),
      ...(authority.problem !== undefined && { lastError: authority.problem }),
    },
    ...(status.clockSkew && { clockSkewMs: status.clockSkew.skewMs }),
    intermediate: {
      keyId: status.intermediateKeyId,
      expiresInMs: status.intermediateNotAfter - now,
      ...(pending && {
        next: { keyId: pending.keyId, waitsFor: pending.missing, atLatestInMs: Math.max(0, pending.activateAt - now) },
      }),
      ...(renewalProblem !== undefined && { problem: renewalProblem }),
    },
    ...survival(replicas, { ca, expiresInMs: status.intermediateNotAfter - now }),
    replicas,
    issued: issued.map(({ keyId, live, lastNotAfter }) => ({ keyId, live, lastExpiresInMs: lastNotAfter - now })),
    journal,
  };
}

/** Only the authority renews intermediates: the first that ends is where a cluster falls out. */
function survival(
  replicas: readonly TrustReplicaRow[],
  own: { readonly ca: ClusterCa; readonly expiresInMs: number },
): Pick<TrustStatus, 'survivesAuthorityForMs' | 'survivalEndsWith'> {
  let endsInMs = own.expiresInMs;
  let endsWith = `${own.ca.cluster}/${own.ca.replica}`;
  for (const { issuerExpiresInMs, cluster, replica } of replicas) {
    if (issuerExpiresInMs === undefined || issuerExpiresInMs >= endsInMs) continue;
    endsInMs = issuerExpiresInMs;
    endsWith = `${cluster}/${replica}`;
  }
  return { survivesAuthorityForMs: Math.max(0, endsInMs), survivalEndsWith: endsWith };
}

/** This replica and its gateways as they are now, other replicas as they last said. */
function trustRows({ ca, acknowledgements, partitions, now }: TrustFacts): readonly TrustReplicaRow[] {
  const records = acknowledgements.records.current;
  const recordOf = (role: AckRecord['role'], replica: string): AckRecord | undefined =>
    records.find((ack) => ack.role === role && ack.replica === replica);
  const rows: TrustReplicaRow[] = [];
  const { problem } = acknowledgements.own;
  rows.push(
    ackRow(recordOf('agent', ca.replica), { cluster: ca.cluster, role: 'agent', replica: ca.replica, problem, now }),
  );
  for (const { replica, trust } of acknowledgements.gateways()) {
    const about = {
      cluster: ca.cluster,
      role: 'gateway',
      replica,
      problem: trust ? trust.problem : 'says nothing',
      now,
    } as const;
    rows.push(ackRow(recordOf('gateway', replica), about));
  }
  const shown = new Set(rows.map(({ role, replica }) => `${role}/${replica}`));
  for (const record of records) {
    const { role, replica } = record;
    if (shown.has(`${role}/${replica}`)) continue;
    rows.push(ackRow(record, { cluster: ca.cluster, role, replica, problem: undefined, now }));
  }
  const others = [...partitions].filter(([cluster]) => cluster !== ca.cluster).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [cluster, partition] of others) {
    const problem_ = partition.freshness === 'live' ? undefined : `last heard of: ${partition.freshness}`;
    for (const record of partition.records.values()) {
      if (record.kind !== 'ack') continue;
      rows.push(ackRow(record, { cluster, role: record.role, replica: record.replica, problem: problem_, now }));
    }
  }
  return rows;
}

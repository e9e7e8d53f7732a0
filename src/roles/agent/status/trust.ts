import type { AckRecord } from '../../../model/record.ts';
import type { TrustReplicaRow, TrustStatus } from '../../../model/trust-report.ts';
import type { ClusterCa } from '../../../trust/io/cluster-ca.ts';
import type { PartitionView } from '../../../federation/partition-view.ts';
import type { ClusterName } from '../../../model/names.ts';
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

/** The own replicas as they are now, others as they last said. */
function trustRows({ ca, acknowledgements, partitions, now }: TrustFacts): readonly TrustReplicaRow[] {
  const records = acknowledgements.records.current;
  const recordOf = (role: AckRecord['role'], replica: string): AckRecord | undefined =>
    records.find((ack) => ack.role === role && ack.replica === replica);
  const rows: TrustReplicaRow[] = [];
  const { problem } = acknowledgements.own;
  rows.push(
    rowOf(recordOf('agent', ca.replica), { cluster: ca.cluster, role: 'agent', replica: ca.replica, problem, now }),
  );
  for (const { replica, trust } of acknowledgements.gateways()) {
    const about = {
      cluster: ca.cluster,
      role: 'gateway',
      replica,
      problem: trust ? trust.problem : 'says nothing',
      now,
    } as const;
    rows.push(rowOf(recordOf('gateway', replica), about));
  }
  const others = [...partitions].filter(([cluster]) => cluster !== ca.cluster).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [cluster, partition] of others) {
    const problem_ = partition.freshness === 'live' ? undefined : `last heard of: ${partition.freshness}`;
    for (const record of partition.records.values()) {
      if (record.kind !== 'ack') continue;
      rows.push(rowOf(record, { cluster, role: record.role, replica: record.replica, problem: problem_, now }));
    }
  }
  return rows;
}

interface About {
  readonly cluster: string;
  readonly role: AckRecord['role'];
  readonly replica: string;
  readonly problem: string | undefined;
  readonly now: number;
}

function rowOf(ack: AckRecord | undefined, { cluster, role, replica, problem, now }: About): TrustReplicaRow {
  const message = problem !== undefined && { message: problem };
  if (!ack) return { cluster, role, replica, chain: [], ...message };
  const [leaf, issuer] = ack.chain;
  return {
    cluster,
    role,
    replica,
    chain: ack.chain.map(({ keyId }) => keyId),
    ...(leaf && { leafExpiresInMs: leaf.notAfter - now }),
    ...(issuer && { issuerExpiresInMs: issuer.notAfter - now }),
    rosterSequence: ack.rosterSequence,
    bundleSequence: ack.bundleSequence,
    provedAgoMs: Math.max(0, now - ack.at),
    ...(ack.clockSkewMs !== undefined && { clockSkewMs: ack.clockSkewMs }),
    ...message,
  };
}

import type { AckRecord } from '../model/record.ts';
import type { TrustReplicaRow } from '../model/trust-report.ts';

/** Whose acknowledgement a row is about. */
export interface AboutReplica {
  readonly cluster: string;
  readonly role: AckRecord['role'];
  readonly replica: string;
  /** What there is to say of it. */
  readonly problem: string | undefined;
  /** Wall clock in ms. */
  readonly now: number;
}

/** One replica, with what it proved; undefined: nothing yet. */
export function ackRow(
  ack: AckRecord | undefined,
  { cluster, role, replica, problem, now }: AboutReplica,
): TrustReplicaRow {
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

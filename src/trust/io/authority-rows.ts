import type { SQLOutputValue } from 'node:sqlite';
import { IsthmusError } from '../../model/error.ts';
import { parseTrustDomain } from '../../model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../model/names.ts';
import type { IntermediateEntry, JoinTokenEntry, Member, PendingEntry } from '../authority/change.ts';
import type { Admission } from '../../model/trust.ts';

/** Reads rows of the authority's tables back into what was written. All @throws IsthmusError `corrupt` */

export type Row = Record<string, SQLOutputValue>;

export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not text`);
}

export function integer(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === 'number') return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not a number`);
}

export function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (value instanceof Uint8Array) return value;
  throw new IsthmusError('corrupt', `Column ${column} of the authority's state is not bytes`);
}

const noAdmission: Admission = {
  labels: {},
  exportable: [],
  mayPublishPolicy: false,
  mayOperate: false,
  limits: {},
};

export function readToken(row: Row): JoinTokenEntry {
  return {
    hash: text(row, 'hash'),
    cluster: parseClusterName(text(row, 'cluster')),
    rejoin: integer(row, 'rejoin') === 1,
    admission: JSON.parse(text(row, 'admission')) as Partial<Admission>,
    issuedAt: integer(row, 'issued_at'),
    expiresAt: integer(row, 'expires_at'),
    revoked: integer(row, 'revoked') === 1,
    ...(row['used_by'] !== null && { usedBy: text(row, 'used_by') }),
  };
}

export function readMember(row: Row): Member {
  const state = text(row, 'state');
  if (state !== 'active' && state !== 'suspended' && state !== 'revoked' && state !== 'left') {
    throw new IsthmusError('corrupt', `A cluster has the unknown state '${state}'`);
  }
  return {
    cluster: parseClusterName(text(row, 'cluster')),
    trustDomain: parseTrustDomain(text(row, 'trust_domain')),
    state,
    ...noAdmission,
    ...(JSON.parse(text(row, 'admission')) as Partial<Admission>),
    joinedAt: integer(row, 'joined_at'),
    ...(row['left_at'] !== null && { leftAt: integer(row, 'left_at') }),
  };
}

export function readIntermediate(row: Row): IntermediateEntry {
  return {
    keyId: text(row, 'key_id'),
    cluster: parseClusterName(text(row, 'cluster')),
    replica: parseReplicaName(text(row, 'replica')),
    serial: text(row, 'serial'),
    issuedAt: integer(row, 'issued_at'),
    notAfter: integer(row, 'not_after'),
    certificate: blob(row, 'certificate'),
    retired: integer(row, 'retired') === 1,
  };
}

export function readPending(row: Row): PendingEntry {
  const kind = text(row, 'kind');
  if (kind !== 'join' && kind !== 'renewal') throw new IsthmusError('corrupt', `A request has the kind '${kind}'`);
  return {
    keyId: text(row, 'key_id'),
    kind,
    cluster: parseClusterName(text(row, 'cluster')),
    replica: parseReplicaName(text(row, 'replica')),
    csr: blob(row, 'csr'),
    requestedAt: integer(row, 'requested_at'),
    who: text(row, 'who'),
    rejoin: integer(row, 'rejoin') === 1,
  };
}

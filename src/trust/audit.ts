import { createHash } from 'node:crypto';

/** One decision of the authority: who did what to whom, when, and why. */
export interface AuditRecord {
  /** From 1, without a gap. */
  readonly sequence: number;
  /** Wall clock in ms. */
  readonly at: number;
  /** SPIFFE ID, or how else the caller was known. */
  readonly who: string;
  readonly what: AuditAction;
  /** The cluster, key or roster that it is about. */
  readonly subject: string;
  readonly detail: string;
  /** Hash of the record before; of the first one, 64 zeroes. */
  readonly previous: string;
  /** Lower-case hex SHA-256 over all of the above. */
  readonly hash: string;
}

/** The kinds of decision, closed so that readers can rely on them. */
export type AuditAction =
  | 'init'
  | 'issue-token'
  | 'join'
  | 'deny'
  | 'issue-intermediate'
  | 'renew-identity'
  | 'set-state'
  | 'publish-roster';

/** What precedes the first record. */
export const firstPrevious: string = '0'.repeat(64);

/** The hash that chains a record to all before it. */
export function auditHash(record: Omit<AuditRecord, 'hash'>): string {
  const { previous, sequence, at, who, what, subject, detail } = record;
  return createHash('sha256')
    .update(JSON.stringify([previous, sequence, at, who, what, subject, detail]))
    .digest('hex');
}

/** Why a journal cannot be what was written, naming the first bad record; undefined: it is whole. */
export function auditProblem(records: Iterable<AuditRecord>): string | undefined {
  let previous = firstPrevious;
  let sequence = 0;
  for (const record of records) {
    sequence += 1;
    if (record.sequence !== sequence) return `record ${sequence} is missing`;
    if (record.previous !== previous) return `record ${sequence} does not follow the one before`;
    if (record.hash !== auditHash(record)) return `record ${sequence} was changed`;
    previous = record.hash;
  }
  return undefined;
}

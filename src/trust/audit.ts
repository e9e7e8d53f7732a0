import { createHash } from 'node:crypto';

/** One decision of an authority or of a cluster's CA: who did what to whom, when, and why. */
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

/** What the writer of a record knows; the rest follows from the record before. */
export type AuditEntry = Pick<AuditRecord, 'at' | 'who' | 'what' | 'subject' | 'detail'>;

/** The kinds of decision, closed so that readers can rely on them. */
export type AuditAction =
  | 'init'
  | 'issue-token'
  | 'join'
  | 'deny'
  | 'issue-intermediate'
  | 'renew-identity'
  | 'set-state'
  | 'publish-roster'
  | 'revoke-token'
  /** What a cluster is admitted for has changed: labels, exports, permissions. */
  | 'admit'
  | 'leave'
  | 'acknowledge'
  /** A certificate waits for the signature of an offline root; requests for it went out; its answer came in. */
  | 'pend'
  | 'sign-request'
  | 'import-response'
  | 'backup'
  | 'restore'
  /** The wall clock jumped and somebody said that it is right. */
  | 'accept-clock'
  /** Of a cluster's CA: a leaf, the first use of an intermediate, and counts taken over from a dropped segment. */
  | 'issue-leaf'
  | 'activate-intermediate'
  | 'carry-over';

/** What precedes the first record. */
export const firstPrevious: string = '0'.repeat(64);

/** The hash that chains a record to all before it. */
export function auditHash(record: Omit<AuditRecord, 'hash'>): string {
  const { previous, sequence, at, who, what, subject, detail } = record;
  return createHash('sha256')
    .update(JSON.stringify([previous, sequence, at, who, what, subject, detail]))
    .digest('hex');
}

/** The last record before the first one at hand, of a journal whose beginning was dropped. */
export type AuditStart = Pick<AuditRecord, 'sequence' | 'hash'>;

/** What precedes the first record of a whole journal. */
export const auditBeginning: AuditStart = { sequence: 0, hash: firstPrevious };

/** The record that says `entry` after `last`. */
export function auditRecord(entry: AuditEntry, last: AuditStart): AuditRecord {
  const record = { ...entry, sequence: last.sequence + 1, previous: last.hash };
  return { ...record, hash: auditHash(record) };
}

/** Why a journal cannot be what was written, naming the first bad record; undefined: it is whole. */
export function auditProblem(records: Iterable<AuditRecord>, start: AuditStart = auditBeginning): string | undefined {
  let { sequence, hash: previous } = start;
  for (const record of records) {
    sequence += 1;
    if (record.sequence !== sequence) return `record ${sequence} is missing`;
    if (record.previous !== previous) return `record ${sequence} does not follow the one before`;
    if (record.hash !== auditHash(record)) return `record ${sequence} was changed`;
    previous = record.hash;
  }
  return undefined;
}

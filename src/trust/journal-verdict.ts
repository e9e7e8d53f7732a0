import { IsthmusError } from '../model/error.ts';
import type { AuditRow, JournalVerdict } from '../model/trust-report.ts';
import { type AuditRecord, auditBeginning, auditProblem } from './audit.ts';

/**
 * Looks at a journal as a whole. One whose beginning was dropped (a cluster's CA keeps the newest segments) is followed
 * from its first record on; `from` says where that is.
 */
export function journalVerdict(rows: readonly AuditRow[]): JournalVerdict {
  const [first] = rows;
  const last = rows.at(-1);
  const start = first && first.sequence > 1 ? { sequence: first.sequence - 1, hash: first.previous } : auditBeginning;
  // An action of a later version does not make a journal wrong: only its hash counts.
  const problem = auditProblem(rows as readonly AuditRecord[], start);
  return {
    ok: problem === undefined,
    records: rows.length,
    ...(first && { from: first.sequence }),
    ...(last && { head: last.hash, lastAt: last.at }),
    ...(problem !== undefined && { problem }),
  };
}

const texts = ['who', 'what', 'subject', 'detail', 'previous', 'hash'] as const;

/** Reads journal records, one JSON object a line. @throws IsthmusError `invalid`, naming the line */
export function parseJournal(name: string, text: string): readonly AuditRow[] {
  return text.split('\n').flatMap((line, index) => (line.trim() === '' ? [] : [rowOf(line, `${name}:${index + 1}`)]));
}

function rowOf(line: string, where: string): AuditRow {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new IsthmusError('invalid', `${where}: it is no JSON object`, { cause });
  }
  if (isRow(value)) return value;
  throw new IsthmusError('invalid', `${where}: it is no record of a journal`);
}

function isRow(value: unknown): value is AuditRow {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    Number.isSafeInteger(fields['sequence']) &&
    typeof fields['at'] === 'number' &&
    texts.every((name) => typeof fields[name] === 'string')
  );
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditRecord, auditHash, auditProblem, firstPrevious } from '../../src/trust/audit.ts';

function journal(length: number): AuditRecord[] {
  const records: AuditRecord[] = [];
  for (let sequence = 1; sequence <= length; sequence += 1) {
    const previous = records.at(-1)?.hash ?? firstPrevious;
    const entry = { sequence, at: sequence, who: 'me', what: 'join', subject: 'a', detail: '', previous } as const;
    records.push({ ...entry, hash: auditHash(entry) });
  }
  return records;
}

test('auditProblem finds changed, removed and reordered records', () => {
  const whole = journal(5);
  assert.equal(auditProblem(whole), undefined);
  assert.match(auditProblem(whole.toSpliced(2, 1)) ?? '', /record 3 is missing/);
  const [first, second, third, ...rest] = whole;
  assert.ok(first && second && third);
  assert.match(auditProblem([first, third, second, ...rest]) ?? '', /record 2 is missing/);
  assert.match(auditProblem([first, { ...second, who: 'you' }, third, ...rest]) ?? '', /record 2 was changed/);
  const forged = { ...second, who: 'you' };
  const rehashed = { ...forged, hash: auditHash(forged) };
  assert.match(auditProblem([first, rehashed, third, ...rest]) ?? '', /record 3 does not follow/);
});

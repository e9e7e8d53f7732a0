import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFile, readdir, readFile, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSpiffeId } from '../../src/model/identity.ts';
import type { AuditEntry, AuditRecord } from '../../src/trust/audit.ts';
import { ClusterJournal, type ClusterJournalOptions } from '../../src/trust/io/cluster-journal.ts';
import { ClusterRecords } from '../../src/trust/io/cluster-records.ts';
import { decodeIssuance, encodeIssuance, type Issuance } from '../../src/trust/issue/issuance.ts';
import { LeafLedger } from '../../src/trust/issue/leaf-ledger.ts';
import { Endings } from './support/endings.ts';
import { ShiftedClock, silent } from './support/environment.ts';

const entry = (subject: string): AuditEntry => ({ at: 1, who: 'test', what: 'deny', subject, detail: 'because' });

interface Opened {
  readonly journal: ClusterJournal;
  readonly records: readonly AuditRecord[];
}

async function open(directory: string, options: Partial<ClusterJournalOptions> = {}): Promise<Opened> {
  const records: AuditRecord[] = [];
  const onRecord = (record: AuditRecord): void => void records.push(record);
  const journal = await ClusterJournal.open({ directory, log: silent, onRecord, carryOver: () => [], ...options });
  return { journal, records };
}

async function directory(t: TestContext): Promise<string> {
  return join(await new Endings(t).directory(), 'issued');
}

test('the journal keeps what was acknowledged, in order and chained, across a restart', async (t) => {
  const dir = await directory(t);
  const { journal } = await open(dir);
  await Promise.all(Array.from({ length: 200 }, (_, index) => journal.append(entry(`s${index}`))));
  const { head } = journal;
  assert.equal(head.sequence, 200);
  await journal.close();
  await assert.rejects(journal.append(entry('late')), /closed/);
  const { journal: again, records } = await open(dir);
  assert.deepEqual(again.head, { ...records.at(-1) }, 'it goes on where it ended');
  assert.deepEqual(
    records.map(({ subject }) => subject),
    Array.from({ length: 200 }, (_, index) => `s${index}`),
  );
  await again.append(entry('next'));
  assert.equal(again.head.sequence, 201);
  await again.close();
});

test('a line torn by a crash is dropped; a changed, missing or strange one is refused', async (t) => {
  const dir = await directory(t);
  const { journal } = await open(dir);
  for (const name of ['a', 'b', 'c']) await journal.append(entry(name));
  await journal.close();
  const [name = ''] = await readdir(dir);
  const path = join(dir, name);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const whole = await readFile(path, 'utf8');
  await appendFile(path, '{"sequence":4,"at":1,"wh');
  const torn = await open(dir);
  assert.equal(torn.records.length, 3);
  await torn.journal.append(entry('d'));
  await torn.journal.close();
  assert.equal((await open(dir)).records.length, 4);
  const lines = whole.split('\n').slice(0, -1);
  for (const [bad, why] of [
    [whole.replace('"b"', '"x"'), /record 2 was changed/],
    [`${lines[0]}\n${lines[2]}\n`, /record 2 is missing/],
    [`${whole}no json\n`, /:4 is no record/],
  ] as const) {
    await writeFile(path, bad);
    await assert.rejects(open(dir), why);
  }
});

test('segments are bounded in size and number; what a dropped one said is carried over', async (t) => {
  const dir = await directory(t);
  const carryOver = (): AuditEntry[] => [{ ...entry('carried'), what: 'carry-over' }];
  const options = { segmentBytes: 2000, maxSegments: 3, carryOver };
  const { journal } = await open(dir, options);
  for (let i = 0; i < 60; i += 1) await journal.append(entry(`s${i}`));
  await journal.close();
  const names = (await readdir(dir)).sort();
  assert.equal(names.length, 3);
  for (const name of names) assert.ok((await stat(join(dir, name))).size < 2500);
  const { journal: again, records } = await open(dir, options);
  assert.equal(records[0]?.what, 'carry-over');
  assert.ok((records[0]?.sequence ?? 0) > 1, 'the beginning is gone');
  assert.equal(again.head.sequence, journal.head.sequence);
  await again.append(entry('more'));
  await again.close();
});

test('a full disk: what was not acknowledged is not in the journal, however much of it was written', async (t) => {
  const dir = await directory(t);
  const script = fileURLToPath(new URL('support/journal-process.ts', import.meta.url));
  const limited = `ulimit -f 4 && exec "$0" "$@"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', limited, process.execPath, script, dir], { encoding: 'utf8' });
  assert.match(stdout, /^\{/, stderr);
  const { acknowledged, why, head } = JSON.parse(stdout) as { acknowledged: number; why: string; head: number };
  assert.match(why, /Cannot write the journal in .*EFBIG/);
  assert.ok(acknowledged >= 7, `${acknowledged} before it was full`);
  assert.equal(head, acknowledged);
  const { records, journal } = await open(dir);
  assert.equal(records.length, acknowledged);
  await journal.append(entry('goes on'));
  await journal.close();
});

test('a journal that cannot be written refuses, and goes on once it can', async (t) => {
  const dir = await directory(t);
  const path = join(dir, '000000000000001.jsonl');
  const { journal } = await open(dir);
  await symlink('/dev/full', path);
  await assert.rejects(journal.append(entry('first')), { code: 'unavailable', message: /ENOSPC/ });
  assert.equal(journal.head.sequence, 0);
  await unlink(path);
  await journal.append(entry('second'));
  await journal.close();
  const { records } = await open(dir);
  assert.deepEqual(
    records.map(({ subject }) => subject),
    ['second'],
  );
});

const issuance = (changes: Partial<Issuance> = {}): Issuance => ({
  id: parseSpiffeId('spiffe://east.mesh.example/ns/a/sa/b'),
  keyId: 'aa',
  issuer: 'cc',
  serial: '01',
  notAfter: 3_600_000,
  ...changes,
});

test('an issuance is read back from the journal as it was', () => {
  const one = issuance();
  assert.deepEqual(decodeIssuance(one.id, encodeIssuance(one)), one);
  assert.equal(decodeIssuance(one.id, 'something else'), undefined);
  assert.equal(decodeIssuance('no id', encodeIssuance(one)), undefined);
});

test('LeafLedger: counts what lives by intermediate, and whose each key is, as long as it lives', () => {
  const ledger = new LeafLedger();
  ledger.note(issuance(), 0);
  ledger.note(issuance({ keyId: 'bb', notAfter: 7_200_000 }), 0);
  ledger.note(issuance({ keyId: 'dd', issuer: 'ee', notAfter: 60_000 }), 0);
  ledger.carry({ keyId: 'cc', live: 5, lastNotAfter: 1_000_000 }, 0);
  assert.deepEqual(ledger.issued(0), [
    { keyId: 'cc', live: 7, lastNotAfter: 7_200_000 },
    { keyId: 'ee', live: 1, lastNotAfter: 60_000 },
  ]);
  assert.equal(ledger.ownerOf('aa', 0), issuance().id);
  assert.equal(ledger.ownerOf('aa', 3_600_000), undefined);
  assert.deepEqual(ledger.issued(3_700_000), [{ keyId: 'cc', live: 1, lastNotAfter: 7_200_000 }]);
  assert.deepEqual(ledger.issued(8_000_000), []);
});

test('records survive a restart: what lives, whose keys they are, and the head of the journal', async (t) => {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const dir = join(await ends.directory(), 'issued');
  const first = await ClusterRecords.open(dir, clock, silent);
  const notAfter = Math.floor((clock.now() + 3_600_000) / 1000) * 1000;
  await first.issued(issuance({ notAfter }), 'somebody');
  await first.denied('spiffe://x/y', 'somebody', 'no');
  const before = first.report();
  await first.close();
  const second = await ClusterRecords.open(dir, clock, silent);
  ends.add(() => second.close());
  assert.deepEqual(second.report(), before);
  assert.equal(second.ownerOf('aa'), issuance().id);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../src/model/error.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { parseReplicaName } from '../../src/model/names.ts';
import type { Roster, RosterEntry } from '../../src/model/trust.ts';
import {
  broadGlobs,
  checkAdmission,
  checkFederationDomain,
  domainConflict,
} from '../../src/trust/authority/admission.ts';
import { AuthorityBook, leaveGraceMs } from '../../src/trust/authority/book.ts';
import type { Member, StoredState } from '../../src/trust/authority/change.ts';
import { ClockGuard, clockRefusal } from '../../src/trust/authority/clock-guard.ts';
import { DenialBudget } from '../../src/trust/authority/denials.ts';
import { takesAway } from '../../src/trust/authority/roster-diff.ts';
import {
  decodeSigningRequest,
  decodeSigningResponse,
  encodeSigningRequest,
  encodeSigningResponse,
} from '../../src/trust/authority/signing-files.ts';
import { decodeRoster, encodeRoster } from '../../src/wire/roster.ts';
import { a, b, domainOf, federationDomain, now } from './support/federation.ts';

const domain = parseTrustDomain;
const invalid = { code: 'invalid' };

test('trust domains must not be equal, nor one a suffix of another', () => {
  assert.equal(
    domainConflict(domain('a.mesh.example'), [domain('b.mesh.example'), domain('aa.mesh.example')]),
    undefined,
  );
  assert.match(domainConflict(domain('a.mesh.example'), [domain('a.mesh.example')]) ?? '', /is taken/);
  assert.match(domainConflict(domain('a.mesh.example'), [domain('b.a.mesh.example')]) ?? '', /overlap/);
  assert.match(domainConflict(domain('b.a.mesh.example'), [domain('a.mesh.example')]) ?? '', /overlap/);
});

test('a federation domain is a DNS name in lower case that leaves room for a cluster', () => {
  for (const good of ['mesh.example', 'mesh', 'x1.y-2.zz']) assert.equal(checkFederationDomain(domain(good)), good);
  const bad = [
    'mesh_a.example',
    '1.2.3.4',
    'mesh.',
    '.mesh',
    'a..b',
    '-a.example',
    'a-.example',
    'mesh.1',
    `${'a.'.repeat(100)}b`,
  ];
  for (const each of bad) assert.throws(() => checkFederationDomain(domain(each)), invalid, each);
});

test('an admission document holds labels, patterns and limits of a known form only', () => {
  const good = {
    labels: { region: 'eu', 'x.example/tier': '' },
    exportable: ['shop/*', '*/*', 'a-b/c'],
    limits: { services: 0 },
  };
  assert.deepEqual(checkAdmission(good), good);
  for (const bad of [
    { labels: { 'a b': 'c' } },
    { labels: { a: 'b c' } },
    { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, 'x'])) },
    { exportable: ['shop'] },
    { exportable: ['Shop/web'] },
    { exportable: ['a/b/c'] },
    { limits: { services: -1 } },
    { limits: { bytes: 1 } as object },
  ]) {
    assert.throws(() => checkAdmission(bad), invalid, JSON.stringify(bad));
  }
  assert.deepEqual(broadGlobs(['*/*', 'shop/*', '*/web', 'a/b']), ['*/*', '*/web']);
});

test('the clock guard forgives small steps, and what an operator accepts', () => {
  const elapsed = 0;
  const guard = new ClockGuard(1_000_000, { now: 1_000_000, elapsed });
  assert.equal(guard.problem({ now: 1_000_000 - 299_000, elapsed }), undefined);
  assert.match(guard.problem({ now: 1_000_000 - 301_000, elapsed }) ?? '', /but the journal has an entry of/);
  guard.accept({ now: 500_000, elapsed });
  assert.equal(guard.problem({ now: 500_000, elapsed }), undefined);
  assert.equal(clockRefusal('x', 'do this').code, 'unavailable');
});

test('the clock guard: a jump is what differs from the time that has passed, ahead or back', () => {
  const hour = 3_600_000;
  const begin = 1_700_000_000_000;
  const guard = new ClockGuard(0, { now: begin, elapsed: 7 * hour });
  const at = (wallMs: number, elapsedMs: number): string | undefined =>
    guard.problem({ now: begin + wallMs, elapsed: 7 * hour + elapsedMs });
  assert.equal(at(30 * 24 * hour, 30 * 24 * hour), undefined, 'time passes');
  assert.equal(at(299_000, 0), undefined);
  assert.match(
    at(301_000, 0) ?? '',
    /says 2023-11-14T22:18:21.000Z, but .* it is 2023-11-14T22:13:20.000Z: it jumped ahead/,
  );
  assert.match(at(0, 301_000) ?? '', /it jumped back/);
  assert.equal(at(1000 * hour + 299_000, 1000 * hour), undefined);
  assert.equal(at(1000 * hour + 2_000_000, 1000 * hour), undefined, '500 ppm of 1,000 hours is half an hour');
  assert.match(at(1000 * hour + 2_200_000, 1000 * hour) ?? '', /ahead/);
  // Many small steps are one large one.
  let problem: string | undefined;
  for (let step = 1; step <= 10; step += 1) problem = at(step * 60_000, 0);
  assert.match(problem ?? '', /ahead/);
  guard.note(begin + hour);
  assert.equal(guard.believed({ now: 0, elapsed: 7 * hour }), begin + hour, 'never before the last entry');
  assert.equal(guard.believed({ now: 0, elapsed: 9 * hour }), begin + 2 * hour);
  guard.accept({ now: begin + 400 * hour, elapsed: 8 * hour });
  assert.equal(guard.problem({ now: begin + 401 * hour, elapsed: 9 * hour }), undefined);
});

test('refusals of strangers and of members have budgets of their own, and what is not told is counted', () => {
  const budget = new DenialBudget(0);
  const told = Array.from({ length: 100 }, () => budget.tell('stranger', 'no', 0)).filter((each) => each !== undefined);
  assert.equal(told.length, 32);
  assert.equal(budget.tell('member', 'no', 0), 'no');
  assert.equal(budget.tell('stranger', 'no', 600_000), 'no (and 68 more refusals of a stranger before)');
  let records = 0;
  for (let at = 600_000; at < 86_400_000; at += 100) if (budget.tell('stranger', 'no', at) !== undefined) records += 1;
  assert.ok(records < 200, `${records} in a day of ten a second`);
});

const empty: StoredState = {
  tokens: [],
  members: [],
  intermediates: [],
  usedKeyIds: [],
  denied: [],
  pending: [],
  roster: undefined,
  rosterFloor: 0,
  journal: { records: 0, head: '', lastAt: 0 },
};

const memberOf = (cluster: typeof a, more: Partial<Member> = {}): Member => ({
  cluster,
  trustDomain: domainOf(cluster),
  state: 'active',
  labels: { region: 'eu' },
  exportable: ['z/*', 'a/*'],
  mayPublishPolicy: true,
  mayOperate: false,
  limits: { services: 3 },
  joinedAt: now,
  ...more,
});

const intermediateOf = (keyId: string, cluster: typeof a, notAfter: number) => ({
  keyId,
  cluster,
  replica: parseReplicaName('one'),
  serial: '40',
  issuedAt: now,
  notAfter,
  certificate: new Uint8Array([1]),
  retired: false,
});

test('the roster follows from the book: who is in it, with which keys, and for how long', () => {
  const book = new AuthorityBook(empty);
  for (const member of [memberOf(b), memberOf(a)]) book.apply({ type: 'member', member });
  for (const [keyId, cluster, life] of [
    ['0b', a, 1000],
    ['0a', a, 5000],
    ['0c', b, 5000],
  ] as const) {
    book.apply({ type: 'intermediate', intermediate: intermediateOf(keyId, cluster, now + life) });
  }
  book.apply({ type: 'deny', denied: { keyId: '0d', why: 'test', until: now + 3000 } });
  const roster = book.compose(federationDomain, 7, now);
  assert.deepEqual(decodeRoster(encodeRoster(roster)), roster, 'it survives the wire as it is, in every order');
  assert.deepEqual(roster.clusters.get(a)?.caKeyIds, ['0a', '0b']);
  assert.deepEqual(roster.deniedKeyIds, ['0d']);
  const later = book.compose(federationDomain, 8, now + 4000);
  assert.deepEqual([later.clusters.get(a)?.caKeyIds, later.deniedKeyIds], [['0a'], []]);
  book.apply({ type: 'retire', keyIds: ['0a'] });
  assert.deepEqual(book.compose(federationDomain, 9, now + 4000).clusters.get(a)?.caKeyIds, []);
  assert.ok(book.knowsKey('0a'), 'a retired key is still not to be certified again');
  book.apply({ type: 'member', member: memberOf(b, { state: 'left', leftAt: now }) });
  assert.equal(book.compose(federationDomain, 9, now + leaveGraceMs - 1).clusters.get(b)?.leaving, true);
  assert.equal(book.compose(federationDomain, 9, now + leaveGraceMs).clusters.has(b), false);
  assert.equal(book.nextSequence, 1);
  assert.equal(new AuthorityBook({ ...empty, rosterFloor: 1007 }).nextSequence, 1007);
});

test('only a roster that takes something away is a reason to look at open connections', () => {
  const entry = (more: Partial<RosterEntry> = {}): RosterEntry => ({
    cluster: a,
    trustDomain: domainOf(a),
    state: 'active',
    caKeyIds: ['01'],
    labels: {},
    exportable: [],
    ...more,
  });
  const roster = (entries: readonly RosterEntry[], deniedKeyIds: readonly string[] = []): Roster => ({
    federationDomain,
    sequence: 1,
    issuedAt: now,
    deniedKeyIds,
    clusters: new Map(entries.map((each) => [each.cluster, each])),
  });
  const before = roster([entry()]);
  const other = entry({ cluster: b, trustDomain: domainOf(b) });
  assert.equal(takesAway(before, roster([entry({ caKeyIds: ['01', '02'], labels: { x: 'y' } }), other])), false);
  assert.equal(takesAway(before, roster([])), true);
  assert.equal(takesAway(before, roster([entry({ caKeyIds: ['02'] })])), true);
  assert.equal(takesAway(before, roster([entry({ state: 'suspended' })])), true);
  assert.equal(takesAway(before, roster([entry()], ['09'])), true);
  assert.equal(takesAway(roster([entry({ state: 'suspended' })]), roster([entry({ state: 'revoked' })])), false);
});

test('signing files say what was put in, and nothing else is taken for one', () => {
  const item = { kind: 'intermediate', cluster: a, replica: parseReplicaName('one'), csr: Buffer.from('csr') } as const;
  const request = {
    federationDomain,
    anchorSha256: 'a'.repeat(64),
    nameConstraints: true,
    createdAt: now,
    items: [{ kind: 'seal', csr: Buffer.from('x') } as const, item],
  };
  assert.deepEqual(decodeSigningRequest(encodeSigningRequest(request)), request);
  const response = {
    federationDomain,
    anchorSha256: 'a'.repeat(64),
    requestSha256: 'b'.repeat(64),
    certificates: [Buffer.from('der')],
  };
  assert.deepEqual(decodeSigningResponse(encodeSigningResponse(response)), response);
  const text = Buffer.from(encodeSigningRequest(request));
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, value, cut) => {
      const bytes = Buffer.from(text);
      bytes.writeUInt8(value, at);
      for (const decode of [decodeSigningRequest, decodeSigningResponse]) {
        try {
          decode(cut ? bytes.subarray(0, at) : bytes);
        } catch (thrown) {
          assert.ok(thrown instanceof IsthmusError && thrown.code === 'invalid', String(thrown));
        }
      }
    }),
  );
});

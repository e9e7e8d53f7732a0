import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ReviewedAges, reviewAges, unseenAges } from '../../src/federation/merge/ages.ts';
import type { ClusterRecord, ExportRecord } from '../../src/model/record.ts';
import { parseServiceKey } from '../../src/model/names.ts';
import { east, exportOf, keyed } from './support/federation.ts';

const now = 1_800_000_000_000;
const minute = 60_000;
const key = 'export/shop/web';

function web(createdAt: number): ExportRecord {
  return exportOf('shop/web', { createdAt });
}

function seen(known: ReviewedAges, record: ClusterRecord, at = now): ReviewedAges {
  return reviewAges(known, keyed(record), { cluster: east, now: at });
}

function ageIn(ages: ReviewedAges): number | undefined {
  const record = ages.records.get(key);
  return record?.kind === 'export' ? record.createdAt : undefined;
}

test('reviewAges: an honest age is taken as it is, a few minutes of clock difference included', () => {
  for (const createdAt of [0, now - minute, now, now + 5 * minute]) {
    const ages = seen(unseenAges(), web(createdAt));
    assert.equal(ageIn(ages), createdAt);
    assert.equal(ages.records, ages.declared);
    assert.deepEqual(ages.notices, []);
  }
});

test('reviewAges: an age from the future counts as first seen, with a notice, and stays so', () => {
  const first = seen(unseenAges(), web(now + 5 * minute + 1));
  assert.equal(ageIn(first), now);
  assert.deepEqual(first.notices, [
    {
      service: 'shop/web',
      reason: 'AgeCorrected',
      message:
        'east says that it exports shop/web since 2027-01-15T08:05:00.001Z; it counts since 2027-01-15T08:00:00.000Z',
    },
  ]);
  const later = seen(first, { ...web(now + 5 * minute + 1), endpoints: { total: 2, ready: 1 } }, now + 60 * minute);
  assert.equal(ageIn(later), now);
});

test('reviewAges: an age that moves backwards stays what it was, also when it moves again', () => {
  const first = seen(unseenAges(), web(now - minute));
  const second = seen(first, web(5));
  assert.equal(ageIn(second), now - minute);
  assert.equal(second.notices.length, 1);
  const third = seen(second, web(4));
  assert.equal(ageIn(third), now - minute);
  const honest = seen(third, web(now - 1));
  assert.equal(ageIn(honest), now - 1);
  assert.deepEqual(honest.notices, []);
  assert.equal(honest.records, honest.declared);
});

test('reviewAges: what was withdrawn and comes back is not older than its withdrawal', () => {
  const gone = seen(seen(unseenAges(), web(now - 9 * minute)), {
    kind: 'tombstone',
    service: parseServiceKey('shop/web'),
    deletedAt: now - minute,
  });
  assert.equal(ageIn(seen(gone, web(1))), now - minute);
  assert.equal(ageIn(seen(gone, web(now))), now);
});

test('reviewAges: what was corrected before a restart is corrected after it', () => {
  const before = seen(seen(unseenAges(), web(now)), web(5));
  assert.equal(ageIn(seen(unseenAges(before.corrections), web(5), now + minute)), now);
});

test('reviewAges: no history of honest or lying records makes an export older than it was first', () => {
  const ages = fc.array(fc.integer({ min: 0, max: 2 * now }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(ages, (declared) => {
      let known = unseenAges();
      let used = 0;
      for (const [step, createdAt] of declared.entries()) {
        known = seen(known, web(createdAt), now + step);
        const next = ageIn(known) ?? Number.NaN;
        assert.ok(next >= used && next <= now + step + 5 * minute, `${used} then ${next}`);
        used = next;
      }
    }),
  );
});

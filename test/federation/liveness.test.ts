import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultLiveness, freshnessOf, silenceOfMost } from '../../src/federation/liveness/freshness.ts';
import { formatHint, parseHint } from '../../src/federation/hint.ts';
import type { Freshness } from '../../src/model/view.ts';

test('freshnessOf: by the time since the last sign of life, never dead for our own loss', () => {
  const cases: [advancedAt: number | undefined, hubUpSince: number | undefined, now: number, expected: Freshness][] = [
    [100_000, 0, 114_999, 'live'],
    [100_000, 0, 115_000, 'suspect'],
    [100_000, 0, 144_999, 'suspect'],
    [100_000, 0, 145_000, 'dead'],
    [100_000, undefined, 114_999, 'live'],
    [100_000, undefined, 900_000, 'suspect'],
    // The hub is back: everyone has the whole time again.
    [100_000, 900_000, 944_999, 'suspect'],
    [100_000, 900_000, 945_000, 'dead'],
    [undefined, undefined, 900_000, 'unknown'],
    [undefined, 100_000, 144_999, 'unknown'],
    [undefined, 100_000, 145_000, 'dead'],
  ];
  for (const [advancedAt, hubUpSince, now, expected] of cases) {
    assert.equal(
      freshnessOf({ advancedAt, hubUpSince }, now, defaultLiveness),
      expected,
      `${advancedAt} ${hubUpSince} ${now}`,
    );
  }
});

test('freshnessOf: who was dead is suspect for a while, who said good-bye is dead', () => {
  const signs = { advancedAt: 100_000, hubUpSince: 0 };
  const at = (now: number, change: object): Freshness => freshnessOf({ ...signs, ...change }, now, defaultLiveness);
  assert.equal(at(100_100, { backSince: 95_000 }), 'suspect');
  assert.equal(at(105_000, { backSince: 95_000 }), 'live');
  assert.equal(at(100_100, { left: true }), 'dead');
  assert.equal(at(100_100, { left: true, hubUpSince: undefined }), 'dead');
});

test('silenceOfMost: most leases that stop within the time of suspicion are the hub, one by one they are not', () => {
  const cases: [advancedAt: number[], now: number, silent: boolean, why: string][] = [
    [[], 100_000, false, 'nobody'],
    [[1000], 100_000, false, 'one alone proves nothing'],
    [[1000, 2000], 100_000, true, 'both'],
    [[1000, 2000], 16_500, false, 'one of them may still come'],
    [[1000, 90_000], 100_000, false, 'one of two'],
    [[1000, 1000, 90_000], 100_000, true, 'two of three'],
    [[1000, 1000, 90_000, 90_000], 100_000, false, 'half is not most'],
    [[1000, 30_000], 100_000, false, 'one long after the other'],
    [[1000, 30_000, 31_000, 32_000], 100_000, true, 'three of four, the fourth was gone before'],
  ];
  for (const [advancedAt, now, silent, why] of cases) {
    assert.equal(silenceOfMost(advancedAt, now, defaultLiveness) !== undefined, silent, why);
  }
  const span = silenceOfMost([1000, 30_000, 31_000, 32_000], 100_000, defaultLiveness);
  assert.ok(span && span.from > 1000 && span.from <= 30_000 && span.to >= 32_000);
});

test('hints: come back as they were; anything else is ignored', () => {
  const hint = { partition: 'east-1', epoch: 1_700_000_000_000, revision: 7 };
  assert.deepEqual(parseHint(formatHint(hint)), hint);
  for (const text of [
    '',
    '*',
    'east',
    'east 1',
    'east 1 x',
    'east -1 1',
    'East 1 1',
    'east 1 1\n',
    `east 1 ${'9'.repeat(30)}`,
  ]) {
    assert.equal(parseHint(text), undefined, text);
  }
});

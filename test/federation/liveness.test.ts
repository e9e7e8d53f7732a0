import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultLiveness, freshnessOf } from '../../src/federation/liveness/freshness.ts';
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

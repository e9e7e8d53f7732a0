import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatMs, formatShare } from '../../src/cli/text.ts';

test('formatAge has two figures at most', () => {
  const ages: readonly (readonly [number | undefined, string])[] = [
    [undefined, '-'],
    [-5, '0.0s'],
    [240, '0.2s'],
    [9949, '9.9s'],
    [9950, '10s'],
    [119_400, '119s'],
    [120_000, '2m'],
    [7_199_000, '119m'],
    [7_200_000, '2h'],
    [172_800_000, '2d'],
    [298 * 86_400_000, '298d'],
  ];
  for (const [ms, text] of ages) assert.equal(formatAge(ms), text);
});

test('formatShare never rounds a failure away', () => {
  const shares: readonly (readonly [number | undefined, string])[] = [
    [undefined, '-'],
    [0, '0%'],
    [1, '100%'],
    [0.88, '88%'],
    [0.9998, '99.98%'],
    [0.99999, '99.99%'],
    [0.000001, '0.01%'],
    [1 / 3, '33.33%'],
  ];
  for (const [share, text] of shares) assert.equal(formatShare(share), text);
});

test('formatMs', () => {
  assert.deepEqual([undefined, 4, 11.84, 250.4].map(formatMs), ['-', '4', '11.8', '250']);
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareOnce, type Tally } from './support/differential.ts';

const rounds = 10_000;

describe('what we read as HTTP/1.1', () => {
  for (const kind of ['request', 'response'] as const) {
    it(`llhttp reads the same way: ${kind}s`, () => {
      const tally: Tally = { both: 0, stricter: 0, refused: 0 };
      for (let seed = 1; seed <= rounds; seed += 1) compareOnce(seed, kind, tally);
      assert.ok(tally.both > rounds / 4, `enough is accepted for that to mean something: ${JSON.stringify(tally)}`);
      assert.ok(tally.refused > rounds / 10, JSON.stringify(tally));
    });
  }
});

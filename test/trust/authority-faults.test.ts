import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killAtWrites } from './support/kills.ts';

test('kill -9 after a write: what was answered is so, nothing is half done, and the join goes on', async () => {
  // Some writes, spread over all of them; `npm run prove -- trust` kills after every one.
  const kills = await killAtWrites(8);
  assert.ok(kills >= 5, `killed ${kills} times only`);
});

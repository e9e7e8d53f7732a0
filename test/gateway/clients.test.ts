import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clientProofsOf } from '../../scripts/prove-gateway-clients.ts';

/** What `npm run prove -- gateway` does with more of everything. */
const short = { bulkBytes: 8 << 20, seconds: 1, redisCommands: 20_000, messages: 200, rows: 1000 };
/** Its server is a large package: `npm run setup -- bench` brings it. */
const wherePresent = new Set(['psql']);

describe('programs that are not ours, through two gateways', { timeout: 120_000 }, () => {
  for (const [name, proof] of Object.entries(clientProofsOf(short))) {
    it(`${name} gets and gives what it would without them`, { timeout: 60_000 }, async (t) => {
      const result = await proof();
      t.diagnostic(JSON.stringify(result));
      if (!wherePresent.has(name)) assert.equal('left_out' in result, false, JSON.stringify(result));
    });
  }
});

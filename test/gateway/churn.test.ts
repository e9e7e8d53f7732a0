import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Fault, faultUnderLoad, rollingRestart } from './support/gateway-faults.ts';

/** The short form of `npm run prove -- gateway`: processes, real TLS, fresh connections all the while. */
describe('one of two remote gateways, under load,', () => {
  const faults: readonly (readonly [Fault, string])[] = [
    ['kill', 'is killed'],
    ['freeze', 'is frozen'],
    ['black-hole', 'is behind a black hole'],
  ];
  for (const [fault, what] of faults) {
    it(`${what}: no fresh connection fails`, async () => {
      const report = await faultUnderLoad(fault, 200);
      assert.equal(report.failed, 0, JSON.stringify(report));
      assert.ok(report.sent > 100, JSON.stringify(report));
    });
  }

  it('is restarted, then the other: no connection fails at all', async () => {
    const report = await rollingRestart(200);
    assert.deepEqual({ failed: report.failed, interrupted: report.interrupted }, { failed: 0, interrupted: 0 });
    assert.ok(report.sent > 100, JSON.stringify(report));
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { faultUnderLoad, rollingRestart } from './support/gateway-faults.ts';

/** The short form of `npm run prove -- gateway`: processes, real TLS, fresh connections all the while. */
describe('one of two remote gateways, under load,', () => {
  it('is killed: no fresh connection fails', async () => {
    const report = await faultUnderLoad('kill', 200);
    assert.equal(report.failed, 0, JSON.stringify(report));
    assert.ok(report.detectMs < 1000 && report.sent > 100, JSON.stringify(report));
  });

  it('is restarted, then the other: no connection fails at all', async () => {
    const report = await rollingRestart(200);
    assert.deepEqual({ failed: report.failed, interrupted: report.interrupted }, { failed: 0, interrupted: 0 });
    assert.ok(report.sent > 100, JSON.stringify(report));
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { callerOf } from '../../../src/gateway/access/caller.ts';
import { Permit } from '../../../src/gateway/access/permit.ts';
import type { AccessJudge, AccessRule } from '../../../src/model/access.ts';
import { parseSpiffeId } from '../../../src/model/identity.ts';
import { parseClusterName } from '../../../src/model/names.ts';
import type { ServiceRoute } from '../../../src/model/route.ts';
import { judgeByPolicy } from '../../../src/policy/access.ts';
import { gatewayId } from '../support/identities.ts';
import { serviceRoute } from '../support/mesh.ts';
import { accessPlan, workload } from './support/pair.ts';

const base: ServiceRoute = {
  ...serviceRoute({ self: 'east' }),
  ports: [{ port: 80, importPort: undefined, appProtocol: 'http' }],
};
const caller = callerOf(
  { id: parseSpiffeId(gatewayId('west', 'gw0')), cluster: parseClusterName('west') },
  workload('cart'),
);
const cart = { from: [{ ids: [workload('cart')] }] };
const ads = { from: [{ ids: [workload('ads')] }] };
const read = { requests: { methods: ['GET'] } };

/** A permit to shop/web:80 whose route can be changed, and how often anybody was judged. */
function permitTo(unseen: boolean, ...rules: readonly Partial<AccessRule>[]) {
  const withRules = (changed: readonly Partial<AccessRule>[]): ServiceRoute =>
    changed.length === 0 ? base : { ...base, access: accessPlan(changed) };
  let route: ServiceRoute | undefined = withRules(rules);
  let judged = 0;
  const access: AccessJudge = {
    connection(request) {
      judged += 1;
      return judgeByPolicy.connection(request);
    },
    request: judgeByPolicy.request,
  };
  return {
    permit: new Permit({ access, routeOf: () => route }, { service: base.key, port: 80, caller, unseen }),
    judged: () => judged,
    set: (change: (now: ServiceRoute) => ServiceRoute | undefined) => (route = change(base)),
    setRules: (...changed: readonly Partial<AccessRule>[]) => (route = withRules(changed)),
  };
}

describe('a permit', () => {
  it('costs no judgement while its service is as it was, and one for each change', () => {
    const { permit, judged, setRules } = permitTo(true);
    for (let count = 0; count < 5; count += 1) assert.equal(permit.revoked(), undefined);
    assert.equal(judged(), 0);
    setRules(cart);
    for (let count = 0; count < 5; count += 1) assert.equal(permit.revoked(), undefined);
    assert.equal(judged(), 1);
  });

  it('is revoked when its caller is denied, and says by what', () => {
    for (const unseen of [true, false]) {
      const { permit, setRules } = permitTo(unseen);
      setRules({ action: 'deny', policy: 'AccessPolicy shop/no of east', ...cart });
      assert.equal(permit.revoked(), 'AccessPolicy shop/no of east');
      setRules(ads);
      assert.equal(permit.revoked(), 'no rule allows');
      setRules();
      assert.equal(permit.revoked(), undefined);
    }
  });

  it('is revoked for bytes that went by unseen when requests are to be judged, and only then', () => {
    const [bytes, requests] = [permitTo(true), permitTo(false)];
    for (const { setRules } of [bytes, requests]) setRules(read);
    assert.equal(bytes.permit.revoked(), 'by request: AccessPolicy shop/web of east');
    assert.equal(requests.permit.revoked(), undefined);
    assert.equal(requests.permit.request('GET', '/').decision, 'allowed');
    assert.equal(requests.permit.request('POST', '/').decision, 'denied');
  });

  it('is not revoked by what is only tried out', () => {
    for (const rules of [
      [{ ...read, audit: true }],
      [{ ...ads, audit: true }],
      [{ action: 'deny', audit: true, ...cart } as const],
      [cart, { action: 'deny', audit: true, ...read } as const],
    ]) {
      const { permit, setRules } = permitTo(true);
      setRules(...rules);
      assert.equal(permit.revoked(), undefined, JSON.stringify(rules));
    }
    const { permit, setRules } = permitTo(true);
    setRules({ ...read, audit: true }, { action: 'deny', ...cart });
    assert.notEqual(permit.revoked(), undefined, 'what is in force beside it counts');
  });

  it('ends with the export of its service, of its port, and with the service', () => {
    const { permit, set } = permitTo(false);
    const denied = (): boolean => permit.request('GET', '/').decision === 'denied';
    for (const change of [() => undefined, (now: ServiceRoute) => ({ ...now, exported: false })]) {
      set(change);
      assert.match(permit.revoked() ?? '', /^not exported any more/);
      assert.ok(denied());
    }
    set((now) => ({ ...now, ports: now.ports.map((one) => ({ ...one, port: 81 })) }));
    assert.match(permit.revoked() ?? '', /on this port$/);
    set((now) => ({ ...now }));
    assert.equal(permit.revoked(), undefined);
    assert.ok(!denied());
  });

  it('ends when its port does not say any more that its requests can be seen, and rules are about them', () => {
    const { permit, set } = permitTo(false, read);
    set((now) => ({ ...now, access: accessPlan([read]), ports: [{ port: 80, importPort: undefined }] }));
    assert.notEqual(permit.revoked(), undefined);
  });
});

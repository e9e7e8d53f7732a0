import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isLogged, type ResponseFlag } from '../../src/gateway/access-log.ts';
import { callerOf } from '../../src/gateway/access/caller.ts';
import { StaticIdentities } from '../../src/gateway/access/static-identities.ts';
import { judgeByExport } from '../../src/gateway/access/verdict.ts';
import { parseCidr, parseIp, prefixOf } from '../../src/model/cidr.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/model/identity.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { serviceRoute } from './support/mesh.ts';

const west = parseClusterName('west');
const id = parseSpiffeId;

describe('callerOf', () => {
  const gateway = { id: id('spiffe://west.mesh.test/isthmus/gateway/gw0'), cluster: west };
  const workload = { id: id('spiffe://west.mesh.test/ns/shop/sa/cart'), cluster: west };

  it('believes a gateway about workloads of its own trust domain, and about nothing else', () => {
    const claims: readonly (readonly [string, string | undefined])[] = [
      ['spiffe://west.mesh.test/ns/shop/sa/web', 'spiffe://west.mesh.test/ns/shop/sa/web'],
      ['spiffe://east.mesh.test/ns/shop/sa/web', undefined],
      ['spiffe://west.mesh.test/isthmus/gateway/gw1', undefined],
      ['spiffe://west.mesh.test/isthmus', undefined],
    ];
    for (const [claim, expected] of claims) {
      const caller = callerOf(gateway, id(claim));
      assert.equal(caller.identity, expected, claim);
      assert.equal(caller.proof, expected === undefined ? 'none' : 'asserted');
    }
    assert.deepEqual([callerOf(gateway, undefined).identity, callerOf(gateway, undefined).proof], [undefined, 'none']);
  });

  it('lets any other peer act for itself, whatever it asserts', () => {
    const caller = callerOf(workload, id('spiffe://west.mesh.test/ns/shop/sa/admin'));
    assert.deepEqual([caller.identity, caller.proof], [workload.id, 'proven']);
  });
});

describe('judgeByExport', () => {
  it('names the rule', () => {
    const caller = callerOf({ id: id('spiffe://west.mesh.test/isthmus/gateway/gw0'), cluster: west }, undefined);
    const judge = (allow: 'members' | 'policy'): unknown =>
      judgeByExport.connection({ route: serviceRoute({ self: 'east', allow }), port: 80, caller });
    assert.deepEqual(judge('members'), { decision: 'allowed', rule: 'allow: members' });
    assert.deepEqual(judge('policy'), { decision: 'denied', rule: 'allow: policy, and no policy allows' });
  });
});

describe('parseIp and parseCidr', () => {
  it('read every form of an address as the same bytes', () => {
    const same = (a: string, b: string): void => assert.deepEqual(parseIp(a), parseIp(b), `${a} ${b}`);
    same('::1', '0:0:0:0:0:0:0:1');
    same('fd00::7', 'FD00:0:0::0007');
    same('::ffff:10.0.0.1', '10.0.0.1');
    same('64:ff9b::1.2.3.4', '64:ff9b::102:304');
    assert.equal(parseIp('10.0.0.1')?.length, 4);
  });

  it('refuse what is none', () => {
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.256',
      '1::2::3',
      ':::',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      'g::',
      '::1%lo',
    ]) {
      assert.equal(parseIp(text), undefined, text);
    }
    for (const text of ['10.0.0.1/24', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'fd00::1/64', '/8']) {
      assert.equal(parseCidr(text), undefined, text);
    }
    assert.equal(parseCidr('10.0.0.7')?.bits, 32);
    assert.deepEqual(prefixOf(Uint8Array.of(255, 255, 255, 255), 12), Uint8Array.of(255, 240, 0, 0));
  });
});

describe('StaticIdentities', () => {
  const domain = parseTrustDomain('west.mesh.test');
  const identities = new StaticIdentities(
    [
      { address: '10.1.0.0/16', identity: 'shop/any' },
      { address: '10.1.2.0/24', identity: 'shop/cart' },
      { address: '10.1.2.3', identity: 'spiffe://west.mesh.test/ns/shop/sa/pay' },
      { address: 'fd00::/64', identity: 'shop/six' },
      { address: '192.0.2.0/24', identity: 'spiffe://east.mesh.test/ns/shop/sa/pay' },
    ],
    () => domain,
  );

  it('takes the longest prefix', () => {
    const of = (address: string): string | undefined => identities.of(address)?.replace('spiffe://west.mesh.test', '');
    assert.equal(of('10.1.9.9'), '/ns/shop/sa/any');
    assert.equal(of('10.1.2.9'), '/ns/shop/sa/cart');
    assert.equal(of('10.1.2.3'), '/ns/shop/sa/pay');
    assert.equal(of('::ffff:10.1.2.3'), '/ns/shop/sa/pay');
    assert.equal(of('fd00::abcd'), '/ns/shop/sa/six');
    assert.equal(of('fd00:0:0:1::1'), undefined);
    assert.equal(of('10.2.0.1'), undefined);
    assert.equal(of('nonsense'), undefined);
  });

  it('gives no identity of another trust domain, and none before there is one of its own', () => {
    assert.equal(identities.of('192.0.2.1'), undefined);
    const early = new StaticIdentities([{ address: '10.0.0.0/8', identity: 'a/b' }], () => undefined);
    assert.equal(early.of('10.0.0.1'), undefined);
  });
});

describe('isLogged', () => {
  it('lets all with trouble be written and the wanted part of the others', () => {
    let draw = 0;
    const random = (): number => (draw = (draw + 0.1) % 1);
    const written = (flag: ResponseFlag, share: number, of: number): number =>
      Array.from({ length: of }, () => isLogged(flag, { share, random })).filter(Boolean).length;
    assert.equal(written('UF', 0, 10), 10);
    assert.equal(written('-', 1, 90), 90);
    assert.equal(written('-', 0, 90), 0);
    const fine = written('-', 0.25, 90);
    assert.ok(fine >= 15 && fine <= 30, `${fine} of 90`);
  });
});

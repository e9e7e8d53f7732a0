import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { parseClusterName, parseServiceKey } from '../../src/model/names.ts';
import {
  decodeAnswer,
  decodeConnect,
  encodeAccepted,
  encodeConnect,
  encodeRefused,
  type HeaderFields,
} from '../../src/wire/connect.ts';

const plain = { ':method': 'CONNECT', ':authority': 'web.shop.svc.clusterset.local:80' };

function decoded(headers: HeaderFields): string {
  const result = decodeConnect(headers);
  return result.ok ? `${result.request.service}:${result.request.port}` : result.reason;
}

describe('decodeConnect', () => {
  it('reads back what encodeConnect wrote', () => {
    const request = {
      service: parseServiceKey('shop/web'),
      port: 8080,
      hop: 2,
      sourceCluster: parseClusterName('west'),
      sourceIdentity: parseSpiffeId('spiffe://west.mesh.test/ns/shop/sa/cart'),
      forwardedFor: '[2001:db8::1]:40000',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    };
    assert.deepEqual(decodeConnect(encodeConnect(request)), { ok: true, request });
  });

  it('sends no hop count from the first gateway', () => {
    const headers = encodeConnect({ service: parseServiceKey('shop/web'), port: 80, hop: 0 });
    assert.deepEqual(headers, plain);
  });

  const authorities: readonly [string, string][] = [
    ['web.shop.svc.clusterset.local:80', 'shop/web:80'],
    ['web.shop.svc.clusterset.local:65535', 'shop/web:65535'],
    ['web.shop.svc.clusterset.local:65536', 'malformed'],
    ['web.shop.svc.clusterset.local:0', 'malformed'],
    ['web.shop.svc.clusterset.local:080', 'malformed'],
    ['web.shop.svc.clusterset.local', 'malformed'],
    ['Web.shop.svc.clusterset.local:80', 'malformed'],
    ['web.shop.svc.cluster.local:80', 'malformed'],
    ['a.web.shop.svc.clusterset.local:80', 'malformed'],
    ['web-.shop.svc.clusterset.local:80', 'malformed'],
    ['10.0.0.1:80', 'address-authority'],
    ['10.0.0.1', 'address-authority'],
    ['[::1]:80', 'address-authority'],
    ['[fe80::1%eth0]:80', 'address-authority'],
    ['', 'malformed'],
    [`${'a'.repeat(64)}.shop.svc.clusterset.local:80`, 'malformed'],
    [`${'a.'.repeat(50_000)}:80`, 'malformed'],
  ];
  for (const [authority, expected] of authorities) {
    it(`takes authority '${authority.slice(0, 60)}' as ${expected}`, () => {
      assert.equal(decoded({ ...plain, ':authority': authority }), expected);
    });
  }

  it('refuses other methods and a hop count that is not one small number', () => {
    assert.equal(decoded({ ...plain, ':method': 'GET' }), 'malformed');
    for (const hop of ['', '-1', '256', '1, 2', '0x1', '9999', ' 1']) {
      assert.equal(decoded({ ...plain, 'x-isthmus-hop': hop }), 'malformed', `hop '${hop}'`);
    }
    assert.equal(decoded({ ...plain, 'x-isthmus-hop': ['1', '1'] }), 'malformed');
  });

  it('leaves out claims that it cannot read', () => {
    const result = decodeConnect({
      ...plain,
      baggage: 'k8s.cluster.name=NOT A NAME',
      forwarded: 'for=unknown',
      traceparent: '00-xyz',
      'x-isthmus-source-identity': 'spiffe://West/x',
    });
    assert.deepEqual(result, { ok: true, request: { service: 'shop/web', port: 80, hop: 0 } });
  });

  it('never throws and never believes what is not written so', () => {
    const value = fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(undefined), fc.integer());
    const names = [':authority', 'x-isthmus-hop', 'x-isthmus-source-identity', 'baggage', 'forwarded', 'traceparent'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), value), (fields) => {
        const result = decodeConnect({ ':method': 'CONNECT', ...fields });
        if (result.ok) assert.deepEqual(decodeConnect(encodeConnect(result.request)), result);
      }),
    );
  });
});

describe('decodeAnswer', () => {
  it('reads back acceptance with its load', () => {
    assert.deepEqual(decodeAnswer(encodeAccepted(17)), { ok: true, load: 17 });
  });

  it('reads back refusals with their reason', () => {
    assert.deepEqual(decodeAnswer(encodeRefused('not-exported')), { ok: false, status: 404, reason: 'not-exported' });
    assert.deepEqual(decodeAnswer(encodeRefused('loop')), { ok: false, status: 508, reason: 'loop' });
  });

  it('takes what it does not know as a refusal without a reason', () => {
    for (const reason of ['toString', '__proto__', 'moon-phase', ['draining']]) {
      assert.deepEqual(decodeAnswer({ ':status': 503, 'x-isthmus-reason': reason }), {
        ok: false,
        status: 503,
        reason: undefined,
      });
    }
    assert.deepEqual(decodeAnswer({}), { ok: false, status: 0, reason: undefined });
    assert.deepEqual(decodeAnswer({ ':status': 200, 'x-isthmus-load': '-1' }), { ok: true, load: undefined });
  });
});

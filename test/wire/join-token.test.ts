import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { formatHostPort, requireHostPort } from '../../src/model/address.ts';
import { decodeJoinToken, encodeJoinToken } from '../../src/wire/join-token.ts';

const parts = {
  cluster: parseClusterName('east'),
  federationDomain: parseTrustDomain('mesh.example'),
  addresses: ['127.0.0.1:8443', '[::1]:8443', 'authority.example:8443'],
  rootSha256: 'ab'.repeat(32),
  secret: Buffer.alloc(32, 5),
  expiresAt: 1_800_000_000_000,
};

test('a token survives printing and pasting', () => {
  const cluster = { kind: 'cluster', ...parts } as const;
  const gateway = { kind: 'gateway', gateway: parseReplicaName('g1'), ...parts } as const;
  for (const token of [cluster, gateway]) {
    const text = encodeJoinToken(token);
    assert.match(text, /^[A-Za-z0-9._-]+$/);
    assert.deepEqual(decodeJoinToken(`  ${text}\n`), token);
  }
});

test('a bad token is refused without showing its secret', () => {
  const text = encodeJoinToken({ kind: 'cluster', ...parts });
  const short = encodeJoinToken({ kind: 'cluster', ...parts, secret: Buffer.alloc(15) });
  const nowhere = encodeJoinToken({ kind: 'cluster', ...parts, addresses: ['nowhere'] });
  for (const bad of ['', 'hello', text.slice(0, -5), text.slice(5), `${text}${'A'.repeat(5000)}`, short, nowhere]) {
    assert.throws(
      () => decodeJoinToken(bad),
      (thrown: Error & { code?: string }) =>
        thrown.code === 'invalid' && thrown.cause === undefined && !thrown.message.includes('BQUF'),
    );
  }
});

test('requireHostPort reads names, IPv4 and bracketed IPv6', () => {
  assert.deepEqual(requireHostPort('[::1]:80'), { host: '::1', port: 80 });
  for (const text of ['a.b:1', '127.0.0.1:65535', '[fe80::1]:443'])
    assert.equal(formatHostPort(requireHostPort(text)), text);
  for (const text of ['', 'a', 'a:', ':1', 'a:0', 'a:65536', '::1:80', 'a b:1', 'http://a:1']) {
    assert.throws(() => requireHostPort(text), { code: 'invalid' }, text);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isReservedPath,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  roleOf,
  trustDomainOf,
} from '../../src/model/identity.ts';

const domainChars = new Set('abcdefghijklmnopqrstuvwxyz0123456789.-_'.split(''));
const pathChars = new Set([...domainChars, ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'.split('')]);

test('ID-8: every byte appended to the trust domain', () => {
  for (let byte = 0; byte < 256; byte += 1) {
    const char = String.fromCharCode(byte);
    const parse = (): string => parseSpiffeId(`spiffe://td${char}`);
    if (domainChars.has(char)) assert.equal(parse(), `spiffe://td${char}`);
    else assert.throws(parse, { code: 'invalid' }, `byte ${byte}`);
  }
});

test('ID-8: every byte appended to the path', () => {
  for (let byte = 0; byte < 256; byte += 1) {
    const char = String.fromCharCode(byte);
    const parse = (): string => parseSpiffeId(`spiffe://td/path${char}`);
    if (pathChars.has(char)) assert.equal(pathOf(parseSpiffeId(parse())), `/path${char}`);
    else assert.throws(parse, { code: 'invalid' }, `byte ${byte}`);
  }
});

test('ID-1 to ID-7: what is and what is not a SPIFFE ID', () => {
  for (const good of [
    'spiffe://td',
    'spiffe://1.2.3.4/a',
    'spiffe://td/...',
    'spiffe://td/.path',
    'spiffe://td/a/B_c-1.2',
  ]) {
    assert.equal(parseSpiffeId(good), good);
  }
  const bad = [
    '',
    'td',
    'spiffe://',
    'spiffe:///a',
    'Spiffe://td',
    'spiffe://TD',
    'http://td',
    'spiffe:/td',
    'spiffe://td/',
  ];
  bad.push('spiffe://td//a', 'spiffe://td/a/', 'spiffe://td/./a', 'spiffe://td/..', 'spiffe://td/%41', 'spiffe://u@td');
  bad.push(
    'spiffe://td:1',
    'spiffe://[::1]/a',
    'spiffe://td?x',
    'spiffe://td#x',
    'spiffe://td/a?x',
    ' spiffe://td',
    'spiffe://tdé',
  );
  for (const text of bad) assert.throws(() => parseSpiffeId(text), { code: 'invalid' }, text);
});

test('ID-5: 2048 bytes, 255 of them for the trust domain', () => {
  const prefix = 'spiffe://td/';
  assert.ok(parseSpiffeId(prefix + 'a'.repeat(2048 - prefix.length)));
  assert.throws(() => parseSpiffeId(prefix + 'a'.repeat(2049 - prefix.length)), { code: 'invalid' });
  assert.ok(parseTrustDomain('a'.repeat(255)));
  assert.throws(() => parseTrustDomain('a'.repeat(256)), { code: 'invalid' });
});

test('roles are recognised by their whole path', () => {
  const id = parseSpiffeId('spiffe://east.mesh.example/isthmus/gateway/g1');
  assert.equal(trustDomainOf(id), 'east.mesh.example');
  assert.deepEqual(roleOf(id), { role: 'gateway', replica: 'g1' });
  for (const path of [
    '/isthmus/gateway',
    '/isthmus/gateway/G',
    '/isthmus/gateway/g/x',
    '/x/isthmus/gateway/g',
    '/isthmus/other/g',
  ]) {
    assert.equal(roleOf(parseSpiffeId(`spiffe://td${path}`)), undefined, path);
  }
  assert.equal(isReservedPath(id), true);
  assert.equal(isReservedPath(parseSpiffeId('spiffe://td/isthmusx')), false);
});

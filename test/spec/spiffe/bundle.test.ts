import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../../src/model/error.ts';
import { parseTrustDomain } from '../../../src/model/identity.ts';
import { bundleStep } from '../../../src/trust/bundle/bundle-rules.ts';
import { publishedBundles } from '../../../src/trust/bundle/published.ts';
import { readBundle, readBundleMap, type SpiffeBundle, x509KeyOf } from '../../../src/trust/bundle/spiffe-bundle.ts';
import { decodeBundle, encodeBundle, encodeBundleMap, maxBundleBytes } from '../../../src/wire/bundle.ts';
import { fingerprintOf, readCertificate } from '../../../src/trust/x509/read.ts';
import { leaf, newFederation, newRoot } from '../../trust/support/federation.ts';
import { makeVectors } from '../../../src/trust/io/vectors.ts';

/** SPIFFE Trust Domain and Bundle §4 and §5, X509-SVID §6. */

const td = parseTrustDomain('a.mesh.example');
const root = newRoot().certificate;
const jwk = createPublicKey({ key: Buffer.from(readCertificate(root).spki), format: 'der', type: 'spki' }).export({
  format: 'jwk',
});
const x5c = [Buffer.from(root).toString('base64')];
const good = { ...jwk, use: 'x509-svid', x5c };

function read(document: unknown): SpiffeBundle {
  return readBundle(td, Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)));
}

function whyIgnored(key: unknown): string {
  const { anchors, ignored } = read({ keys: [key, good] });
  assert.equal(anchors.length, 1, 'the other key still counts');
  assert.equal(ignored.length, 1);
  assert.equal(ignored[0]?.index, 0);
  return ignored[0].why;
}

suite('SPIFFE bundle', () => {
  test("BU-1: 'keys' must be there and be an array; it may be empty", () => {
    for (const bad of [{}, { keys: null }, { keys: {} }, { keys: 'x' }, [], null, 1, '"x"', '', '{', '{"keys":[]} x']) {
      assert.throws(() => read(bad), { code: 'corrupt' }, JSON.stringify(bad));
    }
    assert.equal(read({ keys: [] }).anchors.length, 0);
  });

  test('BU-2: the sequence is a 64-bit integer, read without loss, and nothing else', () => {
    const sequenceOf = (text: string): bigint | undefined => read(`{"spiffe_sequence":${text},"keys":[]}`).sequence;
    assert.equal(sequenceOf('9007199254740993'), 9007199254740993n);
    assert.equal(sequenceOf('18446744073709551615'), 18446744073709551615n);
    assert.equal(sequenceOf('0'), 0n);
    assert.equal(read({ keys: [] }).sequence, undefined);
    for (const bad of ['-1', '1.5', '"1"', 'null', '18446744073709551616', '1e400', '[]', '1'.repeat(50)]) {
      assert.throws(() => sequenceOf(bad), { code: 'corrupt' }, bad);
    }
  });

  test('BU-2: a lower sequence is older, the same with other keys conflicts, whatever their order', () => {
    const second = newRoot().certificate;
    const of = (sequence: bigint | undefined, ...anchors: readonly Uint8Array[]): SpiffeBundle =>
      readBundle(td, encodeBundle({ sequence, x509Keys: anchors.map(x509KeyOf) }));
    const held = of(5n, root, second);
    const result = (offered: SpiffeBundle): string => bundleStep(held, offered).result;
    assert.equal(result(of(4n, root, second)), 'older');
    assert.equal(result(of(undefined, root, second)), 'older');
    assert.equal(result(of(5n, second, root)), 'known');
    assert.equal(result(of(5n, root)), 'conflicting');
    assert.equal(result(of(6n, root)), 'accepted');
    assert.equal(bundleStep(undefined, held).result, 'accepted');
    assert.equal(bundleStep(of(undefined, root), of(undefined, second)).result, 'accepted');
    assert.equal(bundleStep(of(undefined, root), of(undefined, root)).result, 'known');
  });

  test('BU-3: the refresh hint is whole seconds', () => {
    assert.equal(read({ keys: [], spiffe_refresh_hint: 600 }).refreshHintMs, 600_000);
    assert.equal(read({ keys: [] }).refreshHintMs, undefined);
    assert.throws(() => read({ keys: [], spiffe_refresh_hint: 0.5 }), { code: 'corrupt' });
    assert.equal(read('{"keys":[],"spiffe_refresh_hint":18446744073709551615}').refreshHintMs, 31_536_000_000);
  });

  test('BU-4: an unknown use or kty, or none, loses that key only', () => {
    assert.match(whyIgnored({ ...good, use: 'wit-svid' }), /use 'wit-svid' is unknown/);
    assert.match(whyIgnored({ ...good, use: 'X509-SVID' }), /is unknown/);
    assert.match(whyIgnored({ ...jwk, x5c }), /no 'use'/);
    assert.match(whyIgnored({ ...good, kty: 'OKP' }), /kty 'OKP' is unknown/);
    assert.match(whyIgnored({ use: 'x509-svid', x5c }), /kty/);
    assert.match(whyIgnored('text'), /no JSON object/);
  });

  test("BU-5: an x509-svid key has no 'kid', one certificate in 'x5c', and that certificate's key", () => {
    assert.match(whyIgnored({ ...good, kid: '' }), /'kid' must not be set/);
    assert.match(whyIgnored({ ...good, x5c: [] }), /missing or empty/);
    assert.match(whyIgnored({ ...jwk, use: 'x509-svid' }), /missing or empty/);
    const [encoded = ''] = x5c;
    assert.match(whyIgnored({ ...good, x5c: [encoded.replaceAll('=', '').replaceAll('+', '-')] }), /base64|DER/);
    assert.match(whyIgnored({ ...good, x5c: [`-----BEGIN CERTIFICATE-----${encoded}`] }), /not base64/);
    assert.match(whyIgnored({ ...good, x5c: ['AAAA'] }), /DER/);
    const two = read({ keys: [{ ...good, x5c: [encoded, 'not even base64'] }] });
    assert.deepEqual([two.anchors.length, two.ignored.length], [1, 1]);
    const other = readCertificate(newRoot().certificate);
    const otherKey = createPublicKey({ key: Buffer.from(other.spki), format: 'der', type: 'spki' }).export({
      format: 'jwk',
    });
    assert.match(whyIgnored({ ...good, x: otherKey.x, y: otherKey.y }), /not the key of its certificate/);
    const { chain } = leaf(newFederation().ofA, { id: 'spiffe://a.mesh.example/x' });
    const [svid = new Uint8Array()] = chain;
    assert.match(
      whyIgnored({ ...x509KeyOf(svid).jwk, use: 'x509-svid', x5c: [Buffer.from(svid).toString('base64')] }),
      /no CA/,
    );
  });

  test("BU-6: a jwt-svid key has a 'kid'", () => {
    assert.match(whyIgnored({ ...jwk, use: 'jwt-svid' }), /'kid' must be set/);
    assert.deepEqual(read({ keys: [{ ...jwk, use: 'jwt-svid', kid: 'one' }] }).jwtKeyIds, ['one']);
  });

  test('BU-7: without a usable key nothing is trusted, and nothing that was held comes back', () => {
    const { trust, trustWith } = newFederation();
    const anchorsOf = (state: typeof trust): number | undefined => publishedBundles(state).get(td)?.x509Keys.length;
    assert.equal(anchorsOf(trust), 1);
    for (const state of ['suspended', 'revoked'] as const) {
      assert.equal(anchorsOf(trustWith((entry) => (entry.trustDomain === td ? { ...entry, state } : entry))), 0);
    }
    const held = read({ spiffe_sequence: 1, keys: [good] });
    const empty = read({ spiffe_sequence: 2, keys: [] });
    assert.equal(bundleStep(held, empty).result, 'accepted');
    assert.equal(empty.anchors.length, 0);
  });

  test('BU-8: members that nobody knows are no harm', () => {
    assert.equal(read({ keys: [{ ...good, x: good['x'], future: { deep: [1] } }], extra: { a: 1 } }).anchors.length, 1);
  });

  test('BU-9: a bundle map is taken whole, and a trust domain that stands twice refuses it', () => {
    const bundle = JSON.stringify({ keys: [good], spiffe_sequence: 1 });
    const map = (...members: readonly string[]): ReadonlyMap<string, SpiffeBundle> =>
      readBundleMap(Buffer.from(`{"trust_domains":{${members.join(',')}}}`));
    assert.equal(map(`"a":${bundle}`, `"b":${bundle}`).size, 2);
    assert.throws(() => map(`"a":${bundle}`, `"a":${bundle}`), /'a' stands twice/);
    // The same name, spelled with an escape.
    assert.throws(() => map(`"a":${bundle}`, `"\\u0061":${bundle}`), /'a' stands twice/);
    assert.throws(() => map(`"a":${bundle}`, `"A":${bundle}`), { code: 'corrupt' });
    assert.throws(() => map(`"a":${bundle}`, `"b":{}`), { code: 'corrupt' });
    assert.throws(() => readBundleMap(Buffer.from('{}')), { code: 'corrupt' });
    const { trust } = newFederation();
    const text = Buffer.from(encodeBundleMap(publishedBundles(trust))).toString();
    assert.ok(!text.includes('spiffe_refresh_hint'), 'no hint inside of a map');
  });

  test('BU-10: one root key for each trust domain', () => {
    for (const { x509Keys } of publishedBundles(newFederation().trust).values()) assert.equal(x509Keys.length, 1);
  });

  test('what is written is read again, P-384 and RSA too', () => {
    for (const name of ['leaf-plain', 'key-p384', 'key-rsa-2048']) {
      const [anchor = new Uint8Array()] =
        makeVectors(Date.now()).find(({ spec }) => spec.name === name)?.anchors ?? assert.fail(name);
      const bundle = readBundle(
        td,
        encodeBundle({ sequence: 2n ** 60n, refreshHintS: 300, x509Keys: [x509KeyOf(anchor)] }),
      );
      assert.deepEqual(bundle.anchors.map(fingerprintOf), [fingerprintOf(anchor)]);
      assert.deepEqual([bundle.sequence, bundle.refreshHintMs, bundle.ignored], [2n ** 60n, 300_000, []]);
    }
  });

  test('bounds: size, number of keys, depth', () => {
    assert.throws(() => decodeBundle(Buffer.alloc(maxBundleBytes + 1, 0x20)), /over the limit/);
    assert.throws(() => read({ keys: Array.from({ length: 257 }, () => good) }), /257 keys/);
    assert.throws(() => read(`{"keys":[],"x":${'['.repeat(20)}${']'.repeat(20)}}`), /nests deeper/);
    assert.throws(() => readBundle(td, Buffer.from([0x7b, 0xff])), /UTF-8/);
  });

  test('whatever comes, it is a bundle or corrupt, and its anchors are CAs', () => {
    const text = JSON.stringify({ spiffe_sequence: 7, spiffe_refresh_hint: 60, keys: [good, good] });
    const mutated = fc
      .array(fc.tuple(fc.nat(text.length - 1), fc.string({ maxLength: 3 }), fc.nat(3)), { maxLength: 4 })
      .map((edits) =>
        edits.reduce((value, [place, insert, cut]) => value.slice(0, place) + insert + value.slice(place + cut), text),
      );
    fc.assert(
      fc.property(fc.oneof(mutated, fc.json(), fc.string({ unit: 'binary' })), (document) => {
        try {
          for (const anchor of read(document).anchors) assert.equal(readCertificate(anchor).basicConstraints?.ca, true);
        } catch (thrown) {
          assert.ok(thrown instanceof IsthmusError && thrown.code === 'corrupt', String(thrown));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

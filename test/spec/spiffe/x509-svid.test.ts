import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSpiffeId, parseTrustDomain } from '../../../src/model/identity.ts';
import { issue, issuerOf } from '../../../src/trust/io/issuer.ts';
import { generateKeyPem, signerOf } from '../../../src/trust/io/keys.ts';
import { makeVectors, type Vector } from '../../../src/trust/io/vectors.ts';
import type { VectorCertificate } from '../../../src/trust/vectors/certificate.ts';
import { checkTime, verifyPath } from '../../../src/trust/verify/path.ts';
import type { Refusal } from '../../../src/trust/verify/refusal.ts';
import { rules } from '../../../src/trust/verify/rules.ts';
import { trustOf } from '../../../src/trust/verify/trust-state.ts';
import { createPeerVerifier } from '../../../src/trust/verify/peer-verifier.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { profiles } from '../../../src/trust/x509/profiles.ts';
import { readCertificate } from '../../../src/trust/x509/read.ts';
import { a, leaf, newFederation, newIntermediate, now } from '../../trust/support/federation.ts';

/** X509-SVID, and what path validation adds. The vectors are those of `isthmus trust vectors`. */

const at = Date.now();
const vectors = makeVectors(at);

function refusalOf({ spec, chain, anchors }: Vector): Refusal | undefined {
  const trust = trustOf({ trustDomain: parseTrustDomain(spec.trustDomain), sequence: 0, anchors });
  const path = verifyPath(chain, trust, { binding: spec.binding });
  return path.ok ? checkTime(path, at) : path;
}

function named(name: string): Vector {
  return vectors.find(({ spec }) => spec.name === name) ?? assert.fail(`no vector ${name}`);
}

suite('X509-SVID', () => {
  for (const [rule, { says }] of Object.entries(rules)) {
    const about = vectors.filter(({ spec }) => spec.rule === rule);
    if (about.length === 0) continue;
    test(`${rule}: ${says}`, () => {
      for (const vector of about) {
        const { name, expected } = vector.spec;
        const refusal = refusalOf(vector);
        assert.equal(
          refusal?.rule,
          expected === 'accept' ? undefined : rule,
          `${name}: ${refusal?.detail ?? 'accepted'}`,
        );
      }
    });
  }

  test('SG-3: a signing certificate authenticates nobody', () => {
    const { ofA, root, trust } = newFederation();
    for (const chain of [[ofA.certificate], [ofA.certificate, root.certificate], [root.certificate]]) {
      const verdict = verifyPath(chain, trust);
      assert.ok(!verdict.ok && verdict.rule === 'XS-4');
    }
  });

  test('SG-4: path lengths are set as room for a cross certificate, and not more, is needed', () => {
    assert.deepEqual([profiles.root.pathLen, profiles.intermediate.pathLen], [2, 0]);
  });

  test('SG-5: name constraints of an intermediate permit exactly its trust domain, critically', () => {
    const { ofA } = newFederation(true);
    const { nameConstraints, unknownCritical } = readCertificate(ofA.certificate);
    assert.deepEqual(
      nameConstraints?.permitted.map(({ value }) => value.toString()),
      ['a.mesh.example'],
    );
    assert.deepEqual(unknownCritical, []);
    // …2.5.29.30, then BOOLEAN TRUE.
    assert.ok(Buffer.from(ofA.certificate).includes(Buffer.from('0603551d1e0101ff', 'hex')));
  });

  test('SG-6: no CA carries extKeyUsage', () => {
    const { root, ofA } = newFederation();
    for (const { certificate } of [root, ofA]) assert.equal(readCertificate(certificate).extKeyUsage, undefined);
  });

  test('XV-2: what a leaf signed is refused, and a leaf that says it may sign is none', () => {
    for (const name of ['leaf-is-ca', 'leaf-key-usage-with-cert-sign', 'leaf-key-usage-with-crl-sign']) {
      assert.notEqual(refusalOf(named(name)), undefined, name);
    }
    const { ofA, trust } = newFederation();
    const middle = leaf(ofA, { id: 'spiffe://a.mesh.example/x' });
    const [certificate = new Uint8Array(), above = new Uint8Array()] = middle.chain;
    const below = issue(issuerOf(certificate, signerOf(middle.keyPem)), {
      profile: 'leaf',
      uri: parseSpiffeId('spiffe://a.mesh.example/y'),
      spki: signerOf(generateKeyPem()).spki,
      now,
    });
    const verdict = verifyPath([below.certificate, certificate, above], trust);
    assert.ok(!verdict.ok && verdict.rule === 'SG-1', JSON.stringify(verdict));
  });

  test('XV-3: the one URI SAN is a SPIFFE ID with a path', () => {
    const about = vectors.filter(({ spec }) => spec.rule.startsWith('ID-') && spec.expected === 'reject');
    assert.ok(about.length > 15);
    for (const vector of about) assert.equal(refusalOf(vector)?.rule, 'XV-3', vector.spec.name);
    assert.equal(refusalOf(named('leaf-without-path'))?.rule, 'XS-2');
  });

  test('XV-4: more than one URI SAN is refused, whatever the others are', () => {
    for (const name of ['leaf-two-uris', 'leaf-spiffe-and-web-uri']) assert.equal(refusalOf(named(name))?.rule, 'XS-1');
  });

  test('XV-5: first the id, then the bundle of its trust domain, then the path: one root for all changes nothing', () => {
    const { ofA, root } = newFederation(false);
    const { chain } = leaf(ofA, { id: 'spiffe://b.mesh.example/x' });
    const onlyA = trustOf({
      trustDomain: parseTrustDomain('a.mesh.example'),
      sequence: 1,
      anchors: [root.certificate],
    });
    const verdict = verifyPath(chain, onlyA, { binding: 'spiffe' });
    assert.ok(!verdict.ok && verdict.reason === 'unknown-trust-domain');
    // A damaged signature is never reached.
    const [first = new Uint8Array(), ...rest] = chain;
    const damaged = Buffer.from(first);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    const other = verifyPath([damaged, ...rest], onlyA, { binding: 'spiffe' });
    assert.ok(!other.ok && other.reason === 'unknown-trust-domain');
  });

  test('ID-7: a CA named with a trailing slash is accepted of others and never issued', () => {
    assert.equal(refusalOf(named('issuer-name-with-trailing-slash')), undefined);
    const { ofA } = newFederation();
    assert.deepEqual(
      readCertificate(ofA.certificate).names.map(({ value }) => value.toString()),
      ['spiffe://a.mesh.example'],
    );
  });
});

suite('what Isthmus adds', () => {
  const gateway = 'spiffe://a.mesh.example/isthmus/gateway/g';

  test('IS-2: the key of the issuer is listed for that cluster', () => {
    const { root, trust } = newFederation();
    const unlisted = verifyPath(leaf(newIntermediate(root, a), { id: gateway }).chain, trust);
    assert.ok(!unlisted.ok && unlisted.rule === 'IS-2');
  });

  test('IS-3: a denied key signs nothing any more', () => {
    const { ofA, root, trustWith } = newFederation();
    for (const { signer } of [ofA, root]) {
      const trust = trustWith((entry) => entry, { deniedKeyIds: [signer.keyId] });
      const verdict = verifyPath(leaf(ofA, { id: gateway }).chain, trust);
      assert.ok(!verdict.ok && verdict.rule === 'IS-3');
    }
  });

  test('IS-4: only an active member of the roster is trusted', () => {
    const { ofA, trustWith } = newFederation();
    for (const state of ['suspended', 'revoked'] as const) {
      const verdict = verifyPath(
        leaf(ofA, { id: gateway }).chain,
        trustWith((entry) => ({ ...entry, state })),
      );
      assert.ok(!verdict.ok && verdict.rule === 'IS-4' && verdict.reason === `cluster-${state}`);
    }
  });

  test('IS-5: a key for seals is no peer', () => {
    const { ofA, trust } = newFederation();
    const { chain } = leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/seal/one', profile: 'seal' });
    const verdict = createPeerVerifier(new Watchable(trust), { now: () => now }).verify(chain);
    assert.ok(!verdict.ok && 'rule' in verdict && verdict.rule === 'IS-5');
  });

  test('PV-1: a chain is never so long, and never so costly, that judging it matters', () => {
    const { ofA, trust } = newFederation();
    const { chain } = leaf(ofA, { id: gateway });
    const long = verifyPath([...chain, ...Array.from({ length: 5 }, () => ofA.certificate)], trust);
    assert.ok(!long.ok && long.rule === 'PV-1');
    assert.ok(!verifyPath([Buffer.alloc(17 << 10, 0x30)], trust).ok);
  });
});

test('every rule in the table is some test’s', () => {
  const asked = new Set<string>(vectors.map(({ spec }) => spec.rule));
  for (const rule of Object.keys(rules)) {
    assert.ok(asked.has(rule) || ['IS-2', 'IS-3', 'IS-4', 'IS-5', 'XV-3'].includes(rule), rule);
  }
  const certificates: readonly VectorCertificate[] = vectors.flatMap(({ spec }) => Object.values(spec.certificates));
  for (const key of ['p256', 'p384', 'rsa2048'] as const) {
    assert.ok(
      certificates.some((certificate) => certificate.key === key),
      key,
    );
  }
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { makeVectors } from '../../src/trust/io/vectors.ts';
import type { LintFinding } from '../../src/model/trust-report.ts';
import { lintCertificates } from '../../src/trust/lint/lint.ts';
import { readCertificate } from '../../src/trust/x509/read.ts';
import { leaf, newFederation, newRoot, now } from './support/federation.ts';

const vectors = makeVectors(now);

function lint(certificates: readonly Uint8Array[], at: number = now): readonly LintFinding[] {
  return lintCertificates(
    certificates.map((bytes, index) => ({ label: `f#${index + 1}`, certificate: readCertificate(bytes) })),
    at,
  );
}

function codesOf(name: string): readonly string[] {
  const { chain, anchors } = vectors.find(({ spec }) => spec.name === name) ?? assert.fail(`no vector ${name}`);
  return lint([...chain, ...anchors]).map(({ code }) => code);
}

suite('lintCertificates', () => {
  test('what Isthmus issues has no error; its constraints are told of, for the peers that they break', () => {
    const { root, ofA } = newFederation(true);
    const svid = leaf(ofA, { id: 'spiffe://a.mesh.example/x' });
    const findings = lint([...svid.chain, root.certificate]);
    assert.deepEqual(
      findings.filter(({ severity }) => severity === 'error'),
      [],
    );
    const rustls = findings.find(({ code }) => code === 'uri-name-constraints');
    assert.deepEqual([rustls?.certificate, rustls?.peers[0]], ['f#2', 'rustls (ztunnel, linkerd2-proxy)']);
    const free = newFederation(false);
    assert.deepEqual(lint([free.root.certificate, ...leaf(free.ofA, { id: 'spiffe://a.mesh.example/x' }).chain]), []);
  });

  const broken = {
    'leaf-two-uris': 'leaf-uri-count',
    'leaf-without-subject-san-not-critical': 'san-not-critical',
    'leaf-key-usage-not-critical': 'no-svid',
    'leaf-server-only': 'no-svid',
    'id-underscore-in-trust-domain': 'underscore-in-trust-domain',
    'id-underscore-under-constraint': 'constraint-underscore',
    'id-ipv4-trust-domain': 'address-as-trust-domain',
    'id-ipv4-under-constraint': 'constraint-address',
    'id-nul-byte': 'unclean-name',
    'id-not-ascii': 'unclean-name',
    'issuer-name-with-trailing-slash': 'trailing-slash',
    'issuer-without-cert-sign': 'ca-without-cert-sign',
    'issuer-key-usage-not-critical': 'key-usage-not-critical',
    'constraint-with-path': 'constraint-not-a-host',
    'constraint-own-trust-domain': 'constraints-ignored',
    'constraint-parent-without-dot': 'constraint-suffix',
    'constraint-on-uris-leaves-dns-free': 'dns-unconstrained',
    'key-rsa-1024-issuer': 'unfit-key',
    'key-ed25519-issuer': 'unfit-key',
    'signature-sha1': 'weak-signature',
    'depth-anchor-allows-none': 'no-room-for-intermediates',
    'depth-no-room-for-cross-certificate': 'no-room-for-cross',
    'path-two-roots-of-one-name': 'roots-of-one-name',
    'time-leaf-expired': 'expired',
    'time-leaf-not-yet-valid': 'not-yet-valid',
    'time-intermediate-expired': 'outlives-issuer',
    'extension-unknown-critical-in-leaf': 'unknown-critical',
  };
  for (const [name, code] of Object.entries(broken)) {
    test(`${code}: ${name}`, () => assert.ok(codesOf(name).includes(code), codesOf(name).join(', ')));
  }

  test('a plain chain is told nothing', () => assert.deepEqual(codesOf('leaf-plain'), []));

  test('the worst comes first, and what does not decode is an error', () => {
    const severities = lint([
      newRoot().certificate,
      ...(vectors.find(({ spec }) => spec.name === 'constraint-with-path')?.chain ?? []),
    ]);
    const order = severities.map(({ severity }) => ['error', 'warning', 'note'].indexOf(severity));
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    );
    const [finding] = lintCertificates([{ label: 'x#1', problem: 'not DER' }], now);
    assert.deepEqual([finding?.severity, finding?.code, finding?.certificate], ['error', 'malformed', 'x#1']);
  });
});

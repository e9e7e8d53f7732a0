import type { VectorCertificate } from './certificate.ts';
import {
  constrained,
  dns,
  including,
  intermediate,
  leaf,
  refusal,
  root,
  trustDomain,
  uri,
  type VectorCase,
  vectorCase,
  without,
} from './vector-case.ts';

const year = 31_536_000;

/** The root that takes over from `root`, and its cross certificate. */
const successor: VectorCertificate = {
  ...root,
  issuer: 'successor',
  subject: { organization: 'vectors.example', commonName: 'second root' },
};
const cross: VectorCertificate = {
  ...including(
    including({ ...successor, issuer: 'root', keyOf: 'successor' }, { kind: 'basicConstraints', ca: true, pathLen: 1 }),
    { kind: 'authorityKeyId' },
  ),
  to: year,
};

function keyed(certificate: VectorCertificate, key: VectorCertificate['key']): VectorCertificate {
  return { ...certificate, key };
}

function rootOfDepth(pathLen: number): VectorCertificate {
  return including(root, { kind: 'basicConstraints', ca: true, pathLen });
}

const below: VectorCertificate = {
  ...intermediate,
  issuer: 'intermediate',
  subject: { organization: 'vectors.example', commonName: 'below a' },
};

const partial = {
  openssl: 'wants a self-signed end unless told -partial_chain',
  node: 'wants a self-signed end unless told allowPartialTrustChain',
} as const;

const readsBer = { openssl: 'reads BER', node: 'reads BER', jdk: 'reads BER' } as const;
const anySerial = 'takes any integer for a serial number';

/** A leaf with a DNS name below an intermediate that permits `shop.example`. */
function dnsNamed(name: string): VectorCase['certificates'] {
  return {
    intermediate: constrained(uri(trustDomain), dns('shop.example')),
    leaf: including(leaf, { kind: 'names', names: [uri(`spiffe://${trustDomain}/x`), dns(name)], critical: true }),
  };
}

/** RFC 5280 §6: how a path is built and judged. */
export const pathCases: readonly VectorCase[] = [
  vectorCase({ name: 'path-with-anchor-in-chain', rule: 'XV-1', chain: ['leaf', 'intermediate', 'root'] }),
  vectorCase({
    name: 'path-without-intermediate',
    rule: 'XV-1',
    chain: ['leaf'],
    certificates: { leaf: { ...leaf, issuer: 'root' } },
  }),
  vectorCase({
    name: 'path-anchored-at-intermediate',
    rule: 'XV-1',
    chain: ['leaf'],
    anchors: ['intermediate'],
    disagree: partial,
  }),
  refusal({ name: 'path-intermediate-missing', rule: 'XV-1', chain: ['leaf'] }),
  vectorCase({
    name: 'path-over-cross-certificate',
    rule: 'PV-4',
    chain: ['leaf', 'intermediate', 'cross'],
    certificates: { successor, cross, intermediate: { ...intermediate, issuer: 'successor' } },
  }),
  vectorCase({
    name: 'path-chain-out-of-order',
    rule: 'XV-1',
    chain: ['leaf', 'cross', 'intermediate'],
    certificates: { successor, cross, intermediate: { ...intermediate, issuer: 'successor' } },
  }),
  vectorCase({
    name: 'path-expired-cross-beside-its-root',
    rule: 'PV-3',
    chain: ['leaf', 'intermediate', 'cross'],
    anchors: ['root', 'successor'],
    certificates: {
      successor,
      cross: { ...cross, from: -7200, to: -3600 },
      intermediate: { ...intermediate, issuer: 'successor' },
    },
  }),
  vectorCase({
    name: 'path-expired-anchor-beside-renewed',
    rule: 'PV-3',
    anchors: ['expired', 'root'],
    certificates: { expired: { ...root, keyOf: 'root', from: -7200, to: -3600 } },
  }),
  vectorCase({
    name: 'path-two-roots-of-one-name',
    rule: 'XV-1',
    anchors: ['stranger', 'root'],
    certificates: { stranger: { ...root, issuer: 'stranger' } },
  }),
  vectorCase({
    name: 'key-p384',
    rule: 'PV-2',
    certificates: {
      root: keyed(root, 'p384'),
      intermediate: keyed(intermediate, 'p384'),
      leaf: keyed(leaf, 'p384'),
    },
  }),
  vectorCase({
    name: 'key-rsa-2048',
    rule: 'PV-2',
    certificates: {
      root: keyed(root, 'rsa2048'),
      intermediate: keyed(intermediate, 'rsa2048'),
      leaf: keyed(leaf, 'rsa2048'),
    },
  }),
  vectorCase({ name: 'key-rsa-root-above-p256', rule: 'PV-2', certificates: { root: keyed(root, 'rsa2048') } }),
  refusal({
    name: 'key-rsa-1024-issuer',
    rule: 'PV-2',
    certificates: { intermediate: keyed(intermediate, 'rsa1024') },
    disagree: {
      openssl: 'accepts at its default security level',
      go: 'accepts: it only refuses to use such keys in TLS',
      jdk: 'accepts: RSA keys below 1024 bits are disabled',
    },
  }),
  refusal({
    name: 'key-p521-issuer',
    rule: 'PV-2',
    certificates: { intermediate: keyed(intermediate, 'p521') },
    disagree: { openssl: 'accepts P-521', node: 'accepts P-521', go: 'accepts P-521', jdk: 'accepts P-521' },
  }),
  refusal({
    name: 'key-ed25519-issuer',
    rule: 'PV-2',
    certificates: { intermediate: keyed(intermediate, 'ed25519') },
    disagree: { openssl: 'accepts Ed25519', node: 'accepts Ed25519', go: 'accepts Ed25519', jdk: 'accepts Ed25519' },
  }),
  refusal({
    name: 'signature-sha1',
    rule: 'PV-2',
    certificates: { leaf: { ...leaf, damage: 'sha1' } },
    disagree: { openssl: 'accepts at security level 1', jdk: 'accepts: SHA-1 is disabled for some uses only' },
  }),
  refusal({
    name: 'signature-of-leaf-damaged',
    rule: 'PV-2',
    certificates: { leaf: { ...leaf, damage: 'signature' } },
  }),
  refusal({
    name: 'signature-of-intermediate-damaged',
    rule: 'PV-2',
    certificates: { intermediate: { ...intermediate, damage: 'signature' } },
  }),
  refusal({ name: 'time-leaf-expired', rule: 'PV-3', certificates: { leaf: { ...leaf, from: -7200, to: -3600 } } }),
  refusal({ name: 'time-leaf-not-yet-valid', rule: 'PV-3', certificates: { leaf: { ...leaf, from: 3600 } } }),
  refusal({
    name: 'time-intermediate-expired',
    rule: 'PV-3',
    certificates: { intermediate: { ...intermediate, from: -7200, to: -3600 } },
  }),
  refusal({
    name: 'time-anchor-expired',
    rule: 'PV-3',
    certificates: { root: { ...root, from: -7200, to: -3600 } },
  }),
  vectorCase({ name: 'time-root-beyond-2050', rule: 'PV-3', certificates: { root: { ...root, to: 40 * year } } }),
  vectorCase({
    name: 'depth-not-limited',
    rule: 'PV-4',
    certificates: {
      root: including(root, { kind: 'basicConstraints', ca: true }),
      intermediate: including(intermediate, { kind: 'basicConstraints', ca: true }),
    },
  }),
  refusal({
    name: 'depth-ca-below-intermediate',
    rule: 'PV-4',
    chain: ['leaf', 'below', 'intermediate'],
    certificates: { below, leaf: { ...leaf, issuer: 'below' } },
  }),
  refusal({
    name: 'depth-anchor-allows-none',
    rule: 'PV-4',
    certificates: { root: rootOfDepth(0) },
    disagree: { jdk: 'does not look at the path length of an anchor' },
  }),
  refusal({
    name: 'depth-no-room-for-cross-certificate',
    rule: 'PV-4',
    chain: ['leaf', 'intermediate', 'cross'],
    certificates: {
      root: rootOfDepth(1),
      successor,
      cross,
      intermediate: { ...intermediate, issuer: 'successor' },
    },
    disagree: { jdk: 'does not look at the path length of an anchor' },
  }),
  vectorCase({
    name: 'extension-unknown',
    rule: 'PV-5',
    certificates: { leaf: including(leaf, { kind: 'unknown', critical: false }) },
  }),
  refusal({
    name: 'extension-unknown-critical-in-leaf',
    rule: 'PV-5',
    certificates: { leaf: including(leaf, { kind: 'unknown', critical: true }) },
  }),
  refusal({
    name: 'extension-unknown-critical-in-intermediate',
    rule: 'PV-5',
    certificates: { intermediate: including(intermediate, { kind: 'unknown', critical: true }) },
  }),
  refusal({
    name: 'encoding-version-1',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'version-1' } },
    disagree: { node: 'accepts a leaf of version 1', go: 'accepts a leaf of version 1' },
  }),
  refusal({
    name: 'encoding-long-length',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'long-length' } },
    disagree: readsBer,
  }),
  refusal({
    name: 'encoding-trailing-byte',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'trailing-byte' } },
    disagree: { openssl: 'stops reading at the end of the certificate' },
  }),
  refusal({
    name: 'encoding-negative-serial',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'negative-serial' } },
    disagree: { openssl: anySerial, node: anySerial, jdk: anySerial },
  }),
  refusal({
    name: 'encoding-zero-serial',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'zero-serial' } },
    disagree: { openssl: anySerial, node: anySerial, go: anySerial, jdk: anySerial },
  }),
  refusal({
    name: 'encoding-32-byte-serial',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'long-serial' } },
    disagree: { openssl: anySerial, node: anySerial, go: anySerial, jdk: anySerial },
  }),
  refusal({
    name: 'encoding-two-algorithms',
    rule: 'PV-1',
    certificates: { leaf: { ...leaf, damage: 'other-inner-algorithm' } },
  }),
  vectorCase({
    name: 'constraint-own-trust-domain',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri(trustDomain)) },
  }),
  refusal({
    name: 'constraint-another-trust-domain',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri('b.vectors.example')) },
  }),
  vectorCase({
    name: 'constraint-with-leading-dot',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri('.vectors.example')) },
  }),
  refusal({
    name: 'constraint-with-leading-dot-of-itself',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri(`.${trustDomain}`)) },
  }),
  refusal({
    name: 'constraint-parent-without-dot',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri('vectors.example')) },
    disagree: { go: 'takes a host for all names below it as well' },
  }),
  refusal({
    name: 'constraint-suffix-of-a-label',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri('ectors.example')) },
  }),
  refusal({
    name: 'constraint-with-path',
    rule: 'PV-6',
    certificates: { intermediate: constrained(uri(`${trustDomain}/ns`)) },
  }),
  refusal({
    name: 'constraint-not-critical',
    rule: 'PV-6',
    certificates: {
      intermediate: including(intermediate, {
        kind: 'nameConstraints',
        permitted: [uri('b.vectors.example')],
        critical: false,
      }),
    },
  }),
  refusal({
    name: 'constraint-excludes-trust-domain',
    rule: 'PV-6',
    certificates: {
      intermediate: including(intermediate, {
        kind: 'nameConstraints',
        excluded: [uri(trustDomain)],
        critical: true,
      }),
    },
  }),
  vectorCase({
    name: 'constraint-on-uris-leaves-dns-free',
    rule: 'PV-6',
    certificates: {
      intermediate: constrained(uri(trustDomain)),
      leaf: including(leaf, {
        kind: 'names',
        names: [uri(`spiffe://${trustDomain}/x`), dns('elsewhere.example')],
        critical: true,
      }),
    },
  }),
  refusal({
    name: 'constraint-excludes-all-dns',
    rule: 'PV-6',
    certificates: {
      intermediate: including(intermediate, {
        kind: 'nameConstraints',
        permitted: [uri(trustDomain)],
        excluded: [dns('')],
        critical: true,
      }),
      leaf: including(leaf, {
        kind: 'names',
        names: [uri(`spiffe://${trustDomain}/x`), dns('elsewhere.example')],
        critical: true,
      }),
    },
  }),
  vectorCase({ name: 'constraint-dns-itself', rule: 'PV-6', certificates: dnsNamed('shop.example') }),
  vectorCase({ name: 'constraint-dns-below', rule: 'PV-6', certificates: dnsNamed('Web.Shop.example') }),
  refusal({ name: 'constraint-dns-elsewhere', rule: 'PV-6', certificates: dnsNamed('web.other.example') }),
  refusal({ name: 'constraint-dns-suffix-of-a-label', rule: 'PV-6', certificates: dnsNamed('webshop.example') }),
  refusal({
    name: 'constraint-on-root-binds-below',
    rule: 'PV-6',
    certificates: {
      root: including(root, { kind: 'nameConstraints', permitted: [uri('.b.example')], critical: true }),
      intermediate: without(intermediate, 'names'),
    },
    disagree: { jdk: 'does not look at the name constraints of an anchor' },
  }),
];

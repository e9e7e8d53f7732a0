import { oids } from '../x509/oids.ts';
import {
  dns,
  including,
  leaf,
  leafNamed,
  refusal,
  spiffeOnly,
  spiffeOnlyBut,
  trustDomain,
  uri,
  type VectorCase,
  vectorCase,
  without,
} from './vector-case.ts';

const own = `spiffe://${trustDomain}/ns/shop/sa/web`;

function usage(bits: readonly number[], critical = true) {
  return including(leaf, { kind: 'keyUsage', bits, critical });
}

function purposes(...wanted: readonly string[]) {
  return including(leaf, { kind: 'extKeyUsage', purposes: wanted });
}

const named = { organization: 'vectors.example', commonName: 'web' };

/** What X509-SVID §2 to §4 asks of a leaf. */
export const leafCases: readonly VectorCase[] = [
  vectorCase({ name: 'leaf-plain', rule: 'XV-1' }),
  vectorCase({
    name: 'leaf-with-dns-names',
    rule: 'XS-1',
    certificates: {
      leaf: including(leaf, {
        kind: 'names',
        names: [uri(own), dns('web.example'), dns('other.example')],
        critical: true,
      }),
    },
  }),
  refusal({
    name: 'leaf-two-uris',
    rule: 'XS-1',
    certificates: { leaf: leafNamed(own, `${own}2`) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-spiffe-and-web-uri',
    rule: 'XS-1',
    certificates: { leaf: leafNamed(own, 'https://example.org/') },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-without-uri',
    rule: 'XS-1',
    certificates: { leaf: including(leaf, { kind: 'names', names: [dns('web.example')], critical: true }) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-without-path',
    rule: 'XS-2',
    certificates: { leaf: leafNamed(`spiffe://${trustDomain}`) },
    disagree: spiffeOnly,
  }),
  vectorCase({
    name: 'leaf-with-subject',
    rule: 'XS-3',
    certificates: {
      leaf: including({ ...leaf, subject: named }, { kind: 'names', names: [uri(own)], critical: false }),
    },
  }),
  refusal({
    name: 'leaf-without-subject-san-not-critical',
    rule: 'XS-3',
    certificates: { leaf: including(leaf, { kind: 'names', names: [uri(own)], critical: false }) },
    disagree: {
      node: 'OpenSSL looks at this only when asked to be strict',
      go: 'does not look at it',
    },
  }),
  vectorCase({
    name: 'leaf-without-basic-constraints',
    rule: 'XS-4',
    certificates: { leaf: without(leaf, 'basicConstraints') },
  }),
  refusal({
    name: 'leaf-is-ca',
    rule: 'XS-4',
    certificates: { leaf: including(leaf, { kind: 'basicConstraints', ca: true }) },
    // OpenSSL misses the subject key identifier that a CA must have.
    disagree: spiffeOnlyBut('openssl'),
  }),
  refusal({
    name: 'leaf-without-key-usage',
    rule: 'XS-5',
    certificates: { leaf: without(leaf, 'keyUsage') },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-key-usage-not-critical',
    rule: 'XS-5',
    certificates: { leaf: usage([0], false) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-key-usage-without-digital-signature',
    rule: 'XS-5',
    certificates: { leaf: usage([2]) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-key-usage-with-cert-sign',
    rule: 'XS-5',
    certificates: { leaf: usage([0, 5]) },
    disagree: spiffeOnlyBut('openssl'),
  }),
  refusal({
    name: 'leaf-key-usage-with-crl-sign',
    rule: 'XS-5',
    certificates: { leaf: usage([0, 6]) },
    // To OpenSSL this is an issuer of revocation lists, which must have a subject.
    disagree: spiffeOnlyBut('openssl'),
  }),
  vectorCase({
    name: 'leaf-key-usage-with-encipherment-and-agreement',
    rule: 'XS-5',
    certificates: { leaf: usage([0, 2, 4]) },
  }),
  vectorCase({
    name: 'leaf-without-ext-key-usage',
    rule: 'XS-6',
    certificates: { leaf: without(leaf, 'extKeyUsage') },
  }),
  refusal({
    name: 'leaf-server-only',
    rule: 'XS-6',
    certificates: { leaf: purposes(oids.serverAuth) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'leaf-client-only',
    rule: 'XS-6',
    certificates: { leaf: purposes(oids.clientAuth) },
    // It is presented by a server here.
    disagree: spiffeOnlyBut('node'),
  }),
];

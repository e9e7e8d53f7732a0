import {
  including,
  intermediate,
  leaf,
  leafNamed,
  refusal,
  root,
  spiffeOnly,
  uri,
  type VectorCase,
  vectorCase,
  without,
} from './vector-case.ts';

const other = 'spiffe://b.vectors.example';

function issuerNamed(...names: readonly string[]) {
  return including(intermediate, { kind: 'names', names: names.map(uri), critical: false });
}

/** What is asked of whoever signed, and of how it is bound to the leaf. */
export const issuerCases: readonly VectorCase[] = [
  refusal({
    name: 'issuer-is-no-ca',
    rule: 'SG-1',
    certificates: { intermediate: including(intermediate, { kind: 'basicConstraints', ca: false }) },
  }),
  refusal({
    name: 'issuer-without-basic-constraints',
    rule: 'SG-1',
    certificates: { intermediate: without(intermediate, 'basicConstraints') },
  }),
  refusal({
    name: 'issuer-without-cert-sign',
    rule: 'SG-1',
    certificates: { intermediate: including(intermediate, { kind: 'keyUsage', bits: [0, 6], critical: true }) },
  }),
  refusal({
    name: 'issuer-key-usage-not-critical',
    rule: 'SG-1',
    certificates: { intermediate: including(intermediate, { kind: 'keyUsage', bits: [5, 6], critical: false }) },
    disagree: spiffeOnly,
  }),
  vectorCase({
    name: 'issuer-without-name',
    rule: 'SG-2',
    certificates: { intermediate: without(intermediate, 'names') },
  }),
  vectorCase({
    name: 'issuer-name-with-trailing-slash',
    rule: 'ID-7',
    certificates: { intermediate: issuerNamed('spiffe://a.vectors.example/') },
  }),
  refusal({
    name: 'issuer-name-with-path',
    rule: 'SG-2',
    certificates: { intermediate: issuerNamed('spiffe://a.vectors.example/ca') },
    disagree: spiffeOnly,
  }),
  vectorCase({ name: 'binding-own-trust-domain', rule: 'IS-1', binding: 'trust-domain' }),
  refusal({
    name: 'binding-issuer-of-another-trust-domain',
    rule: 'IS-1',
    binding: 'trust-domain',
    certificates: { intermediate: issuerNamed(other) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'binding-issuer-of-two-trust-domains',
    rule: 'IS-1',
    binding: 'trust-domain',
    certificates: { intermediate: issuerNamed('spiffe://a.vectors.example', other) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'binding-issuer-without-name',
    rule: 'IS-1',
    binding: 'trust-domain',
    certificates: { intermediate: without(intermediate, 'names') },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'binding-issuer-of-longer-trust-domain',
    rule: 'IS-1',
    binding: 'trust-domain',
    certificates: { intermediate: issuerNamed('spiffe://x.a.vectors.example') },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'binding-issuer-of-parent-domain',
    rule: 'IS-1',
    binding: 'trust-domain',
    certificates: { intermediate: issuerNamed('spiffe://vectors.example') },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'binding-root-stands-in-for-intermediate',
    rule: 'IS-1',
    binding: 'trust-domain',
    chain: ['leaf'],
    certificates: {
      root: including(root, { kind: 'names', names: [uri('spiffe://a.vectors.example')], critical: false }),
      leaf: { ...leaf, issuer: 'root' },
    },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'bundle-of-another-trust-domain',
    rule: 'XV-1',
    certificates: { leaf: leafNamed(`${other}/ns/shop/sa/web`) },
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'bundle-of-parent-domain',
    rule: 'XV-1',
    trustDomain: 'vectors.example',
    disagree: spiffeOnly,
  }),
  refusal({
    name: 'anchor-of-another-root',
    rule: 'XV-1',
    anchors: ['stranger'],
    certificates: {
      stranger: {
        ...root,
        issuer: 'stranger',
        subject: { organization: 'vectors.example', commonName: 'another root' },
      },
    },
  }),
  refusal({
    name: 'anchor-of-same-name-with-another-key',
    rule: 'XV-1',
    anchors: ['stranger'],
    certificates: { stranger: { ...root, issuer: 'stranger' } },
  }),
];

import {
  constrained,
  leafNamed,
  refusal,
  spiffeOnly,
  spiffeOnlyBut,
  trustDomain,
  uri,
  type VectorCase,
  vectorCase,
} from './vector-case.ts';

const td = trustDomain;

function bad(
  name: string,
  rule: VectorCase['rule'],
  text: string,
  disagree: VectorCase['disagree'] = spiffeOnly,
): VectorCase {
  return refusal({ name, rule, certificates: { leaf: leafNamed(text) }, disagree });
}

function good(name: string, rule: VectorCase['rule'], domain: string, path = '/x'): VectorCase {
  return vectorCase({
    name,
    rule,
    trustDomain: domain,
    certificates: { leaf: leafNamed(`spiffe://${domain}${path}`) },
  });
}

/** What SPIFFE-ID §2 asks of the text in the URI SAN. */
export const idCases: readonly VectorCase[] = [
  bad('id-other-scheme', 'ID-1', `https://${td}/x`),
  bad('id-empty-trust-domain', 'ID-1', 'spiffe:///x'),
  bad('id-query', 'ID-1', `spiffe://${td}/x?a`),
  bad('id-fragment', 'ID-1', `spiffe://${td}/x#a`),
  bad('id-userinfo', 'ID-2', `spiffe://user@${td}/x`),
  bad('id-port', 'ID-2', `spiffe://${td}:443/x`),
  bad('id-percent-in-trust-domain', 'ID-3', 'spiffe://a%2evectors.example/x', spiffeOnlyBut('go')),
  good('id-ipv4-trust-domain', 'ID-3', '192.0.2.7'),
  good('id-underscore-in-trust-domain', 'ID-3', 'a_b.vectors.example'),
  vectorCase({
    name: 'id-underscore-under-constraint',
    rule: 'ID-3',
    trustDomain: 'a_b.vectors.example',
    certificates: {
      leaf: leafNamed('spiffe://a_b.vectors.example/x'),
      intermediate: constrained(uri('a_b.vectors.example')),
    },
    disagree: { jdk: 'cannot parse a constraint whose host has an underscore' },
  }),
  vectorCase({
    name: 'id-ipv4-under-constraint',
    rule: 'ID-3',
    trustDomain: '192.0.2.7',
    certificates: { leaf: leafNamed('spiffe://192.0.2.7/x'), intermediate: constrained(uri('192.0.2.7')) },
    disagree: { go: 'cannot parse a constraint on an address' },
  }),
  bad('id-upper-case-trust-domain', 'ID-6', `spiffe://A.vectors.example/x`),
  bad('id-upper-case-scheme', 'ID-6', `SPIFFE://${td}/x`),
  bad('id-percent-in-path', 'ID-4', `spiffe://${td}/%78`),
  bad('id-empty-segment', 'ID-4', `spiffe://${td}/a//b`),
  bad('id-dot-segment', 'ID-4', `spiffe://${td}/a/./b`),
  bad('id-dot-dot-segment', 'ID-4', `spiffe://${td}/a/../b`),
  bad('id-trailing-slash', 'ID-4', `spiffe://${td}/a/`),
  good('id-three-dots-segment', 'ID-4', td, '/...'),
  good('id-2048-bytes', 'ID-5', td, `/${'p'.repeat(2048 - `spiffe://${td}/`.length)}`),
  bad('id-2049-bytes', 'ID-5', `spiffe://${td}/${'p'.repeat(2049 - `spiffe://${td}/`.length)}`),
  bad('id-nul-byte', 'ID-4', `spiffe://${td}/a\0b`, spiffeOnlyBut('go', 'jdk')),
  bad('id-not-ascii', 'ID-4', `spiffe://${td}/\u00e9`, spiffeOnlyBut('go')),
  refusal({
    name: 'id-nul-byte-behind-constrained-host',
    rule: 'ID-3',
    certificates: { leaf: leafNamed(`spiffe://${td}\0.evil.example/x`), intermediate: constrained(uri(td)) },
    disagree: { node: 'OpenSSL 3.5 compares what stands in front of the NUL' },
  }),
];

/**
 * The rules that verification decides by, numbered so that refusals, tests and vectors speak of the same thing.
 * XS: the leaf. SG: whoever signed. XV: how a chain is validated. PV: path validation. IS: what Isthmus adds.
 */
export const rules = {
  'XS-1': { source: 'X509-SVID §2, §5.2', says: 'a leaf has exactly one URI SAN' },
  'XS-2': { source: 'X509-SVID §3.1', says: 'the SPIFFE ID of a leaf has a path' },
  'XS-3': { source: 'X509-SVID §3.1, RFC 5280 §4.1.2.6', says: 'without a subject the SAN is critical' },
  'XS-4': { source: 'X509-SVID §4.1', says: 'a leaf is no CA' },
  'XS-5': {
    source: 'X509-SVID §4.3',
    says: 'keyUsage of a leaf is critical, has digitalSignature and neither keyCertSign nor cRLSign',
  },
  'XS-6': { source: 'X509-SVID §4.4', says: 'extKeyUsage of a leaf, if there, has serverAuth and clientAuth' },
  'SG-1': {
    source: 'X509-SVID §4.1, §4.3, RFC 5280 §6.1.4 (k), (n)',
    says: 'a signing certificate is a CA and its keyUsage is critical and has keyCertSign',
  },
  'SG-2': { source: 'X509-SVID §3.2', says: 'the SPIFFE ID of a signing certificate has no path' },
  'XV-1': {
    source: 'X509-SVID §5.1, SPIFFE Federation §7.3',
    says: 'a chain leads to an anchor in the bundle of its own trust domain, and of no other',
  },
  'XV-3': { source: 'X509-SVID §5.2, SPIFFE-ID §2', says: 'the URI SAN is a SPIFFE ID' },
  'PV-1': { source: 'RFC 5280 §4.1, X.690 §10', says: 'a chain is 1 to 6 certificates of version 3 in canonical DER' },
  'PV-2': {
    source: 'RFC 5280 §6.1.3 (a)(1)',
    says: 'every signature verifies, with an algorithm and key that are fit',
  },
  'PV-3': { source: 'RFC 5280 §6.1.3 (a)(2)', says: 'every certificate of the path is within its life' },
  'PV-4': { source: 'RFC 5280 §6.1.4 (m), §4.2.1.9', says: 'no more CAs below a CA than its path length allows' },
  'PV-5': { source: 'RFC 5280 §6.1.4 (o), §6.1.5 (f)', says: 'no critical extension is unknown' },
  'PV-6': { source: 'RFC 5280 §6.1.3 (b), (c), §4.2.1.10', says: 'every name is within the name constraints above it' },
  'IS-1': {
    source: 'docs/concepts/trust.md, "Issuer binding"',
    says: 'the issuer of a leaf is named for exactly its trust domain; of an id of the authority it is the root',
  },
  'IS-2': {
    source: 'docs/concepts/trust.md, "Issuer binding"',
    says: 'the key of the issuer is listed by the roster for that cluster',
  },
  'IS-3': { source: 'docs/concepts/trust.md, "Revoking"', says: 'no key of the path is on the deny-list' },
  'IS-4': { source: 'docs/concepts/trust.md, "Revoking"', says: 'the cluster is active in the roster' },
  'IS-5': { source: 'docs/concepts/trust.md, "Who holds what"', says: 'a key for seals is no peer' },
} as const;

export type RuleId = keyof typeof rules;

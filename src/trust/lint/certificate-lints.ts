import { messageOf } from '../../model/error.ts';
import { oids } from '../x509/oids.ts';
import type { Certificate } from '../x509/read.ts';
import { readPublicKey } from '../x509/signature.ts';
import { type CertificateLint, everybody, findingIf } from './finding.ts';

const dayMs = 86_400_000;
const longestLeafMs = dayMs;

const strongAlgorithms: ReadonlySet<string> = new Set([
  oids.ecdsaSha256,
  oids.ecdsaSha384,
  oids.ecdsaSha512,
  oids.rsaSha256,
  oids.rsaSha384,
  oids.rsaSha512,
]);

export function isSelfSigned({ subject, issuer, subjectKeyId, authorityKeyId }: Certificate): boolean {
  const sameKey = authorityKeyId === undefined || subjectKeyId === undefined || authorityKeyId === subjectKeyId;
  return Buffer.from(subject).equals(issuer) && sameKey;
}

/** Keys, signatures and extensions that some peers will not take. */
export const lintShape: CertificateLint = (certificate) => {
  const { basicConstraints, subjectKeyId, authorityKeyId, extKeyUsage, keyUsage, unknownCritical } = certificate;
  const isCa = basicConstraints?.ca ?? false;
  const key = keyProblem(certificate);
  return [
    ...findingIf(key !== undefined, { severity: 'error', code: 'unfit-key', peers: ['Isthmus'], what: key ?? '' }),
    ...findingIf(!strongAlgorithms.has(certificate.signatureAlgorithm), {
      severity: 'error',
      code: 'weak-signature',
      peers: ['Isthmus', 'Go', 'OpenSSL at security level 2'],
      what: `the signature algorithm ${certificate.signatureAlgorithm} is none of ECDSA or RSA with SHA-2`,
    }),
    ...findingIf(isCa && subjectKeyId === undefined, {
      severity: 'error',
      code: 'no-subject-key-id',
      peers: ['OpenSSL -x509_strict', 'Isthmus'],
      what: 'a CA must have a subject key identifier (RFC 5280 §4.2.1.2); roster and deny-list name keys by it',
    }),
    ...findingIf(!isSelfSigned(certificate) && authorityKeyId === undefined, {
      severity: 'warning',
      code: 'no-authority-key-id',
      peers: ['OpenSSL -x509_strict'],
      what: 'without an authority key identifier two issuers of one name cannot be told apart',
    }),
    ...findingIf(isCa && !keyUsage?.has('keyCertSign'), {
      severity: 'error',
      code: 'ca-without-cert-sign',
      peers: everybody,
      what: 'a CA must have keyCertSign (X509-SVID §4.3)',
    }),
    ...findingIf(isCa && keyUsage !== undefined && !keyUsage.critical, {
      severity: isSelfSigned(certificate) ? 'note' : 'error',
      code: 'key-usage-not-critical',
      peers: ['Isthmus', 'SPIFFE'],
      what: 'keyUsage of a CA must be critical (X509-SVID §4.3); anchors are let pass',
    }),
    ...findingIf(isCa && extKeyUsage !== undefined, {
      severity: 'warning',
      code: 'ca-with-ext-key-usage',
      peers: ['Go', 'OpenSSL', 'JDK'],
      what: 'they do not agree on what extKeyUsage of a CA means for what it signs',
      advice: 'leave it out',
    }),
    ...findingIf(unknownCritical.length > 0, {
      severity: 'error',
      code: 'unknown-critical',
      peers: everybody,
      what: `critical extensions that hardly anybody knows: ${unknownCritical.join(', ')}`,
    }),
  ];
};

function keyProblem({ spki }: Certificate): string | undefined {
  try {
    readPublicKey(spki);
    return undefined;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** Room below a CA, and whether others can end a path there. */
export const lintAnchor: CertificateLint = (certificate) => {
  const { basicConstraints } = certificate;
  if (!basicConstraints?.ca) return [];
  const { pathLen } = basicConstraints;
  const selfSigned = isSelfSigned(certificate);
  return [
    ...findingIf(selfSigned && pathLen === 1, {
      severity: 'warning',
      code: 'no-room-for-cross',
      peers: everybody,
      what: 'a path length of 1 leaves no room for a cross certificate when this root is replaced',
      advice: 'use a path length of 2, or none',
    }),
    ...findingIf(selfSigned && pathLen === 0, {
      severity: 'error',
      code: 'no-room-for-intermediates',
      peers: ['Isthmus', 'OpenSSL', 'Go'],
      what: 'a path length of 0 allows no intermediates below this root (the JDK does not look)',
    }),
    ...findingIf(!selfSigned && pathLen !== 0, {
      severity: 'note',
      code: 'partial-chain',
      peers: ['OpenSSL without -partial_chain', 'Node without allowPartialTrustChain'],
      what: 'if this is to be the anchor, these consumers want the self-signed root above it as well',
      advice: 'Isthmus, Go and the JDK end a path here',
    }),
  ];
};

/** How long it lives, as of `now` (wall clock in ms). */
export function lintLife(now: number): CertificateLint {
  return ({ basicConstraints, keyUsage, extKeyUsage, notBefore, notAfter }) => {
    const isPeer = !basicConstraints?.ca && keyUsage?.has('digitalSignature') === true && extKeyUsage !== undefined;
    const day = (at: number): string => new Date(at).toISOString();
    return [
      ...findingIf(now > notAfter, {
        severity: 'error',
        code: 'expired',
        peers: everybody,
        what: `it expired at ${day(notAfter)}`,
      }),
      ...findingIf(now < notBefore, {
        severity: 'error',
        code: 'not-yet-valid',
        peers: everybody,
        what: `it is not valid before ${day(notBefore)}`,
      }),
      ...findingIf(isPeer && notAfter - notBefore > longestLeafMs + 120_000, {
        severity: 'note',
        code: 'long-lived-leaf',
        peers: ['Isthmus'],
        what: `it lives ${Math.round((notAfter - notBefore) / dayMs)} days; what is stolen stays usable as long`,
      }),
    ];
  };
}

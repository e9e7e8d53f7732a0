import type { LintFinding } from '../../model/trust-report.ts';
import type { Certificate } from '../x509/read.ts';
import { leafId } from '../verify/svid-profile.ts';
import { isSelfSigned, lintAnchor, lintLife, lintShape } from './certificate-lints.ts';
import {
  type CertificateLint,
  everybody,
  type Finding,
  type LintedCertificate,
  type ReadableCertificate,
} from './finding.ts';
import { lintNames } from './name-lints.ts';

const severities: readonly LintFinding['severity'][] = ['error', 'warning', 'note'];

/**
 * Says which peers will not take these certificates, or not as they are meant: the worst first. `now`: wall clock in ms.
 */
export function lintCertificates(given: readonly LintedCertificate[], now: number): readonly LintFinding[] {
  const lints: readonly CertificateLint[] = [lintNames, lintShape, lintAnchor, lintLife(now), lintSvid];
  const readable = given.filter((each) => 'certificate' in each);
  const single = given.flatMap((each) =>
    ('problem' in each ? unreadable(each.problem) : lints.flatMap((lint) => lint(each.certificate))).map((finding) => ({
      ...finding,
      certificate: each.label,
    })),
  );
  const findings = [...single, ...lintTogether(readable)];
  return findings.sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity));
}

function unreadable(problem: string): readonly Finding[] {
  return [{ severity: 'error', code: 'malformed', peers: ['Isthmus', 'Go'], what: problem }];
}

/** What the rules of an X.509-SVID say that no other lint does. */
const lintSvid: CertificateLint = (certificate) => {
  if (certificate.basicConstraints?.ca) return [];
  const verdict = leafId(certificate);
  if (verdict.ok || verdict.rule === 'XS-1' || verdict.rule === 'XS-3' || verdict.rule === 'PV-5') return [];
  return [{ severity: 'error', code: 'no-svid', peers: ['SPIFFE', 'Isthmus'], what: verdict.detail }];
};

/** What is wrong between certificates, each of which is fine. */
function lintTogether(given: readonly ReadableCertificate[]): readonly LintFinding[] {
  return given.flatMap((one, index) =>
    given.flatMap((other, place) => {
      const findings = [...(place > index ? lintTwins(one, other) : []), ...lintIssued(one, other)];
      return findings.map((finding) => ({ ...finding, certificate: one.label }));
    }),
  );
}

function lintTwins(one: ReadableCertificate, other: ReadableCertificate): readonly Finding[] {
  const [a, b] = [one.certificate, other.certificate];
  if (!isSelfSigned(a) || !isSelfSigned(b) || !same(a.subject, b.subject) || same(a.spki, b.spki)) return [];
  return [
    {
      severity: 'warning',
      code: 'roots-of-one-name',
      peers: ['OpenSSL', 'JDK', 'Go'],
      what: `${other.label} is another root of the same name: which one is tried first depends on the order of a file`,
      advice: 'give every root a name of its own',
    },
  ];
}

/** `one` looks like a certificate that `other` issued. */
function lintIssued(one: ReadableCertificate, other: ReadableCertificate): readonly Finding[] {
  const [subject, issuer] = [one.certificate, other.certificate];
  if (one === other || isSelfSigned(subject) || !same(subject.issuer, issuer.subject)) return [];
  if (subject.authorityKeyId !== issuer.subjectKeyId || subject.notAfter <= issuer.notAfter) return [];
  return [
    {
      severity: 'error',
      code: 'outlives-issuer',
      peers: everybody,
      what: `it ends after ${other.label}, which issued it: it will fail while it still looks valid`,
    },
  ];
}

function same(a: Certificate['subject'], b: Certificate['subject']): boolean {
  return Buffer.from(a).equals(b);
}

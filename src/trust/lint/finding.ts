import type { LintFinding } from '../../model/trust-report.ts';
import type { Certificate } from '../x509/read.ts';

/** A certificate that is looked at, and how it is called in findings: `<file>#<number>`. */
export type LintedCertificate =
  | ReadableCertificate
  /** Why it does not decode. */
  | { readonly label: string; readonly problem: string };

/** One that decodes. */
export interface ReadableCertificate {
  readonly label: string;
  readonly certificate: Certificate;
}

/** A finding before it is said of which certificate. */
export type Finding = Omit<LintFinding, 'certificate'>;

/** Looks at one certificate. */
export type CertificateLint = (certificate: Certificate) => readonly Finding[];

/** A finding that concerns everybody who keeps to a specification. */
export const everybody: readonly string[] = ['all'];

/** `when` or nothing. */
export function findingIf(condition: boolean, finding: Finding): readonly Finding[] {
  return condition ? [finding] : [];
}

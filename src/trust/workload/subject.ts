import { IsthmusError } from '../../model/error.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain } from '../../model/identity.ts';

/** `sub` of a Kubernetes service-account token. */
export const kubernetesSubject = 'system:serviceaccount:{namespace}:{serviceAccount}';

/** RFC 1123, as Kubernetes names namespaces and service accounts. */
const label = '([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)';
/** Service accounts may be DNS subdomains. */
const subdomain = '([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)';
const maxPatternChars = 300;
const maxSubjectChars = 600;

/** Reads the identity out of the subject of a token. */
export type SubjectReader = (subject: string) => SpiffeId;

/**
 * Compiles a pattern such as `system:serviceaccount:{namespace}:{serviceAccount}`: both names exactly once, everything
 * else literally. The id is `/ns/<namespace>/sa/<service account>` of `domain`, whatever issuer the token is of.
 * @throws IsthmusError `invalid`
 */
export function subjectReader(pattern: string, domain: TrustDomain): SubjectReader {
  const parts = pattern.split(/(\{namespace\}|\{serviceAccount\})/);
  const names = parts.filter((part) => part === '{namespace}' || part === '{serviceAccount}');
  const touching = /\}\{/.test(pattern);
  if (names.length !== 2 || names[0] === names[1] || touching || pattern.length > maxPatternChars) {
    throw new IsthmusError(
      'invalid',
      `A subject must have {namespace} and {serviceAccount} once each, with text between them: current value is '${pattern.slice(0, 100)}'`,
    );
  }
  const source = parts
    .map((part) => {
      if (part === '{namespace}') return label;
      return part === '{serviceAccount}' ? subdomain : part.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    })
    .join('');
  const shape = new RegExp(`^${source}$`);
  const namespaceFirst = names[0] === '{namespace}';
  return (subject) => {
    const [, first, second] = subject.length <= maxSubjectChars ? (shape.exec(subject) ?? []) : [];
    if (first === undefined || second === undefined) {
      throw new IsthmusError('unauthenticated', `The subject of the token is not of the form '${pattern}'`);
    }
    const [namespace, account] = namespaceFirst ? [first, second] : [second, first];
    return parseSpiffeId(`spiffe://${domain}/ns/${namespace}/sa/${account}`);
  };
}

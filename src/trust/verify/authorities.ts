import { parseTrustDomain } from '../../model/identity.ts';
import type { Certificate } from '../x509/read.ts';
import { constraintViolation } from './name-constraints.ts';
import { type Refusal, refuse } from './refusal.ts';
import { uriNames } from './svid-profile.ts';

/** RFC 5280 §6.1.4: everything above the leaf must be a CA that may sign, and that many levels deep. */
export function checkAuthorities(path: readonly Certificate[]): Refusal | undefined {
  let below = 0;
  for (const [index, authority] of path.entries()) {
    if (index === 0) continue;
    const what = `certificate ${index} above the leaf`;
    if (!authority.basicConstraints?.ca) return refuse('profile', `${what} is no CA`, 'SG-1');
    if (!authority.keyUsage?.has('keyCertSign')) return refuse('profile', `${what} lacks keyCertSign`, 'SG-1');
    // An anchor is trusted for its key; some that are in use everywhere do not mark the extension.
    if (!authority.keyUsage.critical && index < path.length - 1) {
      return refuse('profile', `keyUsage of ${what} is not critical`, 'SG-1');
    }
    const { pathLen } = authority.basicConstraints;
    if (pathLen !== undefined && below > pathLen) {
      return refuse('profile', `${what} allows ${pathLen} CAs below itself, there are ${below}`, 'PV-4');
    }
    if (authority.unknownCritical.length > 0) {
      const ids = authority.unknownCritical.join(', ');
      return refuse('profile', `${what} has unknown critical extensions: ${ids}`, 'PV-5');
    }
    // A self-issued CA (same name above and below) does not count (RFC 5280 §6.1.4 (l)).
    if (!Buffer.from(authority.subject).equals(authority.issuer)) below += 1;
  }
  return undefined;
}

/** A signing certificate need not have a SPIFFE ID; if it has one, it is that of a whole trust domain. */
export function checkAuthorityNames(path: readonly Certificate[]): Refusal | undefined {
  for (const name of path.slice(1).flatMap(uriNames)) {
    // The SPIFFE documents' own example ends with a slash: accepted of others, never issued.
    const host = /^spiffe:\/\/([^/]*)\/?$/.exec(name)?.[1];
    if (name.startsWith('spiffe:') && (host === undefined || !isTrustDomain(host))) {
      return refuse('profile', `signing certificate has the SPIFFE ID '${name.slice(0, 200)}'`, 'SG-2');
    }
  }
  return undefined;
}

function isTrustDomain(text: string): boolean {
  try {
    return parseTrustDomain(text) === text;
  } catch {
    // The rule is the caller's to name.
    return false;
  }
}

/** Every name of the path is within the constraints of each CA above it. */
export function checkNames(path: readonly Certificate[]): Refusal | undefined {
  for (const [index, authority] of path.entries()) {
    if (index === 0 || !authority.nameConstraints) continue;
    for (const subject of path.slice(0, index)) {
      const violation = constraintViolation(authority.nameConstraints, subject.names);
      if (violation) return refuse('profile', `name constraints: ${violation}`, 'PV-6');
    }
  }
  return undefined;
}

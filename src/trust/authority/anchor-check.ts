import { IsthmusError } from '../../model/error.ts';
import type { SpiffeId, TrustDomain } from '../../model/identity.ts';
import { type ProfileName, profiles, backdateMs } from '../x509/profiles.ts';
import { generalNameTag } from '../x509/read-extensions.ts';
import { type Certificate, readCertificate } from '../x509/read.ts';
import { readPublicKey, verifySignature } from '../x509/signature.ts';
import { uriNames } from '../verify/svid-profile.ts';

function refused(what: string, rule: string): IsthmusError {
  return new IsthmusError('invalid', `${what} is refused: ${rule}`);
}

/**
 * Whether a CA certificate of somebody else can be the federation's anchor: a root, or an intermediate under a
 * corporate root that is then no business of ours. DER. @throws IsthmusError `invalid`, naming the rule
 */
export function checkAnchor(der: Uint8Array, now: number): Certificate {
  const what = 'The anchor';
  const anchor = readCertificate(der);
  const { basicConstraints, keyUsage, notBefore, notAfter } = anchor;
  if (!basicConstraints?.ca) throw refused(what, 'basicConstraints must say that it is a CA');
  const { pathLen } = basicConstraints;
  if (pathLen !== undefined && pathLen < 1) {
    throw refused(what, `its pathLen must be 1 or more, for the clusters' intermediates: it is ${pathLen}`);
  }
  if (!keyUsage?.has('keyCertSign')) throw refused(what, 'its keyUsage must have keyCertSign');
  if (!anchor.hasSubject) throw refused(what, 'its subject must not be empty');
  if (anchor.unknownCritical.length > 0) {
    throw refused(what, `it has critical extensions that nobody here knows: ${anchor.unknownCritical.join(', ')}`);
  }
  if (anchor.nameConstraints) throw refused(what, 'it must have no name constraints: members have their own');
  if (now < notBefore || now >= notAfter) {
    throw refused(what, `it is valid from ${text(notBefore)} to ${text(notAfter)}, and now is ${text(now)}`);
  }
  readPublicKey(anchor.spki);
  return anchor;
}

/** What a certificate must be that came back from an offline root. */
export interface ExpectedCertificate {
  readonly profile: Exclude<ProfileName, 'root' | 'leaf'>;
  readonly uri: SpiffeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** The trust domain to which name constraints must permit it; undefined: without any. */
  readonly permitted: TrustDomain | undefined;
  /** DER. */
  readonly anchor: Uint8Array;
  /** Wall clock in ms. */
  readonly now: number;
}

/**
 * Checks a certificate against what was asked for: whoever carried the file may have changed it, and the root may have
 * been asked for something else. @throws IsthmusError `invalid`, naming the rule
 */
export function checkIssued(der: Uint8Array, expected: ExpectedCertificate): Certificate {
  const what = `The certificate for ${expected.uri}`;
  const issued = readCertificate(der);
  const anchor = readCertificate(expected.anchor);
  if (!Buffer.from(issued.issuer).equals(anchor.subject)) throw refused(what, 'its issuer is not the anchor');
  const signed = { bytes: issued.tbs, signature: issued.signature };
  if (!verifySignature(readPublicKey(anchor.spki), issued.signatureAlgorithm, signed)) {
    throw refused(what, 'its signature is not of the anchor');
  }
  if (!Buffer.from(issued.spki).equals(expected.spki)) throw refused(what, 'its key is not the one asked for');
  const problem = shapeProblem(issued, expected) ?? lifeProblem(issued, expected, anchor);
  if (problem !== undefined) throw refused(what, problem);
  return issued;
}

function shapeProblem(issued: Certificate, { profile, uri, permitted }: ExpectedCertificate): string | undefined {
  const wanted = profiles[profile];
  const { basicConstraints, keyUsage, extKeyUsage, nameConstraints, names } = issued;
  if (names.length !== 1 || uriNames(issued)[0] !== uri) return `its only name must be ${uri}`;
  if ((basicConstraints?.ca ?? false) !== (wanted.pathLen !== undefined)) return 'it is a CA, or should be one';
  if (basicConstraints?.pathLen !== wanted.pathLen) return `its pathLen must be ${wanted.pathLen ?? 'absent'}`;
  if (!keyUsage?.critical || !wanted.keyUsage.every((name) => keyUsage.has(name))) {
    return `its keyUsage must be critical and have ${wanted.keyUsage.join(', ')}`;
  }
  if ((extKeyUsage !== undefined) !== wanted.extKeyUsage) return 'its extKeyUsage is not that of its kind';
  const trees = nameConstraints ? [...nameConstraints.permitted, ...nameConstraints.excluded] : [];
  const wantedTrees = permitted === undefined ? 0 : 1;
  if (trees.length !== wantedTrees) return `it must have ${wantedTrees} name constraints: it has ${trees.length}`;
  const [tree] = nameConstraints?.permitted ?? [];
  if (permitted !== undefined && (tree?.tag !== generalNameTag.uri || tree.value.toString('latin1') !== permitted)) {
    return `its name constraint must be ${permitted}`;
  }
  return issued.unknownCritical.length > 0 ? 'it has unknown critical extensions' : undefined;
}

function lifeProblem(
  issued: Certificate,
  { profile, now }: ExpectedCertificate,
  anchor: Certificate,
): string | undefined {
  const { notBefore, notAfter } = issued;
  if (now >= notAfter) return `it ended at ${text(notAfter)}`;
  if (notAfter > anchor.notAfter) return `it ends at ${text(notAfter)}, after the anchor`;
  if (notAfter - notBefore > profiles[profile].maxLifeMs + backdateMs) return 'it lives longer than its kind may';
  return undefined;
}

function text(at: number): string {
  return new Date(at).toISOString();
}

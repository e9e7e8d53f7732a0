import type { RuleId } from '../verify/rules.ts';
import { oids } from '../x509/oids.ts';
import { generalNameTag } from '../x509/read-extensions.ts';
import type { VectorCertificate, VectorExtension, VectorName } from './certificate.ts';

/** Verifiers of other makes that the vectors are tried on. */
export type VectorPeer = 'openssl' | 'node' | 'go' | 'jdk';

/** One question to a verifier, and the answer. */
export interface VectorCase {
  /** Unique; the name of its folder. */
  readonly name: string;
  readonly rule: RuleId | `ID-${number}`;
  readonly certificates: Readonly<Record<string, VectorCertificate>>;
  /** As presented, leaf first. */
  readonly chain: readonly string[];
  readonly anchors: readonly string[];
  /** Whose bundle the anchors are. */
  readonly trustDomain: string;
  /** `spiffe`: the SPIFFE rules alone; `trust-domain`: the issuer must be named for the leaf's trust domain as well. */
  readonly binding: 'spiffe' | 'trust-domain';
  readonly expected: 'accept' | 'reject';
  /** Verifiers that are known to answer otherwise, and why. */
  readonly disagree: Readonly<Partial<Record<VectorPeer, string>>>;
}

type Certificates = Readonly<Record<string, VectorCertificate>>;

/** A case, with what most have in common left out. */
export type CaseSpec = Pick<VectorCase, 'name' | 'rule'> &
  Partial<Omit<VectorCase, 'certificates' | 'name' | 'rule'>> & { readonly certificates?: Certificates };

export const trustDomain = 'a.vectors.example';
const id = `spiffe://${trustDomain}/ns/shop/sa/web`;
const day = 86_400;

export function uri(text: string): VectorName {
  return { tag: generalNameTag.uri, text };
}

export function dns(text: string): VectorName {
  return { tag: generalNameTag.dns, text };
}

const keyIds: readonly VectorExtension[] = [{ kind: 'subjectKeyId' }, { kind: 'authorityKeyId' }];
const caUsage: VectorExtension = { kind: 'keyUsage', bits: [5, 6], critical: true };

/** A root as Isthmus makes them. */
export const root: VectorCertificate = {
  issuer: 'root',
  key: 'p256',
  subject: { organization: 'vectors.example', commonName: 'vectors.example root' },
  from: -day,
  to: 3650 * day,
  extensions: [{ kind: 'basicConstraints', ca: true, pathLen: 2 }, caUsage, { kind: 'subjectKeyId' }],
};

/** An intermediate without name constraints. */
export const intermediate: VectorCertificate = {
  issuer: 'root',
  key: 'p256',
  subject: { organization: 'vectors.example', commonName: 'a intermediate' },
  from: -3600,
  to: 30 * day,
  extensions: [
    { kind: 'basicConstraints', ca: true, pathLen: 0 },
    caUsage,
    ...keyIds,
    { kind: 'names', names: [uri(`spiffe://${trustDomain}`)], critical: false },
  ],
};

/** A leaf as Isthmus makes them. */
export const leaf: VectorCertificate = {
  issuer: 'intermediate',
  key: 'p256',
  subject: undefined,
  from: -60,
  to: day,
  extensions: [
    { kind: 'basicConstraints', ca: false },
    { kind: 'keyUsage', bits: [0], critical: true },
    { kind: 'extKeyUsage', purposes: [oids.serverAuth, oids.clientAuth] },
    { kind: 'authorityKeyId' },
    { kind: 'names', names: [uri(id)], critical: true },
  ],
};

/** Puts an extension in the place of the one of its kind, or at the end. */
export function including(certificate: VectorCertificate, extension: VectorExtension): VectorCertificate {
  const others = certificate.extensions.filter(({ kind }) => kind !== extension.kind);
  return { ...certificate, extensions: [...others, extension] };
}

/** Takes an extension away. */
export function without(certificate: VectorCertificate, kind: VectorExtension['kind']): VectorCertificate {
  return { ...certificate, extensions: certificate.extensions.filter((each) => each.kind !== kind) };
}

/** A leaf with these URI names. */
export function leafNamed(...names: readonly string[]): VectorCertificate {
  return including(leaf, { kind: 'names', names: names.map(uri), critical: true });
}

/** An intermediate that permits these names only. */
export function constrained(...permitted: readonly VectorName[]): VectorCertificate {
  return including(intermediate, { kind: 'nameConstraints', permitted, critical: true });
}

/** Fills in what a case does not say: leaf ← intermediate ← root, accepted by all. */
export function vectorCase({ certificates = {}, ...spec }: CaseSpec): VectorCase {
  return {
    chain: ['leaf', 'intermediate'],
    anchors: ['root'],
    trustDomain,
    binding: 'spiffe',
    expected: 'accept',
    disagree: {},
    certificates: { root, intermediate, leaf, ...certificates },
    ...spec,
  };
}

/** A case that must be refused. */
export function refusal(spec: CaseSpec): VectorCase {
  return vectorCase({ ...spec, expected: 'reject' });
}

const knowsNoSpiffe = 'checks X.509 and knows nothing of SPIFFE';

/** For rules that SPIFFE adds to X.509: every general verifier accepts. */
export const spiffeOnly: VectorCase['disagree'] = spiffeOnlyBut();

/** As `spiffeOnly`, but these have reasons of their own to refuse. */
export function spiffeOnlyBut(...strict: readonly VectorPeer[]): VectorCase['disagree'] {
  const lax = (['openssl', 'node', 'go', 'jdk'] as const).filter((peer) => !strict.includes(peer));
  return Object.fromEntries(lax.map((peer) => [peer, knowsNoSpiffe]));
}

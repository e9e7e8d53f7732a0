import { IsthmusError } from './error.ts';
import type { Brand, ClusterName, ReplicaName } from './names.ts';

/** A SPIFFE trust domain name (SPIFFE-ID §2.1). */
export type TrustDomain = Brand<'TrustDomain'>;
/** `spiffe://<trust domain><path>`, the path possibly empty (SPIFFE-ID §2). */
export type SpiffeId = Brand<'SpiffeId'>;

const scheme = 'spiffe://';
const trustDomainChars = /^[a-z0-9._-]+$/;
const segmentChars = /^[a-zA-Z0-9._-]+$/;
/** SPIFFE-ID §2.3. */
const maxIdBytes = 2048;
const maxTrustDomainBytes = 255;

function invalid(rule: string, text: string): IsthmusError {
  return new IsthmusError('invalid', `${rule}: current value is '${text.slice(0, 200)}'`);
}

/** @throws IsthmusError `invalid` */
export function parseTrustDomain(text: string): TrustDomain {
  if (text.length > maxTrustDomainBytes) throw invalid('A trust domain must be at most 255 bytes', text);
  if (!trustDomainChars.test(text)) throw invalid(`A trust domain must be 1 or more of a-z, 0-9, '.', '-', '_'`, text);
  return text as TrustDomain;
}

/**
 * Parses a SPIFFE ID from its exact bytes. `new URL()` is not used on purpose: it decodes and normalises, and an
 * identity must not have two spellings. Upper case in scheme or trust domain is refused (as go-spiffe does).
 * @throws IsthmusError `invalid`, naming the rule.
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > maxIdBytes) throw invalid('A SPIFFE ID must be at most 2048 bytes', text);
  if (!text.startsWith(scheme)) throw invalid(`A SPIFFE ID must start with 'spiffe://'`, text);
  const slash = text.indexOf('/', scheme.length);
  parseTrustDomain(slash < 0 ? text.slice(scheme.length) : text.slice(scheme.length, slash));
  if (slash >= 0) {
    for (const segment of text.slice(slash + 1).split('/')) {
      if (segment === '') throw invalid('A SPIFFE ID must have no empty path segment and no trailing slash', text);
      if (segment === '.' || segment === '..') throw invalid(`A path segment must not be '.' or '..'`, text);
      if (!segmentChars.test(segment)) throw invalid(`A path segment must be of a-z, A-Z, 0-9, '.', '-', '_'`, text);
    }
  }
  return text as SpiffeId;
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  const slash = id.indexOf('/', scheme.length);
  return (slash < 0 ? id.slice(scheme.length) : id.slice(scheme.length, slash)) as TrustDomain;
}

/** The path with its leading slash, or the empty string. */
export function pathOf(id: SpiffeId): string {
  const slash = id.indexOf('/', scheme.length);
  return slash < 0 ? '' : id.slice(slash);
}

/** The id of the trust domain itself, as a signing certificate carries it: no path. */
export function domainId(domain: TrustDomain): SpiffeId {
  return `${scheme}${domain}` as SpiffeId;
}

/** One trust domain per cluster, all under the federation's domain; the federation domain itself is none. */
export function clusterTrustDomain(cluster: ClusterName, federationDomain: TrustDomain): TrustDomain {
  return parseTrustDomain(`${cluster}.${federationDomain}`);
}

export function authorityTrustDomain(federationDomain: TrustDomain): TrustDomain {
  return parseTrustDomain(`authority.${federationDomain}`);
}

export function authorityId(federationDomain: TrustDomain): SpiffeId {
  return parseSpiffeId(`${scheme}${authorityTrustDomain(federationDomain)}/isthmus/authority`);
}

/** Roles of Isthmus that have an identity inside a cluster's trust domain. */
export type Role = 'agent' | 'gateway' | 'seal';

/** `spiffe://<trust domain>/isthmus/<role>/<replica>`. */
export function roleId(domain: TrustDomain, role: Role, replica: ReplicaName): SpiffeId {
  return parseSpiffeId(`${scheme}${domain}/isthmus/${role}/${replica}`);
}

const rolePath = /^\/isthmus\/(agent|gateway|seal)\/([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$/;

/** The role an id stands for, or undefined for a workload's id. */
export function roleOf(id: SpiffeId): { readonly role: Role; readonly replica: ReplicaName } | undefined {
  const match = rolePath.exec(pathOf(id));
  return match ? { role: match[1] as Role, replica: match[2] as ReplicaName } : undefined;
}

/** `/isthmus/*` is reserved for our roles; no attestor may map to it and no peer may assert it. */
export function isReservedPath(id: SpiffeId): boolean {
  const path = pathOf(id);
  return path === '/isthmus' || path.startsWith('/isthmus/');
}

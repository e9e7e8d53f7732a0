import { createHash } from 'node:crypto';
import { messageOf } from '../../model/error.ts';
import { authorityTrustDomain, domainId, type SpiffeId, trustDomainOf } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { RosterEntry, TrustState } from '../../model/trust.ts';
import { type Certificate, readCertificate } from '../x509/read.ts';
import { readPublicKey, verifySignature } from '../x509/signature.ts';
import { constraintViolation } from './name-constraints.ts';
import { type Refusal, refuse } from './refusal.ts';
import { leafId, uriNames } from './svid-profile.ts';

/** Certificates of one chain that are looked at, the anchor included. */
const maxChain = 6;
/** Signature checks that one chain may cost, whatever it looks like. */
const maxSignatureChecks = 12;

/** How far an intermediate is bound to the members of the federation. */
export type IssuerBinding =
  /** Its key must be listed by the roster for an active member. */
  | 'roster'
  /**
   * Its own SPIFFE ID must be the leaf's trust domain; no roster is asked. Only for a gateway towards its own cluster's
   * agent, which is where the roster comes from.
   */
  | 'trust-domain'
  /** Nothing beyond the SPIFFE documents. Only for trust domains outside of the federation, with anchors of their own. */
  | 'spiffe';

/** A chain that leads to an anchor of its own trust domain, whatever the time. */
export interface VerifiedPath {
  readonly ok: true;
  readonly id: SpiffeId;
  /** Undefined: the authority. */
  readonly cluster: ClusterName | undefined;
  readonly leaf: Certificate;
  /** Wall clock in ms during which every certificate of the path is valid. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Content hash of a chain, for caches. */
export function chainKey(chain: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const certificate of chain) hash.update(`${certificate.length}:`).update(certificate);
  return hash.digest('base64');
}

/**
 * Validates a chain (RFC 5280 §6, with the SPIFFE order: take the id, choose the bundle of that trust domain only, build
 * the path, then bind the issuer) except for time, which `checkTime` does: a path is worth remembering, a moment is not.
 * @param chain DER, leaf first; the anchor at the end is allowed and ignored. Never throws.
 */
export function verifyPath(
  chain: readonly Uint8Array[],
  trust: TrustState,
  binding: IssuerBinding = 'roster',
): VerifiedPath | Refusal {
  if (chain.length === 0) return refuse('no-certificate', 'no certificate was presented');
  if (chain.length > maxChain) return refuse('malformed', `a chain of ${chain.length} certificates is too long`);
  let certificates: readonly Certificate[];
  let anchors: readonly Certificate[];
  const [first = new Uint8Array()] = chain;
  try {
    certificates = [readCertificate(first), ...chain.slice(1).map(readCertificate)];
  } catch (thrown) {
    return refuse('malformed', messageOf(thrown));
  }
  const [leaf, ...others] = certificates;
  if (!leaf) return refuse('no-certificate', 'no certificate was presented');
  const named = leafId(leaf);
  if (!named.ok) return named;
  const domain = trustDomainOf(named.id);
  const bundle = trust.bundles.get(domain);
  if (!bundle || bundle.anchors.length === 0) {
    return refuse('unknown-trust-domain', `nothing is trusted for trust domain ${domain}`);
  }
  try {
    anchors = bundle.anchors.map(readCertificate);
  } catch (thrown) {
    return refuse('malformed', `an anchor of ${domain}: ${messageOf(thrown)}`);
  }
  const built = new PathBuilder(leaf, others, anchors).build();
  if (!built.ok) return built;
  const problem = checkAuthorities(built.path) ?? checkDenied(built.path, trust) ?? checkNames(built.path);
  if (problem) return problem;
  const bound = bindIssuer(built.path, named.id, { trust, binding });
  if (!bound.ok) return bound;
  return {
    ok: true,
    id: named.id,
    cluster: bound.cluster,
    leaf,
    notBefore: Math.max(...built.path.map((certificate) => certificate.notBefore)),
    notAfter: Math.min(...built.path.map((certificate) => certificate.notAfter)),
  };
}

/** Whether a path is valid at `now` (wall clock in ms); undefined: it is. */
export function checkTime(path: VerifiedPath, now: number): Refusal | undefined {
  if (now < path.notBefore) {
    return refuse('not-yet-valid', `${path.id} is not valid before ${new Date(path.notBefore).toISOString()}`);
  }
  if (now > path.notAfter) return refuse('expired', `${path.id} expired at ${new Date(path.notAfter).toISOString()}`);
  return undefined;
}

interface BuiltPath {
  readonly ok: true;
  /** Leaf first, anchor last. */
  readonly path: readonly Certificate[];
}

/** Finds the way from a leaf to an anchor through what was presented, each certificate used once. */
class PathBuilder {
  readonly #leaf: Certificate;
  readonly #others: readonly Certificate[];
  readonly #anchors: readonly Certificate[];
  #checks = 0;
  #badSignature = false;

  constructor(leaf: Certificate, others: readonly Certificate[], anchors: readonly Certificate[]) {
    this.#leaf = leaf;
    this.#anchors = anchors;
    const known = new Set(anchors.map((anchor) => anchor.fingerprint));
    this.#others = others.filter((certificate) => !known.has(certificate.fingerprint));
  }

  build(): BuiltPath | Refusal {
    const path = this.#extend([this.#leaf]);
    if (path) return { ok: true, path };
    const issuer = this.#badSignature ? 'the signature of its issuer does not verify' : 'its issuer is no anchor';
    return refuse(
      this.#badSignature ? 'signature' : 'untrusted-issuer',
      `${uriNames(this.#leaf)[0] ?? 'leaf'}: ${issuer}`,
    );
  }

  #extend(path: readonly Certificate[]): readonly Certificate[] | undefined {
    const last = path.at(-1);
    if (!last || path.length >= maxChain) return undefined;
    for (const anchor of this.#anchors) if (this.#issued(anchor, last)) return [...path, anchor];
    for (const candidate of this.#others) {
      if (path.includes(candidate) || !this.#issued(candidate, last)) continue;
      const longer = this.#extend([...path, candidate]);
      if (longer) return longer;
    }
    return undefined;
  }

  #issued(issuer: Certificate, subject: Certificate): boolean {
    if (!Buffer.from(issuer.subject).equals(subject.issuer)) return false;
    const { authorityKeyId } = subject;
    if (authorityKeyId !== undefined && issuer.subjectKeyId !== undefined && authorityKeyId !== issuer.subjectKeyId) {
      return false;
    }
    if (this.#checks >= maxSignatureChecks) return false;
    this.#checks += 1;
    const signed = { bytes: subject.tbs, signature: subject.signature };
    const good = isSignedBy(issuer, subject.signatureAlgorithm, signed);
    if (!good) this.#badSignature = true;
    return good;
  }
}

function isSignedBy(
  issuer: Certificate,
  algorithm: string,
  signed: { readonly bytes: Uint8Array; readonly signature: Uint8Array },
): boolean {
  try {
    return verifySignature(readPublicKey(issuer.spki), algorithm, signed);
  } catch {
    // A key that is unfit signs nothing.
    return false;
  }
}

/** RFC 5280 §6.1.4: everything above the leaf must be a CA that may sign, and that many levels deep. */
function checkAuthorities(path: readonly Certificate[]): Refusal | undefined {
  let below = 0;
  for (const [index, authority] of path.entries()) {
    if (index === 0) continue;
    const what = `certificate ${index} above the leaf`;
    if (!authority.basicConstraints?.ca) return refuse('profile', `${what} is no CA`);
    if (!authority.keyUsage?.has('keyCertSign')) return refuse('profile', `${what} lacks keyCertSign`);
    const { pathLen } = authority.basicConstraints;
    if (pathLen !== undefined && below > pathLen) {
      return refuse('profile', `${what} allows ${pathLen} CAs below itself, there are ${below}`);
    }
    if (authority.unknownCritical.length > 0) {
      return refuse('profile', `${what} has unknown critical extensions: ${authority.unknownCritical.join(', ')}`);
    }
    // A self-issued CA (same name above and below) does not count (RFC 5280 §6.1.4 (l)).
    if (!Buffer.from(authority.subject).equals(authority.issuer)) below += 1;
  }
  return undefined;
}

function checkDenied(path: readonly Certificate[], trust: TrustState): Refusal | undefined {
  const denied = new Set(trust.roster.deniedKeyIds);
  const found = path.slice(1).find(({ subjectKeyId }) => subjectKeyId !== undefined && denied.has(subjectKeyId));
  return found ? refuse('denied-key', `issuing key ${found.subjectKeyId ?? ''} is denied`) : undefined;
}

function checkNames(path: readonly Certificate[]): Refusal | undefined {
  for (const [index, authority] of path.entries()) {
    if (index === 0 || !authority.nameConstraints) continue;
    for (const subject of path.slice(0, index)) {
      const violation = constraintViolation(authority.nameConstraints, subject.names);
      if (violation) return refuse('profile', `name constraints: ${violation}`);
    }
  }
  return undefined;
}

interface BindingContext {
  readonly trust: TrustState;
  readonly binding: IssuerBinding;
}

/**
 * All bundles share the root, so a path proves nothing about *which* member signed. The intermediate must itself be
 * named for the leaf's trust domain, and its key be listed for that member.
 */
function bindIssuer(
  path: readonly Certificate[],
  id: SpiffeId,
  { trust, binding }: BindingContext,
): { readonly ok: true; readonly cluster: ClusterName | undefined } | Refusal {
  if (binding === 'spiffe') return { ok: true, cluster: undefined };
  const domain = trustDomainOf(id);
  if (domain === authorityTrustDomain(trust.federationDomain)) {
    if (path.length === 2) return { ok: true, cluster: undefined };
    return refuse('issuer-binding', `${id} must be issued by the root itself`);
  }
  const issuer = path[1];
  if (!issuer || path.length < 3) return refuse('issuer-binding', `${id} must be issued by its cluster's intermediate`);
  const names = uriNames(issuer);
  if (names.length !== 1 || names[0] !== domainId(domain)) {
    return refuse('issuer-binding', `issuer of ${id} is named '${names.join(' ')}', not ${domainId(domain)}`);
  }
  const entry = memberOf(trust, domain);
  if (binding === 'trust-domain') return { ok: true, cluster: entry?.cluster };
  if (!entry) return refuse('unknown-trust-domain', `trust domain ${domain} is no member's`);
  return bindToEntry(entry, issuer, id);
}

function bindToEntry(
  entry: RosterEntry,
  issuer: Certificate,
  id: SpiffeId,
): { readonly ok: true; readonly cluster: ClusterName } | Refusal {
  if (entry.state === 'revoked') return refuse('cluster-revoked', `cluster ${entry.cluster} is revoked`);
  if (entry.state === 'suspended') return refuse('cluster-suspended', `cluster ${entry.cluster} is suspended`);
  if (issuer.subjectKeyId === undefined || !entry.caKeyIds.includes(issuer.subjectKeyId)) {
    return refuse(
      'issuer-binding',
      `issuing key ${issuer.subjectKeyId ?? '(none)'} of ${id} is not ${entry.cluster}'s`,
    );
  }
  return { ok: true, cluster: entry.cluster };
}

function memberOf(trust: TrustState, domain: string): RosterEntry | undefined {
  for (const entry of trust.roster.clusters.values()) if (entry.trustDomain === domain) return entry;
  return undefined;
}

import { createHash } from 'node:crypto';
import { messageOf } from '../../model/error.ts';
import { type SpiffeId, trustDomainOf } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { TrustState } from '../../model/trust.ts';
import { type Certificate, readCertificate } from '../x509/read.ts';
import { checkAuthorities, checkAuthorityNames, checkNames } from './authorities.ts';
import { type BindingContext, bindIssuer, type IssuerBinding } from './issuer-binding.ts';
import { type KnownSignatures, maxChain, PathBuilder } from './path-builder.ts';
import { type Refusal, refuse } from './refusal.ts';
import { leafId } from './svid-profile.ts';

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

export interface PathOptions {
  /** Default `roster`. */
  readonly binding?: IssuerBinding;
  /** Signatures that are known to be good, whatever is trusted. */
  readonly signatures?: KnownSignatures;
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
  { binding = 'roster', signatures }: PathOptions = {},
): VerifiedPath | Refusal {
  if (chain.length === 0) return refuse('no-certificate', 'no certificate was presented', 'PV-1');
  if (chain.length > maxChain)
    return refuse('malformed', `a chain of ${chain.length} certificates is too long`, 'PV-1');
  let certificates: readonly Certificate[];
  let anchors: readonly Certificate[];
  try {
    certificates = readChain(chain);
  } catch (thrown) {
    return refuse('malformed', messageOf(thrown), 'PV-1');
  }
  const [leaf, ...others] = certificates;
  if (!leaf) return refuse('no-certificate', 'no certificate was presented', 'PV-1');
  const named = leafId(leaf);
  if (!named.ok) return named;
  const domain = trustDomainOf(named.id);
  const bundle = trust.bundles.get(domain);
  if (!bundle || bundle.anchors.length === 0) {
    return refuse('unknown-trust-domain', `nothing is trusted for trust domain ${domain}`, 'XV-1');
  }
  try {
    anchors = readChain(bundle.anchors);
  } catch (thrown) {
    return refuse('malformed', `an anchor of ${domain}: ${messageOf(thrown)}`, 'PV-1');
  }
  const builder = new PathBuilder(leaf, { others, anchors, signatures });
  let best: VerifiedPath | undefined;
  let problem: Refusal | undefined;
  for (const path of builder.paths()) {
    const judged = judgePath(path, named.id, { trust, binding });
    if (!judged.ok) problem ??= judged;
    else if (!best || judged.notAfter > best.notAfter) best = judged;
  }
  return best ?? problem ?? builder.problem();
}

/** Chains of open connections, and anchors: the same lists are looked at again with each new roster. */
const known = new WeakMap<readonly Uint8Array[], readonly Certificate[]>();

/** @throws IsthmusError `corrupt` */
function readChain(chain: readonly Uint8Array[]): readonly Certificate[] {
  const read = known.get(chain) ?? chain.map(readCertificate);
  known.set(chain, read);
  return read;
}

/** Every rule about one way to an anchor. */
function judgePath(path: readonly Certificate[], id: SpiffeId, context: BindingContext): VerifiedPath | Refusal {
  const problem =
    checkAuthorities(path) ?? checkAuthorityNames(path) ?? checkDenied(path, context.trust) ?? checkNames(path);
  if (problem) return problem;
  const bound = bindIssuer(path, id, context);
  if (!bound.ok) return bound;
  const [leaf] = path;
  if (!leaf) return refuse('no-certificate', 'no certificate was presented', 'PV-1');
  return {
    ok: true,
    id,
    cluster: bound.cluster,
    leaf,
    notBefore: Math.max(...path.map((certificate) => certificate.notBefore)),
    notAfter: Math.min(...path.map((certificate) => certificate.notAfter)),
  };
}

/** Whether a path is valid at `now` (wall clock in ms); undefined: it is. */
export function checkTime(path: VerifiedPath, now: number): Refusal | undefined {
  if (now < path.notBefore) {
    return refuse('not-yet-valid', `${path.id} is not valid before ${new Date(path.notBefore).toISOString()}`, 'PV-3');
  }
  if (now <= path.notAfter) return undefined;
  return refuse('expired', `${path.id} expired at ${new Date(path.notAfter).toISOString()}`, 'PV-3');
}

function checkDenied(path: readonly Certificate[], trust: TrustState): Refusal | undefined {
  const denied = new Set(trust.roster.deniedKeyIds);
  const found = path.slice(1).find(({ subjectKeyId }) => subjectKeyId !== undefined && denied.has(subjectKeyId));
  return found ? refuse('denied-key', `issuing key ${found.subjectKeyId ?? ''} is denied`, 'IS-3') : undefined;
}

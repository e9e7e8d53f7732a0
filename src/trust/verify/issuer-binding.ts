import { authorityTrustDomain, domainId, type SpiffeId, trustDomainOf } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { RosterEntry, TrustState } from '../../model/trust.ts';
import type { Certificate } from '../x509/read.ts';
import { type Refusal, refuse } from './refusal.ts';
import { uriNames } from './svid-profile.ts';

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

/** Against what an issuer is bound. */
export interface BindingContext {
  readonly trust: TrustState;
  readonly binding: IssuerBinding;
}

/**
 * All bundles share the root, so a path proves nothing about *which* member signed. The intermediate must itself be
 * named for the leaf's trust domain, and its key be listed for that member.
 */
export function bindIssuer(
  path: readonly Certificate[],
  id: SpiffeId,
  { trust, binding }: BindingContext,
): { readonly ok: true; readonly cluster: ClusterName | undefined } | Refusal {
  if (binding === 'spiffe') return { ok: true, cluster: undefined };
  const domain = trustDomainOf(id);
  if (domain === authorityTrustDomain(trust.federationDomain)) {
    if (path.length === 2) return { ok: true, cluster: undefined };
    return refuse('issuer-binding', `${id} must be issued by the root itself`, 'IS-1');
  }
  const issuer = path[1];
  if (!issuer || path.length < 3) {
    return refuse('issuer-binding', `${id} must be issued by its cluster's intermediate`, 'IS-1');
  }
  const names = uriNames(issuer);
  if (names.length !== 1 || names[0] !== domainId(domain)) {
    const named = `issuer of ${id} is named '${names.join(' ')}', not ${domainId(domain)}`;
    return refuse('issuer-binding', named, 'IS-1');
  }
  const entry = memberOf(trust, domain);
  if (binding === 'trust-domain') return { ok: true, cluster: entry?.cluster };
  if (!entry) return refuse('unknown-trust-domain', `trust domain ${domain} is no member's`, 'IS-4');
  return bindToEntry(entry, issuer, id);
}

function bindToEntry(
  entry: RosterEntry,
  issuer: Certificate,
  id: SpiffeId,
): { readonly ok: true; readonly cluster: ClusterName } | Refusal {
  if (entry.state === 'revoked') return refuse('cluster-revoked', `cluster ${entry.cluster} is revoked`, 'IS-4');
  if (entry.state === 'suspended') return refuse('cluster-suspended', `cluster ${entry.cluster} is suspended`, 'IS-4');
  if (issuer.subjectKeyId === undefined || !entry.caKeyIds.includes(issuer.subjectKeyId)) {
    return refuse(
      'issuer-binding',
      `issuing key ${issuer.subjectKeyId ?? '(none)'} of ${id} is not ${entry.cluster}'s`,
      'IS-2',
    );
  }
  return { ok: true, cluster: entry.cluster };
}

function memberOf(trust: TrustState, domain: string): RosterEntry | undefined {
  for (const entry of trust.roster.clusters.values()) if (entry.trustDomain === domain) return entry;
  return undefined;
}

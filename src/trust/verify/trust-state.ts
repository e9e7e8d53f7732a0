import { authorityTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { Bundle, Roster, TrustState } from '../../model/trust.ts';

/**
 * What a roster and the federation's anchors mean together: one bundle per member and one for the authority. All hold
 * the same anchors today; verification still takes the bundle of the leaf's own trust domain, never a pool.
 */
export function trustStateOf(roster: Roster, anchors: readonly Uint8Array[]): TrustState {
  const { federationDomain, sequence } = roster;
  const bundles = new Map<TrustDomain, Bundle>();
  const add = (trustDomain: TrustDomain): void => void bundles.set(trustDomain, { trustDomain, sequence, anchors });
  add(authorityTrustDomain(federationDomain));
  for (const { trustDomain } of roster.clusters.values()) add(trustDomain);
  return { federationDomain, roster, bundles };
}

/**
 * The trust of a process that has anchors and no roster yet: the authority, and of `own` (its own trust domain, if
 * given) what an `IssuerBinding` of `trust-domain` accepts.
 */
export function initialTrust(
  federationDomain: TrustDomain,
  anchors: readonly Uint8Array[],
  own?: TrustDomain,
): TrustState {
  const trust = trustStateOf(emptyRoster(federationDomain), anchors);
  if (own === undefined) return trust;
  return { ...trust, bundles: new Map([...trust.bundles, [own, { trustDomain: own, sequence: 0, anchors }]]) };
}

/** Sequence 0: every real roster is newer. */
function emptyRoster(federationDomain: TrustDomain): Roster {
  return { federationDomain, sequence: 0, issuedAt: 0, clusters: new Map(), deniedKeyIds: [] };
}

/** The trust of one bundle alone, without a roster: for chains of a trust domain that is no member. */
export function trustOf(bundle: Bundle): TrustState {
  const { trustDomain } = bundle;
  return {
    federationDomain: trustDomain,
    roster: emptyRoster(trustDomain),
    bundles: new Map([[trustDomain, bundle]]),
  };
}

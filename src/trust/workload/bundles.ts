import { domainId, type SpiffeId, type TrustDomain } from '../../model/identity.ts';
import type { TrustState } from '../../model/trust.ts';

/** Anchors as the Workload API writes them: DER, one after the other. */
export type ConcatenatedDer = Buffer;

/**
 * The bundles that a workload of `own` gets: its own trust domain's and those of active members. What is absent from a
 * message is withdrawn, so a suspended or revoked member is simply left out.
 */
export function workloadBundles(trust: TrustState, own: TrustDomain): ReadonlyMap<SpiffeId, ConcatenatedDer> {
  const bundles = new Map<SpiffeId, ConcatenatedDer>();
  for (const { trustDomain, state } of trust.roster.clusters.values()) {
    const anchors = trust.bundles.get(trustDomain)?.anchors ?? [];
    if (anchors.length === 0 || (state !== 'active' && trustDomain !== own)) continue;
    bundles.set(domainId(trustDomain), Buffer.concat(anchors));
  }
  return bundles;
}

import { authorityTrustDomain, type TrustDomain } from '../../model/identity.ts';
import type { TrustState } from '../../model/trust.ts';
import type { BundleContent } from '../../wire/bundle.ts';
import { fingerprintOf } from '../x509/read.ts';
import { x509KeyOf } from './spiffe-bundle.ts';

/**
 * The bundles that the authority publishes: one per member and its own. That of a member which is suspended or revoked
 * has no keys, which means that nothing of it is trusted (SPIFFE Trust Domain and Bundle §4.1.3). Their sequence is the
 * roster's: it grows with every change and is durable before anyone sees it. Keys stand in the order of their
 * certificates' hashes.
 */
export function publishedBundles({
  federationDomain,
  roster,
  bundles,
}: TrustState): ReadonlyMap<TrustDomain, BundleContent> {
  const sequence = BigInt(roster.sequence);
  const trusted = new Set([authorityTrustDomain(federationDomain)]);
  for (const { state, trustDomain } of roster.clusters.values()) if (state === 'active') trusted.add(trustDomain);
  return new Map(
    [...bundles].map(([domain, { anchors }]) => [
      domain,
      { sequence, x509Keys: trusted.has(domain) ? sorted(anchors).map(x509KeyOf) : [] },
    ]),
  );
}

function sorted(anchors: readonly Uint8Array[]): readonly Uint8Array[] {
  return [...anchors].sort((a, b) => (fingerprintOf(a) < fingerprintOf(b) ? -1 : 1));
}

import { authorityTrustDomain, parseSpiffeId, pathOf, type SpiffeId, type TrustDomain } from '../../model/identity.ts';

const sealPrefix = '/isthmus/seal/';

/** Whether an id is for sealing, and so for nothing else. */
export function isSealId(id: SpiffeId): boolean {
  return pathOf(id).startsWith(sealPrefix);
}

/** The one id that seals the authority's own partition. */
export function authoritySealId(federationDomain: TrustDomain): SpiffeId {
  return parseSpiffeId(`spiffe://${authorityTrustDomain(federationDomain)}${sealPrefix}authority`);
}

import { isReservedPath, type SpiffeId, trustDomainOf } from '../../model/identity.ts';

/**
 * The caller that a gateway may assert: an identity of its own trust domain that is none of our roles (wire.md,
 * "HBONE"). Anything else is as if it had not been said: the caller is anonymous of its cluster.
 */
export function acceptAssertion(peer: SpiffeId, claim: SpiffeId | undefined): SpiffeId | undefined {
  if (claim === undefined || isReservedPath(claim)) return undefined;
  return trustDomainOf(claim) === trustDomainOf(peer) ? claim : undefined;
}

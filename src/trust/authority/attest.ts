import { IsthmusError } from '../../model/error.ts';
import { clusterTrustDomain, domainId, roleOf, type TrustDomain } from '../../model/identity.ts';
import type { Attestation, Attestor } from '../../model/ports/attestor.ts';
import type { JoinTokenEntry } from './change.ts';
import { tokenHash, tokenId } from './join-tokens.ts';

/**
 * Callers with the secret of a join token: they are of the cluster that it was issued for. Whether it can still be
 * redeemed is decided with the redemption, in one step.
 * @param find the token with this hash
 */
export function createJoinTokenAttestor(
  find: (hash: string) => JoinTokenEntry | undefined,
  federationDomain: TrustDomain,
): Attestor {
  return {
    accepts: ({ secret }) => secret !== undefined,
    async attest({ secret = new Uint8Array() }): Promise<Attestation> {
      const token = find(tokenHash(secret));
      if (!token) throw new IsthmusError('unauthenticated', 'The join token is unknown');
      const id = domainId(clusterTrustDomain(token.cluster, federationDomain));
      return { id, kind: 'join', by: `token ${tokenId(token.hash)}` };
    },
  };
}

/** Agents that prove the identity which their present intermediate gave them. */
export const agentAttestor: Attestor = {
  accepts: ({ peer }) => peer !== undefined,
  async attest({ peer }): Promise<Attestation> {
    if (peer === undefined) throw new IsthmusError('unauthenticated', 'The caller shows no certificate');
    if (roleOf(peer)?.role !== 'agent') {
      throw new IsthmusError('denied', `Only an agent gets an intermediate: the caller is ${peer}`);
    }
    return { id: peer, kind: 'renewal', by: peer };
  },
};

import { IsthmusError } from '../../model/error.ts';
import { isReservedPath, pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import type { Attestation, Attestor } from '../../model/ports/attestor.ts';

/**
 * That an id may be a workload's: of this trust domain, with a path, and none of the program's own. However the caller
 * was attested, nothing else is ever certified for it.
 * @throws IsthmusError `denied`
 */
export function requireWorkloadId(id: SpiffeId, domain: TrustDomain): SpiffeId {
  if (trustDomainOf(id) !== domain) throw new IsthmusError('denied', `${id} is not of trust domain ${domain}`);
  if (pathOf(id) === '') throw new IsthmusError('denied', `${id} names a trust domain, not a workload`);
  if (isReservedPath(id))
    throw new IsthmusError('denied', `${id} is an identity of the program itself, not a workload's`);
  return id;
}

/** A caller that shows the certificate which it wants to renew. */
export function createRenewalAttestor(domain: TrustDomain): Attestor {
  return {
    accepts: ({ peer }) => peer !== undefined,
    async attest({ peer }): Promise<Attestation> {
      if (peer === undefined) throw new IsthmusError('unauthenticated', 'The caller shows no certificate');
      return { id: requireWorkloadId(peer, domain), kind: 'renewal', by: `certificate of ${peer}` };
    },
  };
}

/** Callers of a Unix socket: who may open the socket has the identity that it stands for. */
export function createSocketAttestor(sockets: ReadonlyMap<string, SpiffeId>, domain: TrustDomain): Attestor {
  return {
    accepts: ({ socket }) => socket !== undefined,
    async attest({ socket = '' }): Promise<Attestation> {
      const id = sockets.get(socket);
      if (id === undefined) throw new IsthmusError('unauthenticated', `Socket ${socket} stands for nobody`);
      return { id: requireWorkloadId(id, domain), kind: 'join', by: `socket ${socket}` };
    },
  };
}

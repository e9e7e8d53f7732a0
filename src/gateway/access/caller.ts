import type { Caller } from '../../model/access.ts';
import { roleOf, type SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import { acceptAssertion } from './assertion.ts';

/**
 * A gateway speaks for workloads of its own trust domain; any other peer acts for itself, and what it asserts is as if
 * it had not been said (wire.md, "HBONE").
 */
export function callerOf(
  peer: { readonly id: SpiffeId; readonly cluster: ClusterName },
  claim: SpiffeId | undefined,
): Caller {
  const about = { peer: peer.id, cluster: peer.cluster };
  if (roleOf(peer.id)?.role !== 'gateway') return { ...about, identity: peer.id, proof: 'proven' };
  const identity = acceptAssertion(peer.id, claim);
  return { ...about, identity, proof: identity === undefined ? 'none' : 'asserted' };
}

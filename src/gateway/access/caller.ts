import { roleOf, type SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import { acceptAssertion } from './assertion.ts';

/** Who asks for a connection from another cluster, as far as that is known. */
export interface Caller {
  /** As TLS proved it. */
  readonly peer: SpiffeId;
  readonly cluster: ClusterName;
  /** The workload behind it; undefined: anonymous of its cluster. */
  readonly identity: SpiffeId | undefined;
  /** `proven`: the workload is the TLS peer itself. `asserted`: the peer is a gateway and says so. */
  readonly proof: 'proven' | 'asserted' | 'none';
}

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

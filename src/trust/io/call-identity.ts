import { IsthmusError } from '../../model/error.ts';
import type { SpiffeId } from '../../model/identity.ts';
import type { PeerVerifier } from '../../model/ports/identity.ts';
import type { PeerVerdict } from '../../model/trust.ts';
import type { PeerCall } from '../../runtime/io/grpc-server.ts';
import type { ChainCheck } from '../../runtime/io/tls.ts';

/** A caller that verified. */
export type VerifiedPeer = Extract<PeerVerdict, { readonly ok: true }>;

/** Who makes a call; undefined: nobody that is trusted (any more). */
export type CallIdentity = (call: PeerCall) => VerifiedPeer | undefined;

/** For listeners on which some calls need no certificate: undefined for a caller without, else it must verify. */
export function optionalPeer(verifier: PeerVerifier): ChainCheck<VerifiedPeer | undefined> {
  return (chain) => (chain.length === 0 ? undefined : verifiedPeer(verifier, chain));
}

/** @throws IsthmusError `unauthenticated`, with the rule that failed */
export function verifiedPeer(verifier: PeerVerifier, chain: readonly Uint8Array[]): VerifiedPeer {
  const verdict = verifier.verify(chain);
  if (verdict.ok) return verdict;
  throw new IsthmusError('unauthenticated', `${verdict.reason}: ${verdict.detail}`);
}

/** The caller's identity. @throws IsthmusError `unauthenticated` */
export function requirePeer(peerOf: CallIdentity, call: PeerCall): VerifiedPeer {
  const peer = peerOf(call);
  if (!peer) throw new IsthmusError('unauthenticated', 'This call needs a client certificate of a member');
  return peer;
}

/** A check that accepts exactly the ids that `accept` likes. */
export function peerCheck(
  verifier: PeerVerifier,
  who: string,
  accept: (id: SpiffeId) => boolean,
): ChainCheck<SpiffeId> {
  return (chain) => {
    const { id } = verifiedPeer(verifier, chain);
    if (accept(id)) return id;
    throw new IsthmusError('unauthenticated', `The server is ${id}, not ${who}`);
  };
}

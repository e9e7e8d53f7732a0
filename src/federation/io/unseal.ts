import type { TrustDomain } from '../../model/identity.ts';
import type { Hub, Partition } from '../../model/ports/hub.ts';
import type { SealKind, SealVerdict, SealVerifier } from '../../model/ports/seal.ts';

export interface Unsealing {
  readonly hub: Hub;
  readonly verifier: SealVerifier;
  /** Where the signer's chain is stored. */
  readonly partition: Partition;
  /** Who must have signed. */
  readonly domain: TrustDomain;
}

/**
 * Verifies sealed bytes, fetching the signer's chain from the hub when it is not known yet.
 * @throws IsthmusError when the hub does not answer; what is wrong with the bytes is in the verdict.
 */
export async function unseal(kind: SealKind, sealed: Uint8Array, where: Unsealing): Promise<SealVerdict> {
  const { hub, verifier, partition, domain } = where;
  const verdict = verifier.verify(kind, sealed, domain);
  if (verdict.ok || verdict.reason !== 'unknown-chain') return verdict;
  const chain = await hub.readChain(partition, verdict.chainId);
  if (!chain || !verifier.learn(verdict.chainId, chain)) return verdict;
  return verifier.verify(kind, sealed, domain);
}

import type { SpiffeId, TrustDomain } from '../identity.ts';

/** What is sealed: the kind is part of the signed bytes, so that one can never be replayed as another. */
export type SealKind = 'head' | 'delta' | 'lease' | 'roster' | 'bundle';

/** Signs with this replica's seal leaf (wire.md, "Seal"). */
export interface Sealer {
  readonly signer: SpiffeId;
  /** Lower-case hex SHA-256 of `chain`. */
  readonly chainId: string;
  /** The signer's certificate chain as stored in the hub: PEM, leaf first. */
  readonly chain: Uint8Array;
  /** Returns the envelope of `wire/seal.ts`. The same payload sealed twice need not give the same bytes. */
  seal(kind: SealKind, payload: Uint8Array): Uint8Array;
}

export type SealVerdict =
  | {
      readonly ok: true;
      readonly payload: Uint8Array;
      readonly signer: SpiffeId;
      /** The signer's certificate has run out but is otherwise good: apply, and mark stale. */
      readonly expired: boolean;
    }
  /** The chain is not known yet: fetch it by id, `learn` it, verify again. */
  | { readonly ok: false; readonly reason: 'unknown-chain'; readonly chainId: string; readonly detail: string }
  | {
      readonly ok: false;
      readonly reason: 'malformed' | 'bad-signature' | 'foreign-signer' | 'distrusted';
      readonly detail: string;
    };

export interface SealVerifier {
  /** Verifies that `sealed` is of `kind` and was signed by a seal leaf of exactly `domain`. Never throws. */
  verify(kind: SealKind, sealed: Uint8Array, domain: TrustDomain): SealVerdict;
  /** Remembers a chain (bounded). False: it does not hash to `chainId` or does not parse. Says nothing of trust. */
  learn(chainId: string, chain: Uint8Array): boolean;
}

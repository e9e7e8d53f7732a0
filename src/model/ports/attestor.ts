import type { SpiffeId } from '../identity.ts';

/** What a caller shows to prove who it is. Nothing of it is believed until an attestor has judged it. */
export interface Evidence {
  /** Token of the `authorization` header, without `Bearer`. */
  readonly bearer?: string;
  /** Of a client certificate that the TLS listener has verified. */
  readonly peer?: SpiffeId;
  /** Of a join token: who has it was invited. */
  readonly secret?: Uint8Array;
  /** The Unix socket on which the caller came; each stands for one identity. */
  readonly socket?: string;
}

/** Who a caller is, and how that is known. */
export interface Attestation {
  readonly id: SpiffeId;
  /** `renewal`: it proved an identity that it already has. */
  readonly kind: 'join' | 'renewal';
  /** How it proved it, for the journal: `jwt of https://… for system:serviceaccount:shop:web`. Never a secret. */
  readonly by: string;
}

/** One way to prove an identity. */
export interface Attestor {
  /** Whether this evidence is of the kind that this attestor judges. */
  accepts(evidence: Evidence): boolean;
  /**
   * @throws IsthmusError `unauthenticated`, naming the rule that failed; `denied` for somebody who is known and gets
   * nothing here
   */
  attest(evidence: Evidence): Promise<Attestation>;
}

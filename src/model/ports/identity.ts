import type { PeerVerdict, Svid, TrustState } from '../trust.ts';
import type { Watch } from './watch.ts';

/** The identity this process presents; a renewal is a change. Undefined: none yet, or expired. */
export type SvidSource = Watch<Svid | undefined>;

/** What this process trusts; a new roster or bundle is a change. Undefined: nothing yet. */
export type TrustSource = Watch<TrustState | undefined>;

/** The one verifier of peers: path, trust domain, issuer binding, deny-list, validity. Never throws. */
export interface PeerVerifier {
  /** `chain`: DER, leaf first, as the peer sent it. */
  verify(chain: readonly Uint8Array[]): PeerVerdict;
}

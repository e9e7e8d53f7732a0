import type { SpiffeId, TrustDomain } from './identity.ts';
import type { ClusterName } from './names.ts';

/** Hex of a certificate's subject key identifier: how an issuing key is named everywhere. */
export type KeyId = string;

/** What the authority admitted a cluster for. */
export interface RosterEntry {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly state: 'active' | 'suspended' | 'revoked';
  /** Intermediates that may sign for this cluster (issuer binding). */
  readonly caKeyIds: readonly KeyId[];
  readonly labels: Readonly<Record<string, string>>;
  /** `namespace/name` globs that this cluster may export; readers enforce it. */
  readonly exportable: readonly string[];
  /** Its policies count for the whole federation. Absent: no. */
  readonly mayPublishPolicy?: boolean;
  /** It may drain and fail over other clusters. Absent: no. */
  readonly mayOperate?: boolean;
  /** Absent: those of every reader. */
  readonly limits?: AdmissionLimits;
  /** It said goodbye and is about to vanish from the roster: nothing new should be sent there. */
  readonly leaving?: boolean;
}

/** What a cluster may do, as whoever admitted it decided. */
export interface Admission {
  readonly labels: Readonly<Record<string, string>>;
  /** `namespace/name` globs. */
  readonly exportable: readonly string[];
  readonly mayPublishPolicy: boolean;
  readonly mayOperate: boolean;
  readonly limits: AdmissionLimits;
}

/** How much a cluster may publish; readers enforce it. */
export interface AdmissionLimits {
  readonly services?: number;
  /** Of all its services together. */
  readonly endpoints?: number;
}

/** The authority's sealed, sequenced list of members. An older sequence is refused. */
export interface Roster {
  readonly federationDomain: TrustDomain;
  readonly sequence: number;
  /** Authority's wall clock in ms. */
  readonly issuedAt: number;
  readonly clusters: ReadonlyMap<ClusterName, RosterEntry>;
  /** Key ids that nothing may chain through any more. */
  readonly deniedKeyIds: readonly KeyId[];
}

/** Where a member finds the hub, as the authority tells it when it joins. */
export interface MemberHub {
  /** `redis://…` or `rediss://…`, never with a secret in it. */
  readonly url: string;
  readonly prefix: string;
  /** Its Redis user. */
  readonly username?: string;
  /** Of a user that the authority has made; absent: it comes another way. */
  readonly password?: string;
}

/** Anchors of one trust domain (SPIFFE bundle). */
export interface Bundle {
  readonly trustDomain: TrustDomain;
  readonly sequence: number;
  /** DER certificates. Empty: nothing of this trust domain is trusted. */
  readonly anchors: readonly Uint8Array[];
}

/** All that verification needs, at one moment. */
export interface TrustState {
  readonly federationDomain: TrustDomain;
  readonly roster: Roster;
  readonly bundles: ReadonlyMap<TrustDomain, Bundle>;
}

/** A leaf identity with its key. */
export interface Svid {
  readonly id: SpiffeId;
  /** DER, leaf first, then the intermediate(s), without the anchor. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 PEM. */
  readonly keyPem: string;
  /** Wall clock in ms. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** One certificate of a chain as a listener presents it. */
export interface ServedCertificate {
  readonly keyId: KeyId;
  /** Wall clock in ms. */
  readonly notAfter: number;
}

/** What one replica presents and trusts, proved by a handshake with itself. */
export interface Acknowledgement {
  readonly rosterSequence: number;
  /** Of the bundle of its own trust domain. */
  readonly bundleSequence: number;
  /** Leaf first, without the anchor. */
  readonly chain: readonly ServedCertificate[];
  /** Its wall clock in ms at that handshake. */
  readonly at: number;
}

/** What one intermediate has signed that still lives. */
export interface IssuedBy {
  /** Of the intermediate. */
  readonly keyId: KeyId;
  /** Leaves that have not expired; each counts to the end of its last minute. */
  readonly live: number;
  /** Wall clock in ms at which the last of them ends. */
  readonly lastNotAfter: number;
}

/** Why a chain was refused: the rule that failed. */
export type RefusalReason =
  | 'malformed'
  | 'no-certificate'
  | 'profile'
  | 'unknown-trust-domain'
  | 'untrusted-issuer'
  | 'issuer-binding'
  | 'expired'
  | 'not-yet-valid'
  | 'denied-key'
  | 'cluster-suspended'
  | 'cluster-revoked'
  | 'signature';

export type PeerVerdict =
  | { readonly ok: true; readonly id: SpiffeId; readonly cluster: ClusterName | undefined; readonly notAfter: number }
  | { readonly ok: false; readonly reason: RefusalReason; readonly detail: string };

import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Admission, KeyId, RosterEntry } from '../../model/trust.ts';

/** `left`: it said goodbye; unlike a revoked one it may be admitted again. */
export type MemberState = RosterEntry['state'] | 'left';

/** A cluster that was admitted once. */
export interface Member extends Admission {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly state: MemberState;
  /** Wall clock in ms. */
  readonly joinedAt: number;
  /** Wall clock in ms of its goodbye; only of a member that left. */
  readonly leftAt?: number;
}

/** A join token without its secret. */
export interface JoinTokenEntry {
  /** Lower-case hex SHA-256 of the secret. */
  readonly hash: string;
  readonly cluster: ClusterName;
  /** Lets a replica that joined before join once more. */
  readonly rejoin: boolean;
  /** What its redemption changes of the cluster's admission. */
  readonly admission: Partial<Admission>;
  /** Wall clock in ms. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** The key that it was redeemed for; only this key may show the token again. */
  readonly usedBy?: KeyId;
  readonly revoked: boolean;
}

/** An intermediate that was issued. */
export interface IntermediateEntry {
  readonly keyId: KeyId;
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  /** Lower-case hex. */
  readonly serial: string;
  /** Wall clock in ms. */
  readonly issuedAt: number;
  readonly notAfter: number;
  /** DER. */
  readonly certificate: Uint8Array;
  /** Taken out of the roster before its end. */
  readonly retired: boolean;
}

/** A request for an intermediate that waits for the signature of an offline root. */
export interface PendingEntry {
  readonly keyId: KeyId;
  readonly kind: 'join' | 'renewal';
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
  /** Wall clock in ms. */
  readonly requestedAt: number;
  /** Who asked, for the journal: a SPIFFE ID, or `token from <address>`. */
  readonly who: string;
  /** Takes the place of what this replica had. */
  readonly rejoin: boolean;
}

/** A key that nothing may chain through. */
export interface DeniedKey {
  readonly keyId: KeyId;
  readonly why: string;
  /** Wall clock in ms at which its certificate has expired anyway. */
  readonly until: number;
}

/** One durable change of an authority's state. They are applied to memory and to disk by the same words. */
export type Change =
  | { readonly type: 'token'; readonly token: JoinTokenEntry }
  | { readonly type: 'forget-tokens'; readonly hashes: readonly string[] }
  | { readonly type: 'member'; readonly member: Member }
  | { readonly type: 'intermediate'; readonly intermediate: IntermediateEntry }
  | { readonly type: 'retire'; readonly keyIds: readonly KeyId[] }
  | { readonly type: 'deny'; readonly denied: DeniedKey }
  | { readonly type: 'pending'; readonly pending: PendingEntry }
  | { readonly type: 'settled'; readonly keyId: KeyId }
  | { readonly type: 'roster'; readonly sequence: number; readonly payload: Uint8Array };

/** The whole state as it was stored. */
export interface StoredState {
  readonly tokens: readonly JoinTokenEntry[];
  readonly members: readonly Member[];
  /** Those that may still sign: neither retired nor expired when it was read. */
  readonly intermediates: readonly IntermediateEntry[];
  /** Every key that was ever certified. */
  readonly usedKeyIds: readonly KeyId[];
  readonly denied: readonly DeniedKey[];
  readonly pending: readonly PendingEntry[];
  readonly roster: { readonly sequence: number; readonly payload: Uint8Array } | undefined;
  /** The next roster has at least this sequence; a restored backup jumps ahead of what it does not know. */
  readonly rosterFloor: number;
  readonly journal: { readonly records: number; readonly head: string; readonly lastAt: number };
}

/**
 * What is told about trust on the command line and by the admin API: plain JSON. Times are wall clock in ms where they
 * are a certificate's own, else as in `status.ts`.
 */

/** One certificate, as people tell it from others. */
export interface CertificateRow {
  /** Lower-case hex SHA-256 of its DER. */
  readonly sha256: string;
  /** Subject key identifier; absent: it has none. */
  readonly keyId?: string;
  readonly subject: string;
  /** URI names. */
  readonly uris: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The SPIFFE bundle of one trust domain. */
export interface BundleRow {
  readonly trustDomain: string;
  /** 64 bits, hence as text; absent: it has none. */
  readonly sequence?: string;
  readonly refreshHintMs?: number;
  /** False: it has no usable key, so nothing of this trust domain is trusted. */
  readonly trusted: boolean;
  readonly anchors: readonly CertificateRow[];
  readonly jwtKeyIds: readonly string[];
  /** Elements of `keys` that count for nothing. */
  readonly ignored: readonly { readonly index: number; readonly why: string }[];
}

/** One bundle with its documents. */
export interface BundleDetail extends BundleRow {
  /** JWK Set with its X.509 keys, as SPIFFE has it. */
  readonly document: string;
  /** The same anchors as PEM. */
  readonly pem: string;
}

/** The bundles an agent holds, and what it refused. */
export interface BundleReport {
  readonly bundles: readonly BundleRow[];
  /** How often bundles were not taken: rolled back, two of one sequence, not verified. */
  readonly refused: { readonly older: number; readonly conflicting: number; readonly unverified: number };
  /** Why the last offer was not taken. */
  readonly problem?: string;
}

/** What came of looking at a chain. */
export interface ChainReport {
  readonly ok: boolean;
  /** The SPIFFE ID; absent when none can be read. */
  readonly id?: string;
  /** Why it is refused; absent: it is not. */
  readonly reason?: string;
  /** The rule that decided, such as `XS-5`. */
  readonly rule?: string;
  /** Where that rule is written down. */
  readonly source?: string;
  readonly detail?: string;
  /** As presented, leaf first; empty when it does not decode. */
  readonly chain: readonly CertificateRow[];
  /** From what moment to what moment the whole path is valid; absent: there is no path. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** What the verdict rests on, in words: which bundle, which binding. */
  readonly basis: string;
}

/** One thing about a certificate that some peers, or the SPIFFE rules, will not take. */
export interface LintFinding {
  /** `error`: some peer refuses it or it breaks a rule; `warning`: some peer does not enforce it; `note`: good to know. */
  readonly severity: 'error' | 'warning' | 'note';
  /** Short and stable, such as `uri-name-constraints`. */
  readonly code: string;
  /** Which one: `<file>#<number>`, from 1. */
  readonly certificate: string;
  /** Whom it concerns, such as `rustls`. */
  readonly peers: readonly string[];
  readonly what: string;
  /** What would be better; absent: nothing needs to be done. */
  readonly advice?: string;
}

/** What came of looking at certificates for what peers will not take. */
export interface LintReport {
  readonly certificates: number;
  readonly findings: readonly LintFinding[];
}

/** Verification vectors that were written. */
export interface VectorsReport {
  readonly dir: string;
  readonly index: string;
  readonly accepted: number;
  readonly refused: number;
}

/** An audit journal, looked at as a whole. */
export interface JournalVerdict {
  readonly ok: boolean;
  readonly records: number;
  /** Sequence of the first record at hand; 1 unless the beginning was dropped. */
  readonly from?: number;
  /** The hash that pins all of it; absent: there is no record. */
  readonly head?: string;
  /** Wall clock in ms of the last record. */
  readonly lastAt?: number;
  /** The first bad record and what is wrong with it. */
  readonly problem?: string;
}

/** One decision, as the journal of an authority has it. */
export interface AuditRow {
  readonly sequence: number;
  /** Wall clock in ms. */
  readonly at: number;
  readonly who: string;
  readonly what: string;
  readonly subject: string;
  readonly detail: string;
  readonly previous: string;
  readonly hash: string;
}

/** Part of a journal, oldest first; `next`: `after` of the part that follows, absent at the end. */
export interface AuditPage {
  readonly records: readonly AuditRow[];
  readonly next?: number;
}

/** One intermediate that the authority issued. */
export interface IntermediateRow {
  readonly keyId: string;
  readonly cluster: string;
  readonly replica: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** Wall clock in ms. */
  readonly issuedAt: number;
  readonly notAfter: number;
  /** `live`: the roster lists it; `denied`: nothing may chain through it. */
  readonly state: 'live' | 'expired' | 'retired' | 'denied';
  /** Lower-case hex SHA-256 of its DER. */
  readonly sha256: string;
}

/** One certificate that waits for the signature of an offline root. */
export interface PendingRow {
  readonly keyId: string;
  /** Whom it is for: `east/agent-0`, or the authority itself. */
  readonly subject: string;
  readonly kind: 'join' | 'renewal' | 'authority' | 'seal';
  /** Wall clock in ms. */
  readonly requestedAt: number;
  readonly who: string;
}

/** One join token; its secret is known to nobody here. */
export interface TokenRow {
  /** First digits of the SHA-256 of its secret. */
  readonly id: string;
  readonly cluster: string;
  readonly state: 'open' | 'used' | 'expired' | 'revoked';
  /** Wall clock in ms. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly rejoin: boolean;
  /** The key that it was redeemed for. */
  readonly usedBy?: string;
}

/** One agent or gateway replica: what it presents and trusts, as it proved itself. */
export interface TrustReplicaRow {
  readonly cluster: string;
  readonly role: 'agent' | 'gateway';
  readonly replica: string;
  /** Key ids of what it presents, leaf first, without the anchor; empty: it has proved nothing. */
  readonly chain: readonly string[];
  readonly leafExpiresInMs?: number;
  readonly issuerExpiresInMs?: number;
  readonly rosterSequence?: number;
  readonly bundleSequence?: number;
  /** Since this was first proved, by the replica's own clock. */
  readonly provedAgoMs?: number;
  /** Its wall clock minus the authority's. */
  readonly clockSkewMs?: number;
  readonly message?: string;
}

/** How a cluster stands with the trust of the federation, as its agent knows it. */
export interface TrustStatus {
  readonly cluster: string;
  readonly replica: string;
  readonly federationDomain: string;
  readonly trustDomain: string;
  readonly roster?: { readonly sequence: number; readonly ageMs: number };
  /** Rosters that were not taken. */
  readonly refusedRosters: { readonly older: number; readonly conflicting: number; readonly unverified: number };
  readonly authority: { readonly connected: boolean; readonly forMs: number; readonly lastError?: string };
  /** Our wall clock minus the authority's; absent: nothing was signed while we listened. */
  readonly clockSkewMs?: number;
  readonly intermediate: {
    readonly keyId: string;
    readonly expiresInMs: number;
    /** The next one, until everybody knows it. */
    readonly next?: { readonly keyId: string; readonly waitsFor: readonly string[]; readonly atLatestInMs: number };
    readonly problem?: string;
  };
  /** Until the first known intermediate ends, which only the authority can renew. */
  readonly survivesAuthorityForMs: number;
  /** Whose intermediate that is. */
  readonly survivalEndsWith: string;
  readonly replicas: readonly TrustReplicaRow[];
  /** What this replica has signed that still lives, by intermediate. */
  readonly issued: readonly { readonly keyId: string; readonly live: number; readonly lastExpiresInMs: number }[];
  readonly journal: { readonly records: number; readonly head: string };
}

/** A backup that was written. */
export interface BackupReport {
  readonly file: string;
  readonly bytes: number;
  readonly rosterSequence: number;
  readonly records: number;
}

/** A file for an offline root. */
export interface SignRequestReport {
  readonly file: string;
  /** Lower-case hex SHA-256: to be compared on the other side. */
  readonly sha256: string;
  readonly items: number;
}

/** What became of a file that an offline root has signed. */
export interface ImportReport {
  readonly accepted: readonly string[];
  /** Certificates that nothing waits for any more. */
  readonly unknown: number;
}

/** What an offline root has signed. */
export interface SignedReport {
  readonly file: string;
  /** Of the request, to be compared with what the authority said. */
  readonly requestSha256: string;
  /** One line for each certificate. */
  readonly subjects: readonly string[];
}

import type { SpiffeId, TrustDomain } from './identity.ts';
import type { ClusterName } from './names.ts';

/** How a caller's identity is known: it is the TLS peer itself, or its gateway says so. */
export type Proof = 'proven' | 'asserted';

/** Which callers a rule is for; everything that is said must hold, each list is a choice. */
export interface CallerMatch {
  readonly trustDomains?: readonly TrustDomain[];
  readonly clusters?: readonly ClusterName[];
  readonly namespaces?: readonly string[];
  /** `<namespace>/<service account>` */
  readonly serviceAccounts?: readonly string[];
  /** SPIFFE IDs; one that ends in `/*` means all below it. */
  readonly ids?: readonly string[];
  readonly proof?: Proof;
}

/** One rule of an AccessPolicy, as the gateways of the exporting cluster apply it. */
export interface AccessRule {
  /** The policy it is from: `AccessPolicy shop/web of east`. */
  readonly policy: string;
  readonly action: 'allow' | 'deny';
  /** Decides nothing; what it would change is said. */
  readonly audit: boolean;
  /** Undefined: whoever calls. */
  readonly from: readonly CallerMatch[] | undefined;
  /** Undefined: every service port. */
  readonly ports: readonly number[] | undefined;
}

/** Who may call a service. Absent in a route: the export alone decides. */
export interface AccessPlan {
  /** What holds where no rule decides. */
  readonly otherwise: 'allow' | 'deny';
  /** What set `otherwise`: `allow: members`. */
  readonly why: string;
  readonly rules: readonly AccessRule[];
}

/** Who asks for a connection, as far as that is known. */
export interface Caller {
  readonly cluster: ClusterName;
  /** As TLS proved it. */
  readonly peer: SpiffeId;
  /** The workload behind it; undefined: anonymous of its cluster. */
  readonly identity: SpiffeId | undefined;
  readonly proof: Proof | 'none';
}

/** How the exporting cluster opens a service: the part of its route that access is judged by. */
export interface Exposure {
  readonly allow: 'members' | 'policy';
  readonly access?: AccessPlan;
}

/** What is asked for. */
export interface AccessRequest {
  readonly route: Exposure;
  /** Service port. */
  readonly port: number;
  readonly caller: Caller;
}

/** Whether a caller may connect, and the rule that decided. */
export interface AccessVerdict {
  readonly allowed: boolean;
  /** For the access log. */
  readonly rule: string;
}

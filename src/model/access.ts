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

/** Which requests a rule is for; both must hold, each list is a choice. At least one is there. */
export interface RequestMatch {
  /** As in the request: `GET`. A gRPC call is a `POST`. */
  readonly methods?: readonly string[];
  /** Whole segments, decoded: `/api` is itself and all below, not `/apis`. A gRPC method is `/<package>.<Service>/<Method>`. */
  readonly pathPrefixes?: readonly string[];
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
  /** Absent: every request, and every connection. */
  readonly requests?: RequestMatch;
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
  /**
   * Whether each request can be judged later, since the port speaks HTTP and requests are looked at. Absent: no; then a
   * rule for some requests denies every one, or allows none.
   */
  readonly seesRequests?: boolean;
}

/** One request on a connection whose verdict was `perRequest`. */
export interface HttpAccessRequest extends AccessRequest {
  readonly method: string;
  /** The request target as received: origin form, query included, not decoded (RFC 9112 §3.2.1). */
  readonly target: string;
}

/** `perRequest`: the connection may be made, and each request on it must be judged. */
export type AccessDecision = 'allowed' | 'denied' | 'perRequest';

/** What a caller may do, and the rule that decided. */
export interface AccessVerdict<Decision extends AccessDecision = AccessDecision> {
  readonly decision: Decision;
  /** For the access log. */
  readonly rule: string;
}

/** Decides at the receiving gateway. Neither throws. */
export interface AccessJudge {
  readonly connection: (request: AccessRequest) => AccessVerdict;
  /** Also for what cannot be understood: then it is denied. */
  readonly request: (request: HttpAccessRequest) => AccessVerdict<'allowed' | 'denied'>;
}

import type { ConflictRow } from './export-report.ts';
import type { Freshness } from './view.ts';
import type { RosterEntry } from './trust.ts';
import type { EndpointCounts } from './record.ts';

/**
 * What the admin API serves and the CLI and console show: plain JSON. Times are ages or remaining times in ms as of the
 * answer, so that a reader needs no clock of the server's; `undefined` (absent) = never, or not known.
 */

/** Paths of the admin API. Below them: `services/<namespace>/<name>`, `bundles/<trust domain>`, `explain?from=&to=<namespace>/<name>:<port>`. */
export const adminPaths = {
  status: '/v1/status',
  clusters: '/v1/clusters',
  links: '/v1/links',
  services: '/v1/services',
  gateways: '/v1/gateways',
  explain: '/v1/explain',
  tokens: '/v1/tokens',
  revokeToken: '/v1/tokens/revoke',
  leave: '/v1/leave',
  clusterState: '/v1/clusters/state',
  clusterAdmission: '/v1/clusters/admission',
  audit: '/v1/trust/audit',
  auditVerdict: '/v1/trust/audit/verdict',
  inventory: '/v1/trust/inventory',
  pending: '/v1/trust/pending',
  acknowledgements: '/v1/trust/acknowledgements',
  signRequest: '/v1/trust/sign-request',
  importResponse: '/v1/trust/import-response',
  backup: '/v1/trust/backup',
  acceptClock: '/v1/trust/accept-clock',
  bundles: '/v1/trust/bundles',
  trustStatus: '/v1/trust/status',
  events: '/v1/events',
  hubAccept: '/v1/hub/accept',
  demo: '/v1/demo',
  demoFail: '/v1/demo/fail',
  demoRestore: '/v1/demo/restore',
} as const;

/** A thing this process depends on and may be without. */
export interface DependencyStatus {
  /** For people, never with a secret: `redis://127.0.0.1:6379/0`, `10.0.0.7:8443`. */
  readonly name: string;
  readonly connected: boolean;
  /** How long it has been so. */
  readonly forMs: number;
  /** Why not connected, or the last thing that went wrong. */
  readonly lastError?: string;
}

/** What one agent replica says of itself. */
export interface AgentStatus {
  readonly kind: 'agent';
  readonly cluster: string;
  /** Absent before the cluster has joined. */
  readonly federationDomain?: string;
  readonly replica: string;
  /** Only the leader writes the cluster's partition. */
  readonly leader: boolean;
  readonly version: string;
  readonly uptimeMs: number;
  readonly hub: DependencyStatus;
  readonly authority: DependencyStatus & {
    readonly rosterSequence?: number;
    readonly rosterAgeMs?: number;
  };
  readonly identity: {
    readonly intermediateExpiresInMs?: number;
    readonly agentExpiresInMs?: number;
    readonly sealExpiresInMs?: number;
  };
  /** The cluster's own partition on the hub. */
  readonly publisher: {
    readonly epoch?: number;
    readonly revision?: number;
    /** Something waits to be written. */
    readonly pending: boolean;
    readonly committedAgoMs?: number;
    readonly problem?: string;
    /** Exports that would have gone at once and stay until somebody confirms it. */
    readonly heldBack?: number;
  };
  /** Members of the federation by how current their data is here, this cluster included. */
  readonly members: Readonly<Record<Freshness, number>>;
  readonly gateways: { readonly connected: number; readonly ready: number };
  readonly services: { readonly exported: number; readonly imported: number };
  /** What keeps it from being ready, each as "the hub redis://…: connection refused". Empty = ready. */
  readonly waitingFor: readonly string[];
  /** What is wrong without making it unready. */
  readonly warnings: readonly string[];
}

/** What the authority says of itself. */
export interface AuthorityStatus {
  readonly kind: 'authority';
  readonly federationDomain: string;
  readonly version: string;
  readonly uptimeMs: number;
  /** Where agents reach it. */
  readonly addresses: readonly string[];
  readonly rosterSequence: number;
  /** Members in the roster by state. */
  readonly clusters: Readonly<Record<RosterEntry['state'], number>>;
  /** Tokens that can still be redeemed. */
  readonly openTokens: number;
  /** The root signs elsewhere: certificates come by file. */
  readonly offlineRoot: boolean;
  /** Certificates that wait for an offline root's signature. */
  readonly pending: number;
  /** Open roster streams of agents. */
  readonly watchers: number;
  readonly rootExpiresInMs?: number;
  readonly hub?: DependencyStatus;
  readonly waitingFor: readonly string[];
  readonly warnings: readonly string[];
}

/** One member of the federation. */
export interface ClusterRow {
  readonly cluster: string;
  /** The cluster that answers. */
  readonly self: boolean;
  /** As the roster says. */
  readonly state: RosterEntry['state'];
  readonly freshness: Freshness;
  /** Since its lease or data last advanced here. */
  readonly heardAgoMs?: number;
  readonly trustDomain: string;
  readonly epoch?: number;
  readonly revision?: number;
  /** Services it exports. */
  readonly services: number;
  /** Gateways it advertises. */
  readonly gateways: number;
  /** Whether the way there works, by this cluster's own probes. */
  readonly reachable?: boolean;
  readonly message?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** `namespace/name` patterns that it may export. */
  readonly exportable?: readonly string[];
  readonly mayPublishPolicy?: boolean;
  readonly mayOperate?: boolean;
}

/** The way from one cluster to one gateway of another. */
export interface LinkRow {
  readonly from: string;
  readonly to: string;
  /** Absent: not measured by anyone. */
  readonly ready?: boolean;
  /** `address:port` of the gateway at the far end. */
  readonly gateway?: string;
  readonly rttP50Ms?: number;
  readonly rttP99Ms?: number;
  /** 0 to 1, of the probes of the last minute. */
  readonly loss?: number;
  /** Connections which the far gateway carries, as it said when it was last asked. */
  readonly load?: number;
  /** Age of what `from` knows of `to`. */
  readonly syncAgeMs?: number;
  /** Until the first of the identities on the way runs out. */
  readonly trustExpiresInMs?: number;
  /** Since `ready` last changed. */
  readonly forMs?: number;
  readonly message?: string;
}

/** One port of a service; `importPort`: where this cluster's gateways listen for it. */
export interface ServicePortStatus {
  readonly port: number;
  readonly name?: string;
  readonly importPort?: number;
}

/** One service, over all clusters. */
export interface ServiceRow {
  /** `<namespace>/<name>` */
  readonly service: string;
  readonly ports: readonly ServicePortStatus[];
  /** This cluster exports it. */
  readonly exported: boolean;
  readonly clusters: readonly string[];
  /** Sum over all clusters. */
  readonly healthy: EndpointCounts;
  /** `Active`: goes to the best tier; `Spill`: partly elsewhere; `Failover`: all elsewhere; `Down`: nowhere to go. */
  readonly state: 'Active' | 'Spill' | 'Failover' | 'Down';
  readonly message?: string;
}

/** One cluster that serves a service, as seen from the cluster that answers. */
export interface TargetRow {
  readonly cluster: string;
  readonly healthy: EndpointCounts;
  /** 0 to 1; absent = no gateway has said yet. */
  readonly share?: number;
  /** Connections begun per second, over the last seconds. */
  readonly rate?: number;
  /** 0 to 1, over the last seconds. */
  readonly success?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** Open connections now, and both counters since the gateways started. */
  readonly active: number;
  readonly connections: number;
  readonly failures: number;
  readonly state: 'Active' | 'Spill' | 'Standby' | 'Out' | 'Stale';
  readonly why: string;
}

/** One service in full. */
export interface ServiceDetail extends ServiceRow {
  readonly targets: readonly TargetRow[];
  /** What the exporters disagree on, and who won. */
  readonly conflicts: readonly ConflictRow[];
}

/** One gateway instance, of this cluster or (as advertised) of another one. */
export interface GatewayRow {
  readonly cluster: string;
  readonly instance: string;
  /** `address:port` that others dial. */
  readonly address: string;
  /** Absent: not connected to this agent, so not known. */
  readonly ready?: boolean;
  readonly draining: boolean;
  readonly version: string;
  readonly connectedForMs?: number;
  readonly identityExpiresInMs?: number;
  readonly rosterSequence?: number;
  /** It acknowledged the present routes. */
  readonly inSync?: boolean;
  /** Open connections. */
  readonly active?: number;
  readonly message?: string;
}

/** One step of a decision. */
export interface ExplanationStep {
  readonly title: string;
  readonly detail: string;
  /** False: the decision ended here. Absent: only information. */
  readonly ok?: boolean;
}

/** A request whose access is asked for; what is undefined of it is `GET`, and `/`. */
export interface ExplainedRequest {
  readonly method: string | undefined;
  /** Request target in origin form. */
  readonly path: string | undefined;
}

/** Where a connection would go now, and why. */
export interface Explanation {
  readonly from: string;
  /** `<namespace>/<name>:<port>` */
  readonly to: string;
  readonly steps: readonly ExplanationStep[];
  /** It would be served. */
  readonly ok: boolean;
  readonly verdict: string;
}

/** A join token: shown once, to be kept secret. */
export interface IssuedToken {
  readonly token: string;
  /** Wall clock in ms. */
  readonly expiresAt: number;
  /** Its name in lists; not secret. Absent for a gateway's. */
  readonly id?: string;
  /** What whoever asked for it should think about once more. */
  readonly warnings?: readonly string[];
  /** What an operator runs in Redis to make the cluster's user; absent: nobody has to. */
  readonly hubUserLine?: string;
}

/** One cluster of a running demo. */
export interface DemoClusterRow {
  readonly cluster: string;
  readonly instances: EndpointCounts;
  /** Its instances were stopped by `demo fail`. */
  readonly failed: boolean;
  readonly adminSocket: string;
  readonly gateway: string;
  /** `host:port` through which a client in this cluster reaches the service. */
  readonly entry?: string;
}

/** What a running demo says of itself. */
export interface DemoStatus {
  readonly kind: 'demo';
  readonly service: string;
  readonly hub: string;
  readonly uptimeMs: number;
  readonly requests: { readonly sent: number; readonly failed: number; readonly interrupted: number };
  readonly clusters: readonly DemoClusterRow[];
}

/** One thing that `isthmus hub check` looked at. */
export interface HubCheck {
  readonly check:
    | 'version'
    | 'role'
    | 'eviction'
    | 'memory'
    | 'persistence'
    | 'replication'
    | 'latency'
    | 'clock'
    | 'permissions';
  readonly level: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** `isthmus hub check` */
export interface HubReport {
  /** Without a secret. */
  readonly hub: string;
  readonly checks: readonly HubCheck[];
}

/** What happened to a partition of the hub; ages in ms. */
export interface EventRow {
  readonly cluster: string;
  readonly kind: string;
  readonly detail: string;
  readonly count: number;
  /** Since the first and the last time. */
  readonly firstAgoMs: number;
  readonly agoMs: number;
}

/** What `isthmus hub accept` let go. */
export interface HubAccepted {
  readonly cluster: string;
  /** Exports that were held back and now go. */
  readonly exports: number;
}

/** What `isthmus leave` did. */
export interface LeaveReport {
  readonly cluster: string;
  /** Exports that were withdrawn. */
  readonly exports: number;
  /** The hub has it, so the other members will. Otherwise the reason why not. */
  readonly told: boolean;
  readonly problem?: string;
  /** It was asked to stay a member, or the authority could not be told: then why. */
  readonly stillMember?: string;
}

import type { ServiceStanding } from './shares.ts';

/** What the admin API says of policies, drains and what would be: plain JSON, as in `status.ts`. */

/** Paths of the admin API. */
export const policyPaths = {
  policies: '/v1/policies',
  apply: '/v1/policies/apply',
  remove: '/v1/policies/delete',
  effective: '/v1/policies/effective',
  simulate: '/v1/simulate',
  drains: '/v1/drains',
  drain: '/v1/drains/set',
  failovers: '/v1/failovers',
} as const;

/** How a policy stands in the cluster that answers. */
export type PolicyState =
  /** In force. */
  | 'Accepted'
  /** In force, and another one wins in every field of it, or in some. */
  | 'Overridden'
  /** In force, and what it is for does not exist yet. */
  | 'Pending'
  /** Counts in its publisher's cluster alone. */
  | 'Elsewhere'
  /** Its publisher may not say so. */
  | 'Ignored'
  /** It cannot be understood; a good version before it stays in force. */
  | 'Rejected';

/** Which version of a policy a cluster has in force. */
export interface AppliedRow {
  readonly cluster: string;
  /** Absent: none. */
  readonly revision?: number;
  /** The newest version. */
  readonly current: boolean;
}

export interface PolicyRow {
  /** `TrafficPolicy/shop/web`; `-` stands for no namespace. */
  readonly policy: string;
  readonly publisher: string;
  /** `shop/web`, `shop/*`, `*` */
  readonly target: string;
  readonly state: PolicyState;
  /** Publisher's wall clock in ms; grows with each version. */
  readonly revision: number;
  readonly ageMs: number;
  /** The publisher's file that it is from. */
  readonly file?: string;
  readonly applied: readonly AppliedRow[];
  readonly message?: string;
}

/** One policy as `apply` takes it. */
export interface PolicyDocument {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

export interface PolicyDetail extends PolicyRow {
  readonly document: PolicyDocument;
}

/** What `apply` or `delete` did to one policy, or would do. */
export interface PolicyChange {
  readonly policy: string;
  readonly action: 'created' | 'changed' | 'unchanged' | 'deleted';
  /** What it was before; apply it to undo. */
  readonly before?: PolicyDocument;
  readonly after?: PolicyDocument;
  readonly notes: readonly string[];
}

export interface PolicyChanges {
  /** Nothing was written. */
  readonly preview: boolean;
  readonly changes: readonly PolicyChange[];
}

/** One field of the effective policy. */
export interface EffectiveField {
  /** `failover.hold` */
  readonly field: string;
  /** As a policy would state it: `30s`, `70%`. */
  readonly value: string;
  /** `TrafficPolicy shop/web of east`, or `configuration or default`. */
  readonly origin: string;
}

export interface EffectiveReport {
  readonly service: string;
  readonly fields: readonly EffectiveField[];
  readonly overridden: readonly { readonly policy: string; readonly field: string; readonly by: string }[];
  /** Who may call it here; one sentence per rule, then what holds otherwise. */
  readonly access: readonly string[];
  readonly notes: readonly string[];
}

/** An operator's word about a cluster or a gateway. */
export interface DrainRow {
  /** `east`, `east/gateway-0` */
  readonly target: string;
  readonly state: 'Draining' | 'Drained' | 'Undraining' | 'Active' | 'Refused';
  /** 0 to 1: what is left of its normal share. */
  readonly left: number;
  readonly overMs: number;
  readonly remainingMs: number;
  readonly issuedAgoMs: number;
  readonly by: string;
  /** Cluster in which it was given. */
  readonly publisher: string;
  /** Connections that clients of the answering cluster still have there. */
  readonly active?: number;
  readonly message?: string;
}

/** What a drain or undrain would do, or did. */
export interface DrainChange {
  readonly preview: boolean;
  readonly row: DrainRow;
  /** As from the cluster that answers, once it is over. */
  readonly simulation: SimulationReport;
  /** What speaks against it, one sentence each: the last gateway of a cluster, the last cluster of a service. */
  readonly warnings: readonly string[];
  /** Command that takes it back. */
  readonly undo: string;
}

export interface SimulatedTargetRow {
  readonly cluster: string;
  /** 0 to 1. */
  readonly before: number;
  readonly after: number;
  readonly why: string;
  /** Connections that it would carry for this cluster. */
  readonly carries?: number;
  /** Connections it is rated for. */
  readonly rated?: number;
}

export interface SimulatedServiceRow {
  readonly service: string;
  readonly before: ServiceStanding;
  readonly after: ServiceStanding;
  readonly targets: readonly SimulatedTargetRow[];
  /** `south: placement requires compliance=pci` */
  readonly avoided: readonly string[];
}

/** Where traffic of one cluster would go. */
export interface SimulationReport {
  readonly from: string;
  /** `lose east`, `load 2x` */
  readonly supposed: readonly string[];
  readonly services: readonly SimulatedServiceRow[];
  /** Services that would have nowhere to go. */
  readonly nowhere: readonly string[];
  /** `shop/web in west: 120 of 100 connections` */
  readonly overloaded: readonly string[];
}

/** One change of where a service's traffic goes. */
export interface FailoverEvent {
  readonly agoMs: number;
  /** Whose traffic moved; several when they moved alike within moments. */
  readonly gateways: readonly string[];
  readonly service: string;
  readonly from: ServiceStanding;
  readonly to: ServiceStanding;
  /** Shares afterwards, largest first: `east 60%, west 40%`. */
  readonly shares: string;
  readonly why: string;
}

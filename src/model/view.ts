import type { TrustDomain } from './identity.ts';
import type { ClusterName, ServiceKey } from './names.ts';
import type { ExportRecord, GatewayRecord, LinkRecord, ServicePort } from './record.ts';

/**
 * How current a cluster's data is, by what its lease told us on our own monotonic clock. Never a reason to delete:
 * `suspect` and `dead` data stays in the view with its age.
 */
export type Freshness = 'live' | 'suspect' | 'dead' | 'unknown';

/** One member of the federation as this cluster knows it. */
export interface ClusterView {
  readonly name: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly epoch: number;
  readonly revision: number;
  readonly freshness: Freshness;
  /** Wall clock in ms at which its lease or data last advanced here; undefined = only known from disk or roster. */
  readonly heardAt: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly gateways: readonly GatewayRecord[];
  readonly links: readonly LinkRecord[];
}

/** A property on which the exporters of one service disagree (KEP-1645, condition `Conflict`). */
export interface Conflict {
  readonly field: 'ports' | 'type';
  readonly reason: 'PortConflict' | 'TypeConflict';
  readonly winner: ClusterName;
  readonly losers: readonly ClusterName[];
  readonly message: string;
}

/** One service, merged from all its exporters. */
export interface ServiceView {
  readonly key: ServiceKey;
  readonly type: ExportRecord['type'];
  /** Union of all exporters' ports, conflicts resolved to the oldest export. */
  readonly ports: readonly ServicePort[];
  readonly exports: ReadonlyMap<ClusterName, ExportRecord>;
  readonly conflicts: readonly Conflict[];
}

/** Everything a cluster knows of the federation at one moment. Immutable; unchanged parts are shared by reference. */
export interface MeshView {
  readonly self: ClusterName;
  /** Grows by one with each published view of this process. */
  readonly revision: number;
  readonly clusters: ReadonlyMap<ClusterName, ClusterView>;
  readonly services: ReadonlyMap<ServiceKey, ServiceView>;
}

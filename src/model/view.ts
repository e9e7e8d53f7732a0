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
  /** Exports of this cluster that are not taken as they stand. */
  readonly notices: readonly ExportNotice[];
}

/** What exporters of one service can disagree on (KEP-1645, condition `Conflict`). */
export type ConflictReason =
  | 'PortConflict'
  | 'TypeConflict'
  | 'SessionAffinityConflict'
  | 'SessionAffinityConfigConflict'
  | 'AnnotationsConflict'
  | 'LabelsConflict'
  | 'InternalTrafficPolicyConflict'
  | 'TrafficDistributionConflict'
  | 'IPFamilyConflict';

/** One property on which the exporters of one service disagree. The same for every exporter, winner and loser alike. */
export interface Conflict {
  /** `type`, `ports`, `ports[80/TCP].name`: the narrowest part that differs. */
  readonly field: string;
  readonly reason: ConflictReason;
  /** The oldest export that says anything of it. */
  readonly winner: ClusterName;
  readonly losers: readonly ClusterName[];
  /** What each exporter that says anything of it says, as text, shortened; oldest export first. */
  readonly values: ReadonlyMap<ClusterName, string>;
  readonly message: string;
}

/** Something that a cluster published and that is not taken as it stands. */
export interface ExportNotice {
  readonly service: ServiceKey;
  /**
   * - `NotExportable`: the roster does not let this cluster export it; it is left out
   * - `AgeCorrected`: its self-declared age cannot be; it counts as exported when it was first seen
   */
  readonly reason: 'NotExportable' | 'AgeCorrected';
  readonly message: string;
}

/** What the oldest export decides for all of them. */
type OldestDecides = Pick<
  ExportRecord,
  | 'labels'
  | 'annotations'
  | 'sessionAffinity'
  | 'sessionAffinityTimeoutS'
  | 'internalTrafficPolicy'
  | 'trafficDistribution'
>;

/** One service, merged from all its exporters. */
export interface ServiceView extends OldestDecides {
  readonly key: ServiceKey;
  readonly type: ExportRecord['type'];
  /** Union of all exporters' ports, conflicts resolved to the oldest export. */
  readonly ports: readonly ServicePort[];
  /** Oldest first: the first one wins where they disagree. */
  readonly exports: ReadonlyMap<ClusterName, ExportRecord>;
  /** Those that all exporters have which name any. */
  readonly ipFamilies?: NonNullable<ExportRecord['ipFamilies']>;
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

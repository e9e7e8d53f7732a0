import type { ClusterName, ReplicaName, ServiceKey } from './names.ts';

/** One port of a service as its clients see it. */
export interface ServicePort {
  readonly port: number;
  readonly name?: string;
  /** UDP and SCTP cannot be exported. */
  readonly protocol: 'TCP';
  readonly appProtocol?: string;
}

/** How many instances stand behind an export. `ready` ≤ `total`. */
export interface EndpointCounts {
  readonly total: number;
  readonly ready: number;
}

/** A service that one cluster offers to the federation. Key: `export/<namespace>/<name>`. */
export interface ExportRecord {
  readonly kind: 'export';
  readonly service: ServiceKey;
  readonly type: 'ClusterSetIP' | 'Headless';
  readonly ports: readonly ServicePort[];
  /** Who may call: every member of the federation, or only what an AccessPolicy allows. */
  readonly allow: 'members' | 'policy';
  readonly endpoints: EndpointCounts;
  /** Rated capacity of one endpoint; absent = unknown. */
  readonly capacity?: { readonly concurrent?: number; readonly rps?: number };
  /** Wall clock of the exporter in ms when the service was first exported; self-declared. */
  readonly createdAt: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** The owner's word that an export is gone; it stands under the key of what it deletes, and is kept for 24 h. */
export interface TombstoneRecord {
  readonly kind: 'tombstone';
  readonly service: ServiceKey;
  readonly deletedAt: number;
}

export interface GatewayAddress {
  readonly address: string;
  readonly port: number;
  /** `instance`: exactly this gateway; `balanced`: some balancer in front of `instances` of them. */
  readonly kind: 'instance' | 'balanced';
  readonly instances: number;
}

/** Where one gateway instance of the cluster is reached. Key: `gateway/<replica>`. */
export interface GatewayRecord {
  readonly kind: 'gateway';
  readonly instance: ReplicaName;
  readonly addresses: readonly GatewayAddress[];
  /** False: nobody can dial it; it opens reverse links instead. */
  readonly reachable: boolean;
  readonly draining: boolean;
  readonly version: string;
}

/** What this cluster's probes say of the way to another one. Key: `link/<cluster>`. */
export interface LinkRecord {
  readonly kind: 'link';
  readonly to: ClusterName;
  readonly up: boolean;
  /** Bucketed, so that noise does not cause writes; absent while never measured. */
  readonly rttMs?: number;
  /** Wall clock in ms of the last change of `up`. */
  readonly since: number;
  readonly reason?: string;
}

export type ClusterRecord = ExportRecord | TombstoneRecord | GatewayRecord | LinkRecord;

/** The key of a record inside its cluster's partition. */
export type RecordKey = string;

export function exportKey(service: ServiceKey): RecordKey {
  return `export/${service}`;
}

export function recordKeyOf(record: ClusterRecord): RecordKey {
  switch (record.kind) {
    case 'export':
    case 'tombstone':
      return exportKey(record.service);
    case 'gateway':
      return `gateway/${record.instance}`;
    case 'link':
      return `link/${record.to}`;
  }
}

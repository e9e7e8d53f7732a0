import type { SpiffeId } from './identity.ts';
import type { ClusterName, ReplicaName, ServiceKey } from './names.ts';
import type { Acknowledgement, IssuedBy } from './trust.ts';

/** One port of a service as its clients see it. */
export interface ServicePort {
  readonly port: number;
  readonly name?: string;
  /** UDP and SCTP cannot be exported. */
  readonly protocol: 'TCP';
  readonly appProtocol?: string;
}

/** How many instances stand behind an export, by the conditions of an EndpointSlice. None is more than `total`. */
export interface EndpointCounts {
  readonly total: number;
  readonly ready: number;
  /** Answers, though it may be terminating; absent = as many as are ready. */
  readonly serving?: number;
  /** Is being taken down; absent = none. */
  readonly terminating?: number;
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
  /** The same by zone, as far as zones are known. */
  readonly zones?: Readonly<Record<string, EndpointCounts>>;
  /** May be reached by SNI, its TLS untouched; absent = no. */
  readonly passthrough?: boolean;
  /** Who serves it, when all its instances are one workload. */
  readonly identity?: SpiffeId;
  /** Of a `Headless` service: the host names of its ready instances. */
  readonly hostnames?: readonly string[];
  /** Absent = `None`. */
  readonly sessionAffinity?: 'None' | 'ClientIP';
  /** Of `ClientIP`, in seconds, 1 to 86400; absent = 10800. */
  readonly sessionAffinityTimeoutS?: number;
  /** Absent = `Cluster`. */
  readonly internalTrafficPolicy?: 'Cluster' | 'Local';
  readonly trafficDistribution?: string;
  readonly ipFamilies?: readonly ('IPv4' | 'IPv6')[];
  /** Rated capacity of one endpoint; absent = unknown. */
  readonly capacity?: { readonly concurrent?: number; readonly rps?: number };
  /** Wall clock of the exporter in ms when the service was first exported; self-declared. */
  readonly createdAt: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The owner's word that an export is gone; it stands under the key of what it deletes, and is kept for 24 h. */
export interface TombstoneRecord {
  readonly kind: 'tombstone';
  readonly service: ServiceKey;
  /** Wall clock of the owner in ms. */
  readonly deletedAt: number;
  /** The owner means it, however many others go with it. */
  readonly bulk?: boolean;
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

/** What an operator takes out of use: a whole cluster, or one of its gateways. */
export interface DrainTarget {
  readonly cluster: ClusterName;
  readonly gateway?: ReplicaName;
}

/**
 * An operator's word about new traffic, in the partition of whichever cluster it was given in; of several about one
 * target the last (`issuedAt`, cluster) holds. Key: `drain/<cluster>[/<gateway>]`.
 */
export interface DrainRecord {
  readonly kind: 'drain';
  readonly target: DrainTarget;
  readonly state: 'drained' | 'active';
  /** Its share falls (or rises) over so long from `issuedAt` on, in ms. */
  readonly overMs: number;
  /** Wall clock of the issuer in ms. */
  readonly issuedAt: number;
  /** 0 to 1: the part of its share that it had at `issuedAt`. Absent: all of it before a drain, none before its end. */
  readonly from?: number;
  /** Who gave it, for people. */
  readonly by: string;
}

/** A published policy. Key: `policy/<type>/<namespace, or - for all>/<name>`. */
export interface PolicyRecord {
  readonly kind: 'policy';
  readonly type: string;
  readonly namespace?: string;
  readonly name: string;
  /** As written; its type says what it means. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** Wall clock of the publisher in ms; grows with each version. */
  readonly issuedAt: number;
  /** The same of its first version: the older of two equals wins. Absent: `issuedAt`. */
  readonly createdAt?: number;
  /** The publisher's file that it is from, by its name alone. Absent: it was applied. */
  readonly file?: string;
}

/** Which policies a cluster has in force. Key: `applied/policies`. */
export interface AppliedRecord {
  readonly kind: 'applied';
  /** `<publisher>/<type>/<namespace, or ->/<name>` → `issuedAt` of the version in force. */
  readonly policies: Readonly<Record<string, number>>;
}

/** Private to its cluster: where its gateways listen for one import, for standbys to adopt. Key: `import/<service>`. */
export interface ImportRecord {
  readonly kind: 'import';
  readonly service: ServiceKey;
  /** Service port → port of the gateways. */
  readonly ports: Readonly<Record<number, number>>;
}

/** Roles that present a chain to others. */
export type AckRole = 'agent' | 'gateway';

/**
 * What one replica proved to present and to trust: rotations advance on it. Written when something of it changes; `at`
 * is when that was first proved. Key: `ack/<role>/<replica>`.
 */
export interface AckRecord extends Acknowledgement {
  readonly kind: 'ack';
  readonly role: AckRole;
  readonly replica: ReplicaName;
  /** Its wall clock minus the authority's, in ms, as far as known; coarse. */
  readonly clockSkewMs?: number;
  /** Of an agent: what it has signed that still lives, as of some minutes ago at most. */
  readonly issued?: readonly IssuedBy[];
  /** Of an agent: the hash that its journal of issued certificates ended with then. */
  readonly journalHead?: string;
}

export type ClusterRecord =
  | ExportRecord
  | TombstoneRecord
  | GatewayRecord
  | LinkRecord
  | DrainRecord
  | PolicyRecord
  | AppliedRecord
  | ImportRecord
  | AckRecord;

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
    case 'drain':
      return `drain/${record.target.cluster}${record.target.gateway === undefined ? '' : `/${record.target.gateway}`}`;
    case 'policy':
      return `policy/${record.type}/${record.namespace ?? '-'}/${record.name}`;
    case 'applied':
      return 'applied/policies';
    case 'import':
      return `import/${record.service}`;
    case 'ack':
      return `ack/${record.role}/${record.replica}`;
  }
}

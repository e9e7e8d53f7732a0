import type { AccessPlan } from './access.ts';
import type { TrustDomain } from './identity.ts';
import type { ClusterName, ReplicaName, ServiceKey } from './names.ts';
import type { TrafficPlan } from './traffic.ts';

/** One instance of a service inside the gateway's own cluster. */
export interface LocalEndpoint {
  /** Stable name of the instance, for health and logs: `<address>:<port>` unless the source knows better. */
  readonly id: string;
  readonly address: string;
  /** Service port → port of the instance. */
  readonly ports: ReadonlyMap<number, number>;
  /** What the source's own health check says; the gateway's outcomes are combined with it. */
  readonly ready: boolean;
  /** Where it runs, as far as the source knows. */
  readonly zone?: string;
}

/** One cluster that serves a service: the caller's own or a remote one. */
export interface Target {
  readonly cluster: ClusterName;
  /** 0 is preferred; a tier is used as far as the better ones cannot carry the traffic. */
  readonly tier: number;
  /** Rated capacity of all its endpoints; their number when nothing is rated. Weighs targets inside a tier. */
  readonly capacity: number;
  /** 0 to 1: ready of all endpoints, as the owner last said. */
  readonly health: number;
  /** Service ports which that cluster exposes. */
  readonly ports: readonly number[];
  /** The owner's data is old: it stays in, shown as stale. */
  readonly stale: boolean;
  /** Its part of the tier, in the unit of its siblings; absent: by capacity. */
  readonly weight?: number;
  /** Connections that all its endpoints together are rated for; absent: not known, so load moves nothing. */
  readonly rated?: number;
  /** An operator takes it out of use, or brings it back. */
  readonly drain?: DrainPlan;
}

/** How the share of a target falls to nothing, or comes back. */
export interface DrainPlan {
  /** False: it comes back. */
  readonly drained: boolean;
  /** Wall clock of the issuer in ms; the pace follows from it. */
  readonly issuedAt: number;
  readonly overMs: number;
  /** 0 to 1: what it had of its share at `issuedAt`. */
  readonly from: number;
  /** Cluster in which it was ordered. */
  readonly by: ClusterName;
}

/** When traffic leaves a tier, and how fast it returns. */
export interface FailoverPlan {
  /** 0 to 1: below this health of a tier the missing share spills to the next one. */
  readonly healthyThreshold: number;
  /** A better tier must be healthy for so long before traffic returns… */
  readonly holdMs: number;
  /** …and comes back linearly over so long. */
  readonly returnOverMs: number;
  /** 0 to 1: below this health of everything together, endpoints are picked whatever their health. Default 0.3. */
  readonly panicThreshold?: number;
  /** 0 to 1, of rated capacity: from here on load moves new connections to the next tier; absent = never. */
  readonly spillAt?: number;
}

export interface RoutePort {
  readonly port: number;
  readonly name?: string;
  readonly appProtocol?: string;
  /** The gateway's plain listener for this service port; undefined = not imported here. */
  readonly importPort: number | undefined;
}

/** Everything a gateway needs to know of one service. A plan: it names targets and tiers, never shares. */
export interface ServiceRoute extends TrafficPlan {
  readonly key: ServiceKey;
  readonly ports: readonly RoutePort[];
  /** Whether this cluster exports it; what is not exported is refused to other clusters. */
  readonly exported: boolean;
  readonly allow: 'members' | 'policy';
  /** Who may call it here; absent: `allow` alone decides. */
  readonly access?: AccessPlan;
  readonly targets: readonly Target[];
  readonly failover: FailoverPlan;
  readonly endpoints: readonly LocalEndpoint[];
}

/** Where a cluster's gateways are that take new sessions, and who they must prove to be. */
export interface ClusterRoute {
  readonly name: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly gateways: readonly GatewayTarget[];
  /** Instances of the own cluster that an operator has taken out of use; absent: none. */
  readonly drained?: readonly ReplicaName[];
}

export interface GatewayTarget {
  readonly instance: ReplicaName;
  readonly address: string;
  readonly port: number;
}

/** The compiled plan for one cluster's gateways. Immutable; an unchanged service is the same object as before. */
export interface RouteTable {
  readonly self: ClusterName;
  readonly services: ReadonlyMap<ServiceKey, ServiceRoute>;
  /** All members, the own one included once it has a gateway. */
  readonly clusters: ReadonlyMap<ClusterName, ClusterRoute>;
}

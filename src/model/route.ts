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
}

/** When traffic leaves a tier, and how fast it returns. */
export interface FailoverPlan {
  /** 0 to 1: below this health of a tier the missing share spills to the next one. */
  readonly healthyThreshold: number;
  /** A better tier must be healthy for so long before traffic returns… */
  readonly holdMs: number;
  /** …and comes back linearly over so long. */
  readonly returnOverMs: number;
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
  readonly targets: readonly Target[];
  readonly failover: FailoverPlan;
  readonly endpoints: readonly LocalEndpoint[];
}

/** Where another cluster's gateways are, and who they must prove to be. */
export interface ClusterRoute {
  readonly name: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly gateways: readonly GatewayTarget[];
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
  readonly clusters: ReadonlyMap<ClusterName, ClusterRoute>;
}

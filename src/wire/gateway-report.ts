import type { ClusterName, ReplicaName, ServiceKey } from '../model/names.ts';

/** One way to another cluster as a gateway sees it, through its own tunnel. */
export interface LinkReport {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly address: string;
  readonly up: boolean;
  /** Milliseconds; undefined while never measured. */
  readonly rttP50Ms?: number;
  readonly rttP99Ms?: number;
  /** 0 to 1, of the probes of the last minute. */
  readonly loss: number;
  /** Monotone ms of the gateway since the last change of `up`. */
  readonly forMs: number;
  readonly reason?: string;
}

/** One target of one service as a gateway's traffic shows it. Counters grow from the gateway's start. */
export interface TargetReport {
  readonly cluster: ClusterName;
  readonly share: number;
  readonly why: string;
  readonly reachable: boolean;
  readonly health: number;
  readonly connections: number;
  readonly failures: number;
  readonly active: number;
}

export interface EndpointReport {
  readonly id: string;
  readonly up: boolean;
  readonly active: number;
  readonly reason?: string;
}

export interface ServiceReport {
  readonly service: ServiceKey;
  readonly targets: readonly TargetReport[];
  readonly endpoints: readonly EndpointReport[];
}

/** What a gateway tells its agent about once a second. */
export interface GatewayReport {
  readonly instance: ReplicaName;
  readonly version: string;
  readonly ready: boolean;
  /** What it waits for when not ready. */
  readonly waitingFor?: string;
  readonly draining: boolean;
  readonly svidNotAfter?: number;
  readonly rosterSequence?: number;
  readonly tableDigest: string;
  readonly links: readonly LinkReport[];
  readonly services: readonly ServiceReport[];
}

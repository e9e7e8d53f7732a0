import type { ClusterName } from '../../model/names.ts';
import type { LocalEndpoint, ServiceRoute } from '../../model/route.ts';
import type { ServiceFacts, SharesResult } from '../../model/shares.ts';
import { type Ejection, healthy } from '../health/ejection.ts';

/** One local endpoint as this gateway uses it. */
export interface EndpointState {
  endpoint: LocalEndpoint;
  ejection: Ejection;
  /** Connections being made or open. */
  active: number;
}

/** One target of one service as this gateway's traffic shows it. Counters grow from the gateway's start. */
export interface TargetState {
  /** Of the whole service in that cluster; unused for the own cluster, whose endpoints are judged one by one. */
  ejection: Ejection;
  connections: number;
  failures: number;
  active: number;
}

/**
 * What a gateway holds of one service. Mutable and shared on purpose: connections keep the entry they began with, also
 * when the service leaves the table.
 */
export class ServiceEntry {
  route: ServiceRoute;
  result: SharesResult = { shares: new Map(), state: new Map(), reasons: new Map(), changesAt: undefined };
  facts: ServiceFacts = new Map();
  /** The facts or the route may have changed since the last step. */
  stale: boolean = true;
  readonly endpoints: Map<string, EndpointState> = new Map();
  readonly #targets = new Map<ClusterName, TargetState>();

  constructor(route: ServiceRoute) {
    this.route = route;
    this.setRoute(route);
  }

  /** Takes a new route; what is known of endpoints and targets that stay is kept. */
  setRoute(route: ServiceRoute): void {
    this.route = route;
    this.stale = true;
    const ids = new Set<string>();
    for (const endpoint of route.endpoints) {
      ids.add(endpoint.id);
      const known = this.endpoints.get(endpoint.id);
      if (!known) {
        this.endpoints.set(endpoint.id, { endpoint, ejection: healthy, active: 0 });
      } else {
        // At another address it is another process.
        if (known.endpoint.address !== endpoint.address) known.ejection = healthy;
        known.endpoint = endpoint;
      }
    }
    for (const id of this.endpoints.keys()) if (!ids.has(id)) this.endpoints.delete(id);
    const clusters = new Set(route.targets.map((target) => target.cluster));
    for (const [cluster, state] of this.#targets) {
      if (!clusters.has(cluster) && state.active === 0) this.#targets.delete(cluster);
    }
  }

  target(cluster: ClusterName): TargetState {
    let state = this.#targets.get(cluster);
    if (!state) {
      state = { ejection: healthy, connections: 0, failures: 0, active: 0 };
      this.#targets.set(cluster, state);
    }
    return state;
  }

  /** Targets that were used or ejected. */
  get targets(): ReadonlyMap<ClusterName, TargetState> {
    return this.#targets;
  }

  endpointUp(endpoint: LocalEndpoint): boolean {
    return endpoint.ready && this.endpoints.get(endpoint.id)?.ejection.kind !== 'out';
  }

  /** Connections being made or open, to all targets. */
  get active(): number {
    let sum = 0;
    for (const target of this.#targets.values()) sum += target.active;
    return sum;
  }
}

import type { ClusterName } from '../../model/names.ts';
import type { LocalEndpoint, ServiceRoute } from '../../model/route.ts';
import type { ServiceFacts, ServiceStanding, SharesResult } from '../../model/shares.ts';
import {
  type ConnectionPlan,
  defaultConnection,
  defaultLoadBalancing,
  defaultOutlier,
  type LoadBalancingPlan,
  type OutlierPlan,
} from '../../model/traffic.ts';
import { type Ejection, healthy } from '../health/ejection.ts';
import { OutcomeWindow } from '../health/success-rate.ts';
import { strategyOf } from './choice/of-algorithm.ts';
import { PeakEwma } from './choice/peak-ewma.ts';
import type { Choice, Choosable, Strategy } from './choice/strategy.ts';
import { Circuit } from './circuit.ts';
import type { Told } from './moves.ts';
import { TargetOrder } from './order.ts';
import { RemoteLoad } from './remote-load.ts';

/** Anything that is judged by what its connections come to. */
export interface Judged {
  ejection: Ejection;
  readonly outcomes: OutcomeWindow;
}

/** One local endpoint as this gateway uses it. */
export interface EndpointState extends Judged, Choosable {
  endpoint: LocalEndpoint;
  active: number;
  since: number;
}

/** One target of one service as this gateway's traffic shows it. Counters grow from the gateway's start. */
export interface TargetState extends Judged {
  /** The ejection is of the whole service in that cluster; unused for the own one, whose endpoints are judged singly. */
  connections: number;
  failures: number;
  active: number;
  /** What that cluster's gateways say they carry for the service. */
  readonly load: RemoteLoad;
}

/** What a caller of `choose` knows. */
export type EndpointChoice = Pick<Choice<EndpointState>, 'usable' | 'limit' | 'now' | 'random' | 'source'>;

interface PortChoice {
  readonly items: readonly EndpointState[];
  readonly strategy: Strategy;
}

/**
 * What a gateway holds of one service. Mutable and shared on purpose: connections keep the entry they began with, also
 * when the service leaves the table.
 */
export class ServiceEntry {
  route: ServiceRoute;
  result: SharesResult = {
    shares: new Map(),
    state: new Map(),
    reasons: new Map(),
    barred: new Set(),
    panic: false,
    changesAt: undefined,
  };
  /** By the latest shares. */
  order: TargetOrder = new TargetOrder([], this.result);
  standing: ServiceStanding = 'Active';
  /** As of its last move; undefined before the first step. */
  told: Told | undefined;
  facts: ServiceFacts = new Map();
  /** The facts or the route may have changed since the last step. */
  stale: boolean = true;
  readonly circuit: Circuit = new Circuit();
  readonly endpoints: Map<string, EndpointState> = new Map();
  readonly #targets = new Map<ClusterName, TargetState>();
  readonly #choices = new Map<number, PortChoice>();

  constructor(route: ServiceRoute) {
    this.route = route;
    // Nobody is there for longer than the others, so nobody needs to warm up.
    this.setRoute(route, Number.NEGATIVE_INFINITY);
  }

  get loadBalancing(): LoadBalancingPlan {
    return this.route.loadBalancing ?? defaultLoadBalancing;
  }

  get connection(): ConnectionPlan {
    return this.route.connection ?? defaultConnection;
  }

  get outlier(): OutlierPlan {
    return this.route.outlier ?? defaultOutlier;
  }

  /** Takes a new route; what is known of endpoints and targets that stay is kept. `now`: monotonic ms. */
  setRoute(route: ServiceRoute, now: number): void {
    if (route.loadBalancing?.algorithm !== this.route.loadBalancing?.algorithm) this.#choices.clear();
    this.route = route;
    this.stale = true;
    const ids = new Set<string>();
    for (const endpoint of route.endpoints) {
      ids.add(endpoint.id);
      const known = this.endpoints.get(endpoint.id);
      if (!known) this.endpoints.set(endpoint.id, newEndpoint(endpoint, now));
      // At another address it is another process.
      else if (known.endpoint.address !== endpoint.address) this.endpoints.set(endpoint.id, newEndpoint(endpoint, now));
      else {
        if (endpoint.ready && !known.endpoint.ready) known.since = now;
        known.endpoint = endpoint;
      }
    }
    for (const id of this.endpoints.keys()) if (!ids.has(id)) this.endpoints.delete(id);
    for (const [port, { strategy }] of this.#choices)
      this.#choices.set(port, { strategy, items: this.#withPort(port) });
    const clusters = new Set(route.targets.map((target) => target.cluster));
    for (const [cluster, state] of this.#targets) {
      if (!clusters.has(cluster) && state.active === 0) this.#targets.delete(cluster);
    }
  }

  /** Endpoints for a service port in the order to be tried, by the route's algorithm. */
  choose(port: number, choice: EndpointChoice): EndpointState[] {
    let of = this.#choices.get(port);
    if (!of) {
      of = { items: this.#withPort(port), strategy: strategyOf(this.loadBalancing.algorithm) };
      if (of.items.length === 0) return [];
      this.#choices.set(port, of);
    }
    return of.strategy.order({ ...choice, items: of.items, slowStartMs: this.loadBalancing.slowStartMs });
  }

  target(cluster: ClusterName): TargetState {
    let state = this.#targets.get(cluster);
    if (!state) {
      state = {
        ejection: healthy,
        outcomes: new OutcomeWindow(),
        connections: 0,
        failures: 0,
        active: 0,
        load: new RemoteLoad(),
      };
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

  /** Connections to endpoints here that this gateway carries, whoever sent them. */
  get carriedHere(): number {
    let sum = 0;
    for (const endpoint of this.endpoints.values()) sum += endpoint.active;
    return sum;
  }

  #withPort(port: number): readonly EndpointState[] {
    return [...this.endpoints.values()].filter(({ endpoint }) => endpoint.ports.has(port));
  }
}

function newEndpoint(endpoint: LocalEndpoint, since: number): EndpointState {
  return {
    id: endpoint.id,
    endpoint,
    ejection: healthy,
    outcomes: new OutcomeWindow(),
    latency: new PeakEwma(),
    active: 0,
    since,
  };
}

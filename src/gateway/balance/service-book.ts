import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { RouteTable } from '../../model/route.ts';
import type { SharesStep } from '../../model/shares.ts';
import type { EndpointReport, ServiceReport, TargetReport } from '../../wire/gateway-report.ts';
import {
  afterFailure,
  afterSuccess,
  type Ejection,
  type EjectionRules,
  probeDue,
  probing,
} from '../health/ejection.ts';
import { factsOf, sameFacts } from '../health/facts.ts';
import { type EndpointState, ServiceEntry } from './service-entry.ts';

/** Something went out of use or came back, for the log. */
export interface HealthChange {
  readonly service: ServiceKey;
  readonly cluster: ClusterName;
  /** Undefined: the whole service in that cluster. */
  readonly endpoint: string | undefined;
  readonly up: boolean;
  readonly reason: string | undefined;
}

/** A probe that is due. */
export type Probe =
  | { readonly kind: 'endpoint'; readonly entry: ServiceEntry; readonly state: EndpointState }
  | { readonly kind: 'remote'; readonly entry: ServiceEntry; readonly cluster: ClusterName };

export interface ServiceBookOptions {
  readonly self: ClusterName;
  readonly step: SharesStep;
  readonly rules: EjectionRules;
  /** Whether a gateway of that cluster is reached now; `unknown` before the first attempt has ended. */
  readonly reach: (cluster: ClusterName) => 'up' | 'down' | 'unknown';
  readonly onChange: (change: HealthChange) => void;
}

/** All services of the table with their health, counters and shares. Pure: time comes in with each call. */
export class ServiceBook {
  readonly #options: ServiceBookOptions;
  readonly #entries = new Map<ServiceKey, ServiceEntry>();

  constructor(options: ServiceBookOptions) {
    this.#options = options;
  }

  get(service: ServiceKey): ServiceEntry | undefined {
    return this.#entries.get(service);
  }

  setTable(table: RouteTable, now: number): void {
    for (const key of this.#entries.keys()) if (!table.services.has(key)) this.#entries.delete(key);
    for (const [key, route] of table.services) {
      const entry = this.#entries.get(key);
      if (!entry) this.#entries.set(key, new ServiceEntry(route));
      else if (entry.route !== route) entry.setRoute(route);
    }
    this.refresh(now);
  }

  /** Steps every service whose facts changed or whose shares move with time. Call on each fact and every 250 ms. */
  refresh(now: number): void {
    for (const entry of this.#entries.values()) this.#refresh(entry, now);
  }

  endpointFailed(entry: ServiceEntry, state: EndpointState, failure: { reason: string; now: number }): void {
    const next = afterFailure(state.ejection, failure.reason, failure.now, this.#options.rules);
    this.#endpoint(entry, state, next, failure.now);
  }

  endpointWorked(entry: ServiceEntry, state: EndpointState, now: number): void {
    this.#endpoint(entry, state, afterSuccess(state.ejection), now);
  }

  remoteFailed(entry: ServiceEntry, cluster: ClusterName, failure: { reason: string; now: number }): void {
    const next = afterFailure(entry.target(cluster).ejection, failure.reason, failure.now, this.#options.rules);
    this.#remote(entry, cluster, next, failure.now);
  }

  remoteWorked(entry: ServiceEntry, cluster: ClusterName, now: number): void {
    this.#remote(entry, cluster, afterSuccess(entry.target(cluster).ejection), now);
  }

  /** Up to `limit` probes that are due; each is then due again later. */
  takeProbes(now: number, limit: number): Probe[] {
    const probes: Probe[] = [];
    for (const entry of this.#entries.values()) {
      if (probes.length >= limit) break;
      for (const state of entry.endpoints.values()) {
        if (probes.length >= limit || !probeDue(state.ejection, now)) continue;
        state.ejection = probing(state.ejection, now, this.#options.rules);
        probes.push({ kind: 'endpoint', entry, state });
      }
      for (const [cluster, target] of entry.targets) {
        if (probes.length >= limit || !probeDue(target.ejection, now)) continue;
        target.ejection = probing(target.ejection, now, this.#options.rules);
        probes.push({ kind: 'remote', entry, cluster });
      }
    }
    return probes;
  }

  report(): ServiceReport[] {
    return [...this.#entries.values()].map((entry) => ({
      service: entry.route.key,
      targets: entry.route.targets.map((target) => this.#targetReport(entry, target.cluster)),
      endpoints: entry.route.endpoints.map((endpoint): EndpointReport => {
        const state = entry.endpoints.get(endpoint.id);
        const ejected = state?.ejection.kind === 'out' ? state.ejection.reason : undefined;
        const reason = ejected ?? (endpoint.ready ? undefined : 'not ready');
        const up = entry.endpointUp(endpoint);
        return { id: endpoint.id, up, active: state?.active ?? 0, ...(reason !== undefined && { reason }) };
      }),
    }));
  }

  #targetReport(entry: ServiceEntry, cluster: ClusterName): TargetReport {
    const state = entry.targets.get(cluster);
    const facts = entry.facts.get(cluster);
    const ejection = state?.ejection;
    const why = entry.result.reasons.get(cluster) ?? '';
    return {
      cluster,
      share: entry.result.shares.get(cluster) ?? 0,
      why: ejection?.kind === 'out' ? `${why}${why && '; '}refused: ${ejection.reason}` : why,
      reachable: facts?.reachable ?? true,
      health: facts?.health ?? 1,
      connections: state?.connections ?? 0,
      failures: state?.failures ?? 0,
      active: state?.active ?? 0,
    };
  }

  #endpoint(entry: ServiceEntry, state: EndpointState, next: Ejection, now: number): void {
    const before = state.ejection;
    state.ejection = next;
    if (before.kind === next.kind) return;
    this.#changed(entry, { cluster: this.#options.self, endpoint: state.endpoint.id, next, now });
  }

  #remote(entry: ServiceEntry, cluster: ClusterName, next: Ejection, now: number): void {
    const target = entry.target(cluster);
    const before = target.ejection;
    target.ejection = next;
    if (before.kind === next.kind) return;
    this.#changed(entry, { cluster, endpoint: undefined, next, now });
  }

  #changed(
    entry: ServiceEntry,
    change: { cluster: ClusterName; endpoint: string | undefined; next: Ejection; now: number },
  ): void {
    const { cluster, endpoint, next, now } = change;
    const reason = next.kind === 'out' ? next.reason : undefined;
    this.#options.onChange({ service: entry.route.key, cluster, endpoint, up: next.kind === 'in', reason });
    this.#refresh(entry, now);
  }

  #refresh(entry: ServiceEntry, now: number): void {
    const facts = factsOf(entry.route, {
      self: this.#options.self,
      endpointUp: (endpoint) => entry.endpointUp(endpoint),
      reach: this.#options.reach,
      ejected: (cluster) => entry.targets.get(cluster)?.ejection.kind === 'out',
    });
    const due = entry.result.changesAt !== undefined && entry.result.changesAt <= now;
    if (!entry.stale && !due && sameFacts(facts, entry.facts)) return;
    entry.stale = false;
    entry.facts = facts;
    entry.result = this.#options.step(entry.route, facts, entry.result.state, now);
  }
}

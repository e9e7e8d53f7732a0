import type { Clock } from '../../model/ports/clock.ts';
import type { DemoCluster } from './cluster.ts';
import type { DemoFederation } from './federation.ts';
import type { ClusterRow, LinkRow, Screen, TrafficRow } from './screen.ts';
import type { Traffic } from './traffic.ts';

export interface ShowOptions {
  readonly federation: DemoFederation;
  readonly traffic: readonly Traffic[];
  readonly hubName: string;
  readonly clock: Clock;
}

/** Collects the figures of the display, once per tick. */
export class Show {
  readonly #options: ShowOptions;
  readonly #startedAt: number;
  readonly #events: string[] = [];
  #last: { readonly at: number; readonly sent: Map<Traffic, number> };

  constructor(options: ShowOptions) {
    this.#options = options;
    this.#startedAt = options.clock.monotonic();
    this.#last = { at: this.#startedAt, sent: new Map() };
  }

  get elapsedMs(): number {
    return this.#options.clock.monotonic() - this.#startedAt;
  }

  /** Something a person did; the last few stay on the screen. */
  note(event: string): void {
    const seconds = Math.floor(this.elapsedMs / 1000);
    const time = `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`;
    this.#events.push(`${time}  ${event}`);
    if (this.#events.length > 3) this.#events.shift();
  }

  tick(): Screen {
    const { federation, traffic, hubName, clock } = this.#options;
    const now = clock.monotonic();
    const seconds = Math.max(0.001, (now - this.#last.at) / 1000);
    const rows = traffic.map((each) => this.#trafficRow(each, seconds));
    this.#last = { at: now, sent: new Map(traffic.map((each) => [each, each.counts.sent])) };
    const clusters = [...federation.clusters.values()];
    return {
      elapsedMs: this.elapsedMs,
      hub: hubName,
      clusters: clusters.map(clusterRow),
      traffic: rows,
      links: clusters.flatMap(linkRows),
      events: this.#events,
    };
  }

  #trafficRow(traffic: Traffic, seconds: number): TrafficRow {
    const { from, service, port } = traffic.options;
    const { sent, failed, interrupted } = traffic.counts;
    const served = [...traffic.takeServed()].sort(([a], [b]) => (a < b ? -1 : 1));
    const total = served.reduce((sum, [, count]) => sum + count, 0);
    const row: TrafficRow = {
      from,
      service,
      port,
      served: served.map(([cluster, count]) => ({ cluster, share: count / total })),
      requestsPerSecond: (sent - (this.#last.sent.get(traffic) ?? 0)) / seconds,
      requests: sent,
      failed,
      interrupted,
      p50Ms: traffic.latencies.quantile(0.5),
      p99Ms: traffic.latencies.quantile(0.99),
    };
    traffic.latencies.decay();
    return row;
  }
}

function clusterRow(cluster: DemoCluster): ClusterRow {
  const services = [...cluster.parts.source.current.services.values()]
    .map(({ key, endpoints }) => ({
      service: key,
      ready: endpoints.filter((endpoint) => endpoint.ready).length,
      total: endpoints.length,
    }))
    .sort((a, b) => (a.service < b.service ? -1 : 1));
  const down = services.filter(({ ready, total }) => total > 0 && ready === 0);
  const waiting = cluster.gateway.gateway.waitingFor();
  const problem = waiting
    ? `gateway waits for ${waiting}`
    : down.length > 0
      ? 'instances down: other clusters serve'
      : undefined;
  return { name: cluster.name, problem, services };
}

function linkRows(cluster: DemoCluster): LinkRow[] {
  return cluster.gateway.gateway
    .report()
    .links.map((link) => ({ from: cluster.name, to: link.cluster, up: link.up, rttMs: link.rttP50Ms }));
}

import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { GatewayTarget, RouteTable } from '../../model/route.ts';
import type { LinkReport } from '../../wire/gateway-report.ts';
import { leastRequest } from '../balance/choice/least-request.ts';
import type { Choosable } from '../balance/choice/strategy.ts';
import { servingClusters } from '../routes/serving.ts';
import type { GatewayLimits } from '../limits.ts';
import type { Refusals } from '../metrics/refusals.ts';
import type { Credentials } from './credentials.ts';
import type { Reach } from '../tunnel/link-facts.ts';
import { addressOf, Link } from './link.ts';
import type { RefusalLog } from './refusal-log.ts';

export interface PoolOptions {
  readonly self: ClusterName;
  readonly credentials: Credentials;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly refusals: Refusals;
  /** Where faults of gateways are told. */
  readonly faults: RefusalLog;
  /** A link came up or went down, or the set of links changed. */
  readonly onChange: () => void;
}

export interface LinkChoice {
  /** At most so many are wanted. */
  readonly limit: number;
  /** What a gateway says it carries; what it carries for others counts too. */
  readonly loadOf?: (instance: ReplicaName) => number | undefined;
}

interface ChoosableLink extends Choosable {
  readonly link: Link;
}

/** Links to the gateways of all clusters that serve something routed here, each with at least one warm session. */
export class SessionPool {
  readonly #options: PoolOptions;
  readonly #clusters = new Map<ClusterName, Map<string, Link>>();
  /** Closed links whose last streams still run. */
  readonly #parting = new Set<Link>();
  #overLimit = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  setTable(table: RouteTable): void {
    let room = this.#options.limits.warmGateways;
    let overLimit = 0;
    const serving = servingClusters(table);
    for (const cluster of this.#clusters.keys()) {
      if (!table.clusters.has(cluster) || !serving.has(cluster)) this.#keep(cluster, []);
    }
    for (const { name, gateways } of table.clusters.values()) {
      if (!serving.has(name)) continue;
      const kept = gateways.slice(0, room);
      room -= kept.length;
      overLimit += gateways.length - kept.length;
      this.#keep(name, kept);
    }
    for (let more = this.#overLimit; more < overLimit; more += 1) this.#options.refusals.count('limit-warmGateways');
    if (overLimit > this.#overLimit) {
      this.#options.log.warn({ overLimit }, `gateways beyond limit 'warmGateways' are not used`);
    }
    this.#overLimit = overLimit;
    this.#options.onChange();
  }

  reach(cluster: ClusterName): Reach {
    const links = this.#clusters.get(cluster);
    if (!links || links.size === 0) return 'down';
    let unknown = false;
    for (const link of links.values()) {
      if (link.reach === 'up') return 'up';
      if (link.reach === 'unknown') unknown = true;
    }
    return unknown ? 'unknown' : 'down';
  }

  /** Links of a cluster in the order to be tried: those that may work first. */
  links(cluster: ClusterName, { limit, loadOf }: LinkChoice): Link[] {
    const { clock } = this.#options;
    const all = [...(this.#clusters.get(cluster)?.values() ?? [])];
    const order = leastRequest.order<ChoosableLink>({
      items: all.map((link) => ({
        link,
        id: link.id,
        latency: link.latency,
        since: link.since,
        active: Math.max(link.active, loadOf?.(link.target.instance) ?? 0),
      })),
      usable: ({ link }) => link.reach !== 'down',
      limit,
      now: clock.monotonic(),
      random: () => clock.random(),
      source: undefined,
      slowStartMs: 0,
    });
    const lost = all.filter((link) => link.reach === 'down');
    return [...order.map(({ link }) => link), ...lost].slice(0, limit);
  }

  renew(): void {
    for (const link of this.#all()) link.renew();
  }

  /** Tries all links that have no session at once. */
  kick(): void {
    for (const link of this.#all()) link.kick();
  }

  /** Time has passed: looks again at peers whose certificate has run out. `now`: wall clock in ms. */
  recheckExpired(now: number): void {
    for (const link of [...this.#all(), ...this.#parting]) link.recheck(now);
  }

  /** Trust has changed: sessions whose peer is no longer accepted end. */
  recheck(): void {
    for (const link of [...this.#all(), ...this.#parting]) link.recheck();
  }

  /** The most that one gateway of another cluster has of what is limited for each, and their number. */
  get use(): {
    readonly gateways: number;
    readonly sessions: number;
    readonly streams: number;
    readonly waiters: number;
  } {
    const most = { gateways: 0, sessions: 0, streams: 0, waiters: 0 };
    for (const { use } of this.#all()) {
      most.gateways += 1;
      most.sessions = Math.max(most.sessions, use.sessions);
      most.streams = Math.max(most.streams, use.streams);
      most.waiters = Math.max(most.waiters, use.waiters);
    }
    return most;
  }

  report(): LinkReport[] {
    return [...this.#all()].map((link) => link.report());
  }

  /** Ends sessions as their last streams end. */
  close(): void {
    for (const cluster of this.#clusters.keys()) this.#keep(cluster, []);
  }

  destroy(): void {
    this.close();
    for (const link of this.#parting) link.destroy();
    this.#parting.clear();
  }

  *#all(): Generator<Link> {
    for (const links of this.#clusters.values()) yield* links.values();
  }

  #keep(cluster: ClusterName, targets: readonly GatewayTarget[]): void {
    const before = this.#clusters.get(cluster) ?? new Map<string, Link>();
    const after = new Map<string, Link>();
    for (const target of targets) {
      const key = `${target.instance} ${addressOf(target)}`;
      after.set(key, before.get(key) ?? new Link({ ...this.#options, cluster, target }));
    }
    for (const [key, link] of before) {
      if (after.has(key)) continue;
      link.close();
      if (link.sessions > 0) this.#parting.add(link);
    }
    for (const link of this.#parting) if (link.sessions === 0) this.#parting.delete(link);
    if (after.size > 0) this.#clusters.set(cluster, after);
    else this.#clusters.delete(cluster);
  }
}

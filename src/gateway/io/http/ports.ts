import type { ServiceBook } from '../../balance/service-book.ts';
import type { ServiceEntry } from '../../balance/service-entry.ts';
import { IdlePool } from '../../http/idle-pool.ts';
import { RetryBudget } from '../../http/retry.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { ServiceKey } from '../../../model/names.ts';
import { defaultHttp, type HttpPlan } from '../../../model/traffic.ts';
import type { Place } from '../dial.ts';
import { Link } from '../link.ts';
import type { H1Upstream } from './h1-upstream.ts';

/** Callers, or hash buckets of callers, whose tunnels are kept apart. */
const maxKeys = 1024;

/** What the requests to one service port share. */
export class HttpPort {
  readonly entry: ServiceEntry;
  readonly port: number;
  readonly budget: RetryBudget = new RetryBudget();
  readonly #limits: GatewayLimits;
  readonly #idle = new Map<string, IdlePool<Place, H1Upstream>>();

  constructor(entry: ServiceEntry, port: number, limits: GatewayLimits) {
    this.entry = entry;
    this.port = port;
    this.#limits = limits;
  }

  /**
   * HTTP/1.1 connections that wait for their next request. A tunnel is opened in the name of one caller and may end at
   * an endpoint chosen for it: `key` says for whom, and only requests with the same key share one. Connections to
   * endpoints here are everybody's.
   */
  idleAt(place: Place, caller: string): IdlePool<Place, H1Upstream> {
    const key = place instanceof Link ? caller : '';
    let pool = this.#idle.get(key);
    if (!pool) {
      const { httpUpstreams, httpUpstreamsPerPlace } = this.#limits;
      // Beyond so many keys nothing is kept, and nothing is lost either: a connection each.
      const total = this.#idle.size >= maxKeys ? 0 : httpUpstreams;
      pool = new IdlePool({ total, perPlace: httpUpstreamsPerPlace });
      if (total > 0) this.#idle.set(key, pool);
    }
    return pool;
  }

  /** Bytes and connections are bounded by pool; call each second. `gone`: nothing here is of use any more. */
  sweep(now: number, gone: boolean): void {
    for (const [key, pool] of this.#idle) {
      pool.sweep(now, (place) => !gone && this.serves(place));
      if (pool.size === 0) this.#idle.delete(key);
    }
  }

  close(): void {
    for (const pool of this.#idle.values()) pool.clear();
  }

  get plan(): HttpPlan {
    return this.entry.route.http ?? defaultHttp;
  }

  /** Whether a place still serves: what has left the table, or was taken out by an operator, is no place. */
  serves(place: Place): boolean {
    const { entry } = this;
    if (!(place instanceof Link)) {
      return entry.endpoints.get(place.id) === place && place.endpoint.ready && place.endpoint.ports.has(this.port);
    }
    const { cluster } = place;
    return !entry.result.barred.has(cluster) && entry.route.targets.some((target) => target.cluster === cluster);
  }
}

/** The service ports that requests were sent to. */
export class HttpPorts {
  readonly #book: ServiceBook;
  readonly #limits: GatewayLimits;
  readonly #ports = new Map<ServiceEntry, Map<number, HttpPort>>();

  constructor(book: ServiceBook, limits: GatewayLimits) {
    this.#book = book;
    this.#limits = limits;
  }

  /** Undefined: the service is not in the table any more. */
  get(service: ServiceKey, port: number): HttpPort | undefined {
    const entry = this.#book.get(service);
    if (!entry) return undefined;
    let ports = this.#ports.get(entry);
    if (!ports) this.#ports.set(entry, (ports = new Map()));
    let found = ports.get(port);
    if (!found) ports.set(port, (found = new HttpPort(entry, port, this.#limits)));
    return found;
  }

  /** Call each second: closes connections that wait for nothing. `now`: monotonic ms. */
  sweep(now: number): void {
    for (const [entry, ports] of this.#ports) {
      const gone = this.#book.get(entry.route.key) !== entry;
      for (const one of ports.values()) one.sweep(now, gone);
      if (gone) this.#ports.delete(entry);
    }
  }

  close(): void {
    for (const ports of this.#ports.values()) for (const one of ports.values()) one.close();
    this.#ports.clear();
  }
}

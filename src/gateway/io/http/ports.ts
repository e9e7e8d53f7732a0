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

/** What the requests to one service port share. */
export class HttpPort {
  readonly entry: ServiceEntry;
  readonly port: number;
  readonly budget: RetryBudget = new RetryBudget();
  /** HTTP/1.1 connections that wait for their next request. */
  readonly idle: IdlePool<Place, H1Upstream>;

  constructor(entry: ServiceEntry, port: number, limits: GatewayLimits) {
    this.entry = entry;
    this.port = port;
    this.idle = new IdlePool({ total: limits.httpUpstreams, perPlace: limits.httpUpstreamsPerPlace });
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
      for (const one of ports.values()) one.idle.sweep(now, (place) => !gone && one.serves(place));
      if (gone) this.#ports.delete(entry);
    }
  }

  close(): void {
    for (const ports of this.#ports.values()) for (const { idle } of ports.values()) idle.clear();
    this.#ports.clear();
  }
}

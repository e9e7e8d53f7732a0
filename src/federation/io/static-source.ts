import { IsthmusError } from '../../model/error.ts';
import type { ServiceKey } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { LocalService, LocalServices, ServiceSource } from '../../model/ports/service-source.ts';
import type { LocalEndpoint } from '../../model/route.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { localServiceOf, type StaticService } from '../export/static-services.ts';
import { type CheckResult, checkEndpoint, type HttpCheck } from './endpoint-check.ts';
import { SyncQueue } from './sync-queue.ts';

/** How endpoints are checked: by opening a TCP connection, or over HTTP. */
export interface HealthCheck {
  /** From the end of one check to the next, within a tenth. Default 1000. */
  readonly intervalMs: number;
  /** Default 500. */
  readonly timeoutMs: number;
  /** Failed checks in a row until an endpoint that was up is down. Default 2. */
  readonly failures: number;
  /** Good checks in a row until an endpoint that was down is up. Default 1. */
  readonly successes: number;
  /** The service port whose instance port is checked. Default: the first one. */
  readonly port?: number;
  /** Absent or false = TCP. */
  readonly http?: HttpCheck | false;
}

/** A listed service, and how its endpoints are checked where that differs. */
export interface CheckedService extends StaticService {
  readonly healthCheck?: Partial<HealthCheck>;
}

export interface StaticList {
  readonly services: readonly CheckedService[];
  /** For services that say nothing else. */
  readonly healthCheck?: Partial<HealthCheck>;
}

export interface StaticSourceOptions extends StaticList {
  readonly clock: Clock;
  readonly log: Log;
}

export interface StaticSource extends ServiceSource {
  /** Replaces the list; what stays keeps its health. @throws IsthmusError `invalid`, and nothing changes */
  update(list: StaticList): void;
  close(): Promise<void>;
}

const defaults: HealthCheck = { intervalMs: 1000, timeoutMs: 500, failures: 2, successes: 1 };
/** Checks under way at once. */
const parallelChecks = 64;

/**
 * Services from a list, for machines without Kubernetes. `synced` turns true when every endpoint was checked once.
 * @throws IsthmusError `invalid` for a service that cannot be
 */
export function createStaticSource(options: StaticSourceOptions): StaticSource {
  return new CheckedServices(options);
}

/** One endpoint and what its checks found. */
interface Checked {
  readonly service: ServiceKey;
  readonly endpoint: LocalEndpoint;
  check: HealthCheck;
  /** Undefined before the first check. */
  up: boolean | undefined;
  /** Checks in a row that say otherwise than `up`. */
  against: number;
  timer: Timer | undefined;
  /** The list does not have it any more. */
  gone: boolean;
}

class CheckedServices implements StaticSource {
  readonly #value: Watchable<LocalServices>;
  readonly #options: StaticSourceOptions;
  readonly #queue: SyncQueue<Checked>;
  #services: ReadonlyMap<ServiceKey, LocalService> = new Map();
  /** By service, id and address: what makes an endpoint the same one as before. */
  #endpoints = new Map<string, Checked>();
  /** Endpoints never checked. */
  #unknown = 0;
  #closed = false;

  constructor(options: StaticSourceOptions) {
    this.#options = options;
    this.#value = new Watchable<LocalServices>({ synced: false, services: noServices });
    this.#queue = new SyncQueue((checked) => this.#run(checked), parallelChecks);
    this.update(options);
  }

  get current(): LocalServices {
    return this.#value.current;
  }

  subscribe(listener: (value: LocalServices) => void): () => void {
    return this.#value.subscribe(listener);
  }

  update({ services, healthCheck }: StaticList): void {
    const parsed = new Map<ServiceKey, LocalService>();
    const checks = new Map<ServiceKey, HealthCheck>();
    for (const service of services) {
      const local = localServiceOf(service);
      if (parsed.has(local.key)) throw new IsthmusError('invalid', `Service ${local.key} must be listed once only`);
      parsed.set(local.key, local);
      checks.set(local.key, { ...defaults, ...healthCheck, ...service.healthCheck });
    }
    const before = this.#endpoints;
    this.#endpoints = new Map();
    this.#services = parsed;
    for (const { key, endpoints } of parsed.values()) {
      for (const endpoint of endpoints) this.#take(key, endpoint, { before, check: checks.get(key) ?? defaults });
    }
    for (const gone of before.values()) this.#drop(gone);
    this.#show([...parsed.keys(), ...this.#value.current.services.keys()]);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#endpoints.values()) timer?.cancel();
    await this.#queue.close();
  }

  #take(
    service: ServiceKey,
    endpoint: LocalEndpoint,
    { before, check }: { readonly before: Map<string, Checked>; readonly check: HealthCheck },
  ): void {
    const key = identityOf(service, endpoint);
    const known = before.get(key);
    before.delete(key);
    const checked = known ?? { service, endpoint, check, up: undefined, against: 0, timer: undefined, gone: false };
    this.#endpoints.set(key, checked);
    if (known && JSON.stringify(known.check) === JSON.stringify(check)) return;
    checked.check = check;
    checked.timer?.cancel();
    if (!known) this.#unknown += 1;
    this.#queue.add(checked);
  }

  #drop(gone: Checked): void {
    gone.gone = true;
    gone.timer?.cancel();
    if (gone.up === undefined) this.#unknown -= 1;
  }

  async #run(checked: Checked): Promise<void> {
    const { endpoint, check } = checked;
    const [first] = endpoint.ports.values();
    const port = check.port === undefined ? first : endpoint.ports.get(check.port);
    const result: CheckResult =
      port === undefined
        ? { up: false, reason: `the service has no port ${check.port}` }
        : await checkEndpoint({ address: endpoint.address, port }, check);
    if (this.#closed || checked.gone) return;
    this.#judge(checked, result);
    const { clock } = this.#options;
    const delayMs = checked.check.intervalMs * (0.9 + 0.2 * clock.random());
    checked.timer?.cancel();
    checked.timer = clock.schedule(delayMs, () => this.#queue.add(checked));
  }

  /** The first check decides; later ones have to say it several times. */
  #judge(checked: Checked, result: CheckResult): void {
    const { service, endpoint, check, up } = checked;
    checked.against = result.up === up ? 0 : checked.against + 1;
    if (up !== undefined && checked.against < (up ? check.failures : check.successes)) return;
    if (result.up === up) return;
    if (up === undefined) this.#unknown -= 1;
    checked.up = result.up;
    checked.against = 0;
    const reason = result.up ? {} : { reason: result.reason };
    this.#options.log.info(
      { service, endpoint: endpoint.id, address: endpoint.address, up: result.up, ...reason },
      'endpoint checked',
    );
    this.#show([service]);
  }

  /** Looks at these services again. Those that are as before stay the same objects. */
  #show(keys: Iterable<ServiceKey>): void {
    const before = this.#value.current;
    const known = SortedMap.from(before.services);
    const changes = new Map<ServiceKey, LocalService | undefined>();
    for (const key of keys) {
      const listed = this.#services.get(key);
      const shown = listed && { ...listed, endpoints: listed.endpoints.map((each) => this.#withHealth(key, each)) };
      const old = known.get(key);
      changes.set(key, shown && old && textOf(old) === textOf(shown) ? old : shown);
    }
    const services = known.with(changes);
    const synced = before.synced || this.#unknown === 0;
    if (services !== before.services || synced !== before.synced) this.#value.set({ synced, services });
  }

  #withHealth(key: ServiceKey, endpoint: LocalEndpoint): LocalEndpoint {
    const ready = this.#endpoints.get(identityOf(key, endpoint))?.up === true;
    return ready === endpoint.ready ? endpoint : { ...endpoint, ready };
  }
}

const noServices: SortedMap<ServiceKey, LocalService> = SortedMap.from<ServiceKey, LocalService>([]);

/** For comparing: its maps are of numbers, in the order of the list. */
function textOf(service: LocalService): string {
  return JSON.stringify({
    ...service,
    endpoints: service.endpoints.map((endpoint) => ({ ...endpoint, ports: [...endpoint.ports] })),
  });
}

function identityOf(service: ServiceKey, endpoint: LocalEndpoint): string {
  return JSON.stringify([service, endpoint.id, endpoint.address, [...endpoint.ports]]);
}

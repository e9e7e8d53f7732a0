import { IsthmusError } from '../../model/error.ts';
import { isPort, parseServiceKey, type ServiceKey } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { LocalService, LocalServices, ServiceSource } from '../../model/ports/service-source.ts';
import type { ServicePort } from '../../model/record.ts';
import type { LocalEndpoint } from '../../model/route.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { canConnect } from './endpoint-check.ts';
import { SyncQueue } from './sync-queue.ts';

/** One instance of a service: `port` serves all its ports, `ports` says which for which; else the port is the same. */
export interface StaticEndpoint {
  readonly id?: string;
  /** IP address or host name. */
  readonly address: string;
  readonly port?: number;
  /** Service port → port of the instance. */
  readonly ports?: Readonly<Record<number, number>>;
}

/** A service as a configuration file lists it. */
export interface StaticService {
  /** `<namespace>/<name>`. */
  readonly service: string;
  readonly ports: readonly { readonly port: number; readonly name?: string; readonly appProtocol?: string }[];
  readonly exported: boolean;
  readonly allow: LocalService['allow'];
  readonly endpoints: readonly StaticEndpoint[];
  readonly capacity?: LocalService['capacity'];
  readonly labels?: Readonly<Record<string, string>>;
}

/** How endpoints are checked: by opening a TCP connection to their first port. */
export interface StaticHealthCheck {
  /** Default 1000. */
  readonly intervalMs: number;
  /** Default 500. */
  readonly timeoutMs: number;
}

export interface StaticSourceOptions {
  readonly services: readonly StaticService[];
  readonly healthCheck?: Partial<StaticHealthCheck>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StaticSource extends ServiceSource {
  /** Replaces the list; what stays keeps its health. @throws IsthmusError `invalid`, and nothing changes */
  update(services: readonly StaticService[]): void;
  close(): Promise<void>;
}

/** Checks under way at once. */
const parallelChecks = 64;
/** Failed checks in a row until an endpoint is down; one good check brings it back. */
const failuresUntilDown = 2;

/**
 * Services from a list, for machines without Kubernetes. `synced` turns true when every endpoint was checked once.
 * @throws IsthmusError `invalid` for a service that cannot be
 */
export function createStaticSource(options: StaticSourceOptions): StaticSource {
  return new CheckedServices(options);
}

interface Checked {
  readonly endpoint: LocalEndpoint;
  /** Undefined before the first check. */
  up: boolean | undefined;
  failures: number;
  timer: Timer | undefined;
}

class CheckedServices implements StaticSource {
  readonly #value = new Watchable<LocalServices>({ synced: false, services: new Map() });
  readonly #check: StaticHealthCheck;
  readonly #options: StaticSourceOptions;
  readonly #queue: SyncQueue<Checked>;
  #services: ReadonlyMap<ServiceKey, LocalService> = new Map();
  /** By service, id and address: what makes an endpoint the same one as before. */
  #endpoints = new Map<string, Checked>();
  #closed = false;

  constructor(options: StaticSourceOptions) {
    this.#options = options;
    this.#check = { intervalMs: 1000, timeoutMs: 500, ...options.healthCheck };
    this.#queue = new SyncQueue((checked) => this.#run(checked), parallelChecks);
    this.update(options.services);
  }

  get current(): LocalServices {
    return this.#value.current;
  }

  subscribe(listener: (value: LocalServices) => void): () => void {
    return this.#value.subscribe(listener);
  }

  update(services: readonly StaticService[]): void {
    const parsed = new Map<ServiceKey, LocalService>();
    for (const service of services) {
      const local = parseService(service);
      if (parsed.has(local.key)) throw new IsthmusError('invalid', `Service ${local.key} must be listed once only`);
      parsed.set(local.key, local);
    }
    const before = this.#endpoints;
    this.#endpoints = new Map();
    this.#services = parsed;
    for (const service of parsed.values()) {
      for (const endpoint of service.endpoints) {
        const key = identityOf(service.key, endpoint);
        const known = before.get(key);
        before.delete(key);
        const checked = known ?? { endpoint, up: undefined, failures: 0, timer: undefined };
        this.#endpoints.set(key, checked);
        if (!known) this.#queue.add(checked);
      }
    }
    for (const gone of before.values()) gone.timer?.cancel();
    this.#show();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#endpoints.values()) timer?.cancel();
    await this.#queue.close();
  }

  async #run(checked: Checked): Promise<void> {
    const { endpoint } = checked;
    const [port] = endpoint.ports.values();
    const reached =
      port !== undefined && (await canConnect({ address: endpoint.address, port }, this.#check.timeoutMs));
    if (this.#closed || ![...this.#endpoints.values()].includes(checked)) return;
    checked.failures = reached ? 0 : checked.failures + 1;
    const up = reached || (checked.up === true && checked.failures < failuresUntilDown);
    if (checked.up !== up) {
      const { log } = this.#options;
      log.info({ endpoint: endpoint.id, address: endpoint.address, up }, 'endpoint checked');
      checked.up = up;
      this.#show();
    }
    const { clock } = this.#options;
    const delayMs = this.#check.intervalMs * (0.9 + 0.2 * clock.random());
    checked.timer = clock.schedule(delayMs, () => this.#queue.add(checked));
  }

  /** Services whose endpoints are as before stay the same objects. */
  #show(): void {
    const before = this.#value.current;
    const synced = before.synced || [...this.#endpoints.values()].every((checked) => checked.up !== undefined);
    const services = new Map<ServiceKey, LocalService>();
    for (const service of this.#services.values()) {
      const endpoints = service.endpoints.map((endpoint) => this.#withHealth(service.key, endpoint));
      const shown = { ...service, endpoints };
      const known = before.services.get(service.key);
      services.set(
        service.key,
        known && JSON.stringify(comparable(known)) === JSON.stringify(comparable(shown)) ? known : shown,
      );
    }
    const same =
      before.synced === synced &&
      before.services.size === services.size &&
      [...services].every(([key, service]) => before.services.get(key) === service);
    if (!same) this.#value.set({ synced, services });
  }

  #withHealth(key: ServiceKey, endpoint: LocalEndpoint): LocalEndpoint {
    const ready = this.#endpoints.get(identityOf(key, endpoint))?.up === true;
    return ready === endpoint.ready ? endpoint : { ...endpoint, ready };
  }
}

function comparable(service: LocalService): object {
  return { ...service, endpoints: service.endpoints.map((endpoint) => ({ ...endpoint, ports: [...endpoint.ports] })) };
}

function identityOf(service: ServiceKey, endpoint: LocalEndpoint): string {
  return JSON.stringify([service, endpoint.id, endpoint.address, [...endpoint.ports]]);
}

function parseService(spec: StaticService): LocalService {
  const key = parseServiceKey(spec.service);
  const { exported, allow, capacity, labels } = spec;
  const ports = spec.ports.map((port): ServicePort => {
    requirePort(`A port of service ${key}`, port.port);
    const { name, appProtocol } = port;
    return {
      port: port.port,
      protocol: 'TCP',
      ...(name !== undefined && { name }),
      ...(appProtocol !== undefined && { appProtocol }),
    };
  });
  if (ports.length === 0) throw new IsthmusError('invalid', `Service ${key} must have at least one port`);
  const endpoints = spec.endpoints.map((endpoint) => parseEndpoint(key, ports, endpoint));
  if (new Set(endpoints.map((endpoint) => endpoint.id)).size !== endpoints.length) {
    throw new IsthmusError('invalid', `The endpoints of service ${key} must have different ids`);
  }
  return { key, ports, exported, allow, endpoints, ...(capacity && { capacity }), ...(labels && { labels }) };
}

function parseEndpoint(key: ServiceKey, ports: readonly ServicePort[], spec: StaticEndpoint): LocalEndpoint {
  const mapped = ports.map(({ port }) => {
    const target = spec.ports?.[port] ?? spec.port ?? port;
    requirePort(`The port of endpoint ${spec.address} of service ${key}`, target);
    return [port, target] as const;
  });
  const first = mapped[0]?.[1];
  return { id: spec.id ?? `${spec.address}:${first}`, address: spec.address, ports: new Map(mapped), ready: false };
}

function requirePort(what: string, port: number): void {
  if (isPort(port)) return;
  throw new IsthmusError('invalid', `${what} must be 1 to 65535: current value is ${String(port)}`);
}

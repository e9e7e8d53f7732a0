import { IsthmusError } from '../../model/error.ts';
import { type ClusterName, parseClusterName, parseServiceKey, type ServiceKey } from '../../model/names.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../../model/route.ts';
import { decodeClusterRoute, decodeServiceRoute, TableDigest } from '../../wire/route-table.ts';

/** One update as the agent sends it (agent.proto, `Update`). */
export interface TableUpdate {
  readonly full: boolean;
  /** Digest of the table it applies to; ignored when `full`. */
  readonly base: string;
  /** Digest of the table afterwards. */
  readonly digest: string;
  readonly services: readonly Uint8Array[];
  readonly removedServices: readonly string[];
  readonly clusters: readonly Uint8Array[];
  readonly removedClusters: readonly string[];
}

interface Held<Route> {
  readonly bytes: Uint8Array;
  readonly route: Route;
}

/** More than this many services or clusters are refused, whoever sends them. */
const maxParts = 100_000;

/** The table of one gateway, with the bytes it was made from. Immutable: an update gives another one or throws. */
export class HeldTable {
  readonly digest: string;
  readonly table: RouteTable;
  readonly #services: ReadonlyMap<ServiceKey, Held<ServiceRoute>>;
  readonly #clusters: ReadonlyMap<ClusterName, Held<ClusterRoute>>;

  private constructor(
    self: ClusterName,
    services: ReadonlyMap<ServiceKey, Held<ServiceRoute>>,
    clusters: ReadonlyMap<ClusterName, Held<ClusterRoute>>,
  ) {
    this.#services = services;
    this.#clusters = clusters;
    const digest = new TableDigest();
    for (const [key, { bytes }] of services) digest.setService(key, bytes);
    for (const [name, { bytes }] of clusters) digest.setCluster(name, bytes);
    this.digest = digest.whole;
    this.table = {
      self,
      services: new Map([...services].map(([key, { route }]) => [key, route])),
      clusters: new Map([...clusters].map(([name, { route }]) => [name, route])),
    };
  }

  static empty(self: ClusterName): HeldTable {
    return new HeldTable(self, new Map(), new Map());
  }

  /**
   * The table after `update`; parts whose bytes are the same stay the same objects.
   * @throws IsthmusError `conflict` when it applies to another table, `corrupt` when it does not decode or its digest
   * is not the announced one
   */
  apply(update: TableUpdate): HeldTable {
    if (!update.full && update.base !== this.digest) {
      throw new IsthmusError('conflict', `The update applies to table ${update.base}, this is ${this.digest}`);
    }
    const services = new Map(update.full ? [] : this.#services);
    const clusters = new Map(update.full ? [] : this.#clusters);
    for (const key of update.removedServices) services.delete(parsed(key, parseServiceKey));
    for (const name of update.removedClusters) clusters.delete(parsed(name, parseClusterName));
    for (const bytes of update.services) {
      const route = decodeServiceRoute(bytes);
      services.set(route.key, kept(this.#services.get(route.key), { bytes, route }));
    }
    for (const bytes of update.clusters) {
      const route = decodeClusterRoute(bytes);
      clusters.set(route.name, kept(this.#clusters.get(route.name), { bytes, route }));
    }
    if (services.size + clusters.size > maxParts) {
      throw new IsthmusError('corrupt', `A table of ${services.size + clusters.size} parts is over ${maxParts}`);
    }
    const next = new HeldTable(this.table.self, services, clusters);
    if (next.digest !== update.digest) {
      throw new IsthmusError('corrupt', `The table after the update has digest ${next.digest}, not ${update.digest}`);
    }
    return next;
  }

  /** As a file: the parts as they came, and the digest that proves them whole. */
  encode(): string {
    const text = ({ bytes }: Held<unknown>): string => Buffer.from(bytes).toString('utf8');
    return JSON.stringify({
      v: 1,
      self: this.table.self,
      digest: this.digest,
      services: [...this.#services.values()].map(text),
      clusters: [...this.#clusters.values()].map(text),
    });
  }

  /** @throws IsthmusError `corrupt` when it is not whole, or of another cluster */
  static decode(self: ClusterName, bytes: Uint8Array): HeldTable {
    const file = parseFile(bytes);
    if (file.self !== self) throw new IsthmusError('corrupt', `The table belongs to '${file.self}', not '${self}'`);
    return HeldTable.empty(self).apply({
      full: true,
      base: '',
      digest: file.digest,
      services: file.services.map((text) => Buffer.from(text)),
      removedServices: [],
      clusters: file.clusters.map((text) => Buffer.from(text)),
      removedClusters: [],
    });
  }
}

function kept<Route>(before: Held<Route> | undefined, next: Held<Route>): Held<Route> {
  return before && Buffer.compare(before.bytes, next.bytes) === 0 ? before : next;
}

function parsed<T>(text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (cause) {
    throw new IsthmusError('corrupt', 'The update removes what cannot be a name', { cause });
  }
}

interface TableFile {
  readonly self: string;
  readonly digest: string;
  readonly services: readonly string[];
  readonly clusters: readonly string[];
}

function parseFile(bytes: Uint8Array): TableFile {
  let file: unknown;
  try {
    file = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new IsthmusError('corrupt', 'The stored table is not JSON', { cause });
  }
  if (isTableFile(file)) return file;
  throw new IsthmusError('corrupt', 'The stored table does not have the form of version 1');
}

function isTableFile(file: unknown): file is TableFile {
  if (typeof file !== 'object' || file === null) return false;
  const { v, self, digest, services, clusters } = file as Record<string, unknown>;
  const texts = (list: unknown): boolean => Array.isArray(list) && list.every((item) => typeof item === 'string');
  return v === 1 && typeof self === 'string' && typeof digest === 'string' && texts(services) && texts(clusters);
}

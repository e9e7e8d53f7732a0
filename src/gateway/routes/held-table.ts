import { IsthmusError } from '../../model/error.ts';
import { type ClusterName, parseClusterName, parseServiceKey, type ServiceKey } from '../../model/names.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../../model/route.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
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
const maxParts = 250_000;

/** The table of one gateway, with the bytes it was made from. Immutable: an update gives another one or throws. */
export class HeldTable {
  readonly digest: string;
  readonly table: RouteTable;
  readonly #parts: Parts;

  private constructor(table: RouteTable, parts: Parts) {
    this.table = table;
    this.#parts = parts;
    this.digest = parts.digest.whole;
  }

  static empty(self: ClusterName): HeldTable {
    const table = { self, services: SortedMap.from<ServiceKey, ServiceRoute>([]), clusters: noClusters };
    return new HeldTable(table, { services: noBytes, clusters: noBytes, digest: new TableDigest() });
  }

  /**
   * The table after `update`; parts whose bytes are the same stay the same objects. Costs what the update says.
   * @throws IsthmusError `conflict` when it applies to another table, `corrupt` when it does not decode or its digest
   * is not the announced one
   */
  apply(update: TableUpdate): HeldTable {
    if (!update.full && update.base !== this.digest) {
      throw new IsthmusError('conflict', `The update applies to table ${update.base}, this is ${this.digest}`);
    }
    const from = update.full ? HeldTable.empty(this.table.self) : this;
    const digest = from.#parts.digest.clone();
    const services = this.#changes(update.removedServices, update.services, {
      known: (key) => known(this.table.services, this.#parts.services, key),
      name: parseServiceKey,
      decode: decodeServiceRoute,
      nameOf: (route) => route.key,
      set: (key, bytes) => (bytes ? digest.setService(key, bytes) : digest.removeService(key)),
    });
    const clusters = this.#changes(update.removedClusters, update.clusters, {
      known: (name) => known(this.table.clusters, this.#parts.clusters, name),
      name: parseClusterName,
      decode: decodeClusterRoute,
      nameOf: (route) => route.name,
      set: (name, bytes) => (bytes ? digest.setCluster(name, bytes) : digest.removeCluster(name)),
    });
    const parts = {
      services: from.#parts.services.with(bytesOf(services)),
      clusters: from.#parts.clusters.with(bytesOf(clusters)),
      digest,
    };
    const size = parts.services.size + parts.clusters.size;
    if (size > maxParts) throw new IsthmusError('corrupt', `A table of ${size} parts is over ${maxParts}`);
    if (digest.whole !== update.digest) {
      throw new IsthmusError('corrupt', `The table after the update has digest ${digest.whole}, not ${update.digest}`);
    }
    const table = {
      self: this.table.self,
      services: SortedMap.from(from.table.services).with(routesOf(services)),
      clusters: SortedMap.from(from.table.clusters).with(routesOf(clusters)),
    };
    return new HeldTable(table, parts);
  }

  #changes<Name extends string, Route>(
    removed: readonly string[],
    given: readonly Uint8Array[],
    kind: Kind<Name, Route>,
  ): Changes<Name, Route> {
    const changes = new Map<Name, Held<Route> | undefined>();
    for (const text of removed) changes.set(parsed(text, kind.name), undefined);
    for (const bytes of given) {
      const route = kind.decode(bytes);
      const name = kind.nameOf(route);
      changes.set(name, kept(kind.known(name), { bytes, route }));
    }
    for (const [name, held] of changes) kind.set(name, held?.bytes);
    return changes;
  }

  /** As a file: the parts as they came, and the digest that proves them whole. */
  encode(): string {
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
    return JSON.stringify({
      v: 1,
      self: this.table.self,
      digest: this.digest,
      services: [...this.#parts.services.values()].map(text),
      clusters: [...this.#parts.clusters.values()].map(text),
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

type Bytes = SortedMap<string, Uint8Array>;

/** The bytes behind the routes, and what they add up to. */
interface Parts {
  readonly services: Bytes;
  readonly clusters: Bytes;
  readonly digest: TableDigest;
}

/** What differs between services and clusters of an update. */
interface Kind<Name extends string, Route> {
  readonly known: (name: Name) => Held<Route> | undefined;
  readonly name: (text: string) => Name;
  readonly decode: (bytes: Uint8Array) => Route;
  readonly nameOf: (route: Route) => Name;
  readonly set: (name: Name, bytes: Uint8Array | undefined) => void;
}

type Changes<Name extends string, Route> = ReadonlyMap<Name, Held<Route> | undefined>;

const noBytes: Bytes = SortedMap.from<string, Uint8Array>([]);
const noClusters: SortedMap<ClusterName, ClusterRoute> = SortedMap.from<ClusterName, ClusterRoute>([]);

function known<Name extends string, Route>(
  routes: ReadonlyMap<Name, Route>,
  parts: Bytes,
  name: Name,
): Held<Route> | undefined {
  const route = routes.get(name);
  const bytes = parts.get(name);
  return route && bytes && { bytes, route };
}

function* bytesOf(changes: Changes<string, unknown>): Generator<readonly [string, Uint8Array | undefined]> {
  for (const [name, held] of changes) yield [name, held?.bytes];
}

function* routesOf<Name extends string, Route>(
  changes: Changes<Name, Route>,
): Generator<readonly [Name, Route | undefined]> {
  for (const [name, held] of changes) yield [name, held?.route];
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

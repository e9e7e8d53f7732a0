import type { ClusterRoute, RouteTable, ServiceRoute } from '../model/route.ts';
import { SortedMap } from '../runtime/sorted-map.ts';
import { encodeClusterRoute, encodeServiceRoute, TableDigest } from '../wire/route-table.ts';

/**
 * A route table with the digest of what crosses to gateways. The encoded parts themselves are not kept: there are many of
 * them, and few change. Immutable.
 */
export interface EncodedTable {
  readonly table: RouteTable;
  /** Grows by one with each change. */
  readonly revision: number;
  readonly digest: string;
  /** From which the next table's digest starts; never written to once it is here. */
  readonly running: TableDigest;
}

/** The parts of agent.proto's `Update`, without its revision and digests. */
export interface TableChange {
  readonly services: readonly Uint8Array[];
  readonly removedServices: readonly string[];
  readonly clusters: readonly Uint8Array[];
  readonly removedClusters: readonly string[];
}

/** The digest of a table, from that of `previous` and what differs. The same result when nothing changed. */
export function encodeTable(table: RouteTable, previous: EncodedTable | undefined): EncodedTable {
  if (previous?.table === table) return previous;
  const running = previous?.running.clone() ?? new TableDigest();
  for (const { key, after } of servicesOf(table).differences(servicesOf(previous?.table))) {
    if (after) running.setService(key, encodeServiceRoute(after));
    else running.removeService(key);
  }
  for (const { key, after } of clustersOf(table).differences(clustersOf(previous?.table))) {
    if (after) running.setCluster(key, encodeClusterRoute(after));
    else running.removeCluster(key);
  }
  const digest = running.whole;
  const revision = (previous?.revision ?? 0) + (previous?.digest === digest ? 0 : 1);
  return { table, revision, digest, running };
}

/**
 * What leads from `from` to `to` in steps of about `maxBytes` each, at least one; everything when `from` is undefined.
 * Costs what differs, and encodes each step when it is asked for, so that a large table is never there as a whole.
 */
export function* stepsBetween(
  from: EncodedTable | undefined,
  to: EncodedTable,
  maxBytes: number,
): Generator<TableChange> {
  let step: Writable<TableChange> = blank();
  let room = maxBytes;
  const full = (size: number): boolean => {
    const begins = room < maxBytes && size > room;
    room = (begins ? maxBytes : room) - size;
    return begins;
  };
  for (const part of partsBetween(from, to)) {
    const size = part.bytes?.length ?? part.key.length;
    if (full(size)) {
      yield step;
      step = blank();
    }
    if (part.bytes) step[part.kind].push(part.bytes);
    else step[part.kind === 'services' ? 'removedServices' : 'removedClusters'].push(part.key);
  }
  yield step;
}

interface Part {
  readonly kind: 'services' | 'clusters';
  readonly key: string;
  /** Undefined: it goes. */
  readonly bytes: Uint8Array | undefined;
}

function* partsBetween(from: EncodedTable | undefined, to: EncodedTable): Generator<Part> {
  const before = from?.running ?? noDigest;
  for (const { key, after } of clustersOf(to.table).differences(clustersOf(from?.table))) {
    if (after && to.running.sameCluster(before, key)) continue;
    yield { kind: 'clusters', key, bytes: after && encodeClusterRoute(after) };
  }
  for (const { key, after } of servicesOf(to.table).differences(servicesOf(from?.table))) {
    if (after && to.running.sameService(before, key)) continue;
    yield { kind: 'services', key, bytes: after && encodeServiceRoute(after) };
  }
}

const noDigest = new TableDigest();

function servicesOf(table: RouteTable | undefined): SortedMap<string, ServiceRoute> {
  return SortedMap.from<string, ServiceRoute>(table?.services ?? []);
}

function clustersOf(table: RouteTable | undefined): SortedMap<string, ClusterRoute> {
  return SortedMap.from<string, ClusterRoute>(table?.clusters ?? []);
}

type Writable<Change> = {
  -readonly [Field in keyof Change]: Change[Field] extends readonly (infer Item)[] ? Item[] : never;
};

function blank(): Writable<TableChange> {
  return { services: [], removedServices: [], clusters: [], removedClusters: [] };
}

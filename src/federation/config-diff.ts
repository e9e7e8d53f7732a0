import type { RouteTable } from '../model/route.ts';
import { encodeClusterRoute, encodeServiceRoute, TableDigest } from '../wire/route-table.ts';

/** A route table as it crosses to gateways: each part encoded once, however many gateways there are. */
export interface EncodedTable {
  readonly table: RouteTable;
  /** Grows by one with each change. */
  readonly revision: number;
  readonly digest: string;
  readonly services: ReadonlyMap<string, Uint8Array>;
  readonly clusters: ReadonlyMap<string, Uint8Array>;
}

/** The parts of agent.proto's `Update`, without its revision and digests. */
export interface TableChange {
  readonly services: readonly Uint8Array[];
  readonly removedServices: readonly string[];
  readonly clusters: readonly Uint8Array[];
  readonly removedClusters: readonly string[];
}

/** Encodes a table, taking over what is the same object as in `previous`. The same result when nothing changed. */
export function encodeTable(table: RouteTable, previous: EncodedTable | undefined): EncodedTable {
  if (previous?.table === table) return previous;
  const services = encodeParts(
    table.services,
    previous && { from: previous.table.services, to: previous.services },
    encodeServiceRoute,
  );
  const clusters = encodeParts(
    table.clusters,
    previous && { from: previous.table.clusters, to: previous.clusters },
    encodeClusterRoute,
  );
  const digest = new TableDigest();
  for (const [key, bytes] of services) digest.setService(key, bytes);
  for (const [key, bytes] of clusters) digest.setCluster(key, bytes);
  const { whole } = digest;
  const revision = (previous?.revision ?? 0) + (previous?.digest === whole ? 0 : 1);
  return { table, revision, digest: whole, services, clusters };
}

/** What leads from `from` to `to`; everything when `from` is undefined. */
export function changeBetween(from: EncodedTable | undefined, to: EncodedTable): TableChange {
  const services = changedParts(from?.services, to.services);
  const clusters = changedParts(from?.clusters, to.clusters);
  return {
    services: services.set,
    removedServices: services.removed,
    clusters: clusters.set,
    removedClusters: clusters.removed,
  };
}

interface Known<T> {
  readonly from: ReadonlyMap<string, T>;
  readonly to: ReadonlyMap<string, Uint8Array>;
}

function encodeParts<T>(
  parts: ReadonlyMap<string, T>,
  known: Known<T> | undefined,
  encode: (part: T) => Uint8Array,
): ReadonlyMap<string, Uint8Array> {
  const encoded = new Map<string, Uint8Array>();
  for (const [key, part] of parts) {
    const before = known?.to.get(key);
    if (before && known?.from.get(key) === part) {
      encoded.set(key, before);
      continue;
    }
    const bytes = encode(part);
    encoded.set(key, before && Buffer.compare(before, bytes) === 0 ? before : bytes);
  }
  return encoded;
}

function changedParts(
  from: ReadonlyMap<string, Uint8Array> | undefined,
  to: ReadonlyMap<string, Uint8Array>,
): { readonly set: readonly Uint8Array[]; readonly removed: readonly string[] } {
  const set: Uint8Array[] = [];
  for (const [key, bytes] of to) if (from?.get(key) !== bytes) set.push(bytes);
  const removed = [...(from?.keys() ?? [])].filter((key) => !to.has(key));
  return { set, removed };
}

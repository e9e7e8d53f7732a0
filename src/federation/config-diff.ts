import type { RouteTable } from '../model/route.ts';
import { SortedMap } from '../runtime/sorted-map.ts';
import { encodeClusterRoute, encodeServiceRoute, TableDigest } from '../wire/route-table.ts';

type Parts = SortedMap<string, Uint8Array>;

/** A route table as it crosses to gateways: each part encoded once, however many gateways there are. Immutable. */
export interface EncodedTable {
  readonly table: RouteTable;
  /** Grows by one with each change. */
  readonly revision: number;
  readonly digest: string;
  readonly services: Parts;
  readonly clusters: Parts;
  /** From which the next table's digest starts. */
  readonly running: TableDigest;
}

/** The parts of agent.proto's `Update`, without its revision and digests. */
export interface TableChange {
  readonly services: readonly Uint8Array[];
  readonly removedServices: readonly string[];
  readonly clusters: readonly Uint8Array[];
  readonly removedClusters: readonly string[];
}

const noParts: Parts = SortedMap.from<string, Uint8Array>([]);

/**
 * Encodes what differs between a table and the one of `previous`; the rest is taken over. The same result when nothing
 * changed.
 */
export function encodeTable(table: RouteTable, previous: EncodedTable | undefined): EncodedTable {
  if (previous?.table === table) return previous;
  const running = previous?.running.clone() ?? new TableDigest();
  const services = encodeParts(table.services, previous && { from: previous.table.services, to: previous.services }, {
    encode: encodeServiceRoute,
    set: (key, bytes) => (bytes ? running.setService(key, bytes) : running.removeService(key)),
  });
  const clusters = encodeParts(table.clusters, previous && { from: previous.table.clusters, to: previous.clusters }, {
    encode: encodeClusterRoute,
    set: (name, bytes) => (bytes ? running.setCluster(name, bytes) : running.removeCluster(name)),
  });
  const digest = running.whole;
  const revision = (previous?.revision ?? 0) + (previous?.digest === digest ? 0 : 1);
  return { table, revision, digest, services, clusters, running };
}

/** What leads from `from` to `to`; everything when `from` is undefined. Costs what differs. */
export function changeBetween(from: EncodedTable | undefined, to: EncodedTable): TableChange {
  const services = changedParts(from?.services ?? noParts, to.services);
  const clusters = changedParts(from?.clusters ?? noParts, to.clusters);
  return {
    services: services.set,
    removedServices: services.removed,
    clusters: clusters.set,
    removedClusters: clusters.removed,
  };
}

/** A change in messages of about `maxBytes` each, at least one; together, in this order, they say the same. */
export function splitChange(change: TableChange, maxBytes: number): readonly TableChange[] {
  const parts: Writable<TableChange>[] = [];
  let room = 0;
  /** The part that takes another so many bytes. */
  const partFor = (size: number): Writable<TableChange> => {
    let last = parts.at(-1);
    if (!last || size > room) {
      last = { services: [], removedServices: [], clusters: [], removedClusters: [] };
      parts.push(last);
      room = maxBytes;
    }
    room -= size;
    return last;
  };
  for (const name of change.removedServices) partFor(name.length).removedServices.push(name);
  for (const name of change.removedClusters) partFor(name.length).removedClusters.push(name);
  for (const bytes of change.clusters) partFor(bytes.length).clusters.push(bytes);
  for (const bytes of change.services) partFor(bytes.length).services.push(bytes);
  return parts.length > 0 ? parts : [change];
}

type Writable<Change> = {
  -readonly [Field in keyof Change]: Change[Field] extends readonly (infer Item)[] ? Item[] : never;
};

interface Known<T> {
  readonly from: ReadonlyMap<string, T>;
  readonly to: Parts;
}

interface Encoding<T> {
  readonly encode: (part: T) => Uint8Array;
  /** Undefined bytes: the part went. */
  readonly set: (key: string, bytes: Uint8Array | undefined) => void;
}

function encodeParts<T>(
  parts: ReadonlyMap<string, T>,
  known: Known<T> | undefined,
  { encode, set }: Encoding<T>,
): Parts {
  const changes = new Map<string, Uint8Array | undefined>();
  for (const { key, after } of SortedMap.from(parts).differences(SortedMap.from<string, T>(known?.from ?? []))) {
    const bytes = after && encode(after);
    const before = known?.to.get(key);
    if (bytes && before && Buffer.compare(before, bytes) === 0) continue;
    changes.set(key, bytes);
    set(key, bytes);
  }
  return (known?.to ?? noParts).with(changes);
}

function changedParts(
  from: Parts,
  to: Parts,
): { readonly set: readonly Uint8Array[]; readonly removed: readonly string[] } {
  const set: Uint8Array[] = [];
  const removed: string[] = [];
  for (const { key, after } of to.differences(from)) {
    if (after) set.push(after);
    else removed.push(key);
  }
  return { set, removed };
}

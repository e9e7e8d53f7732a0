import type { PartitionView } from '../../../federation/partition-view.ts';
import type { ClusterName } from '../../../model/names.ts';
import type { AppliedRecord, ClusterRecord, DrainRecord, PolicyRecord, RecordKey } from '../../../model/record.ts';
import { SortedMap } from '../../../runtime/sorted-map.ts';

/** What one cluster's partition says of policies. The same object while that does not change. */
export interface PolicyRecords {
  readonly policies: readonly PolicyRecord[];
  readonly drains: readonly DrainRecord[];
  readonly applied: AppliedRecord | undefined;
}

interface Known {
  readonly records: SortedMap<RecordKey, ClusterRecord>;
  readonly said: PolicyRecords;
}

const relevant = /^(policy|drain|applied)\//;
const nothing: PolicyRecords = { policies: [], drains: [], applied: undefined };
const empty: Known = { records: SortedMap.from<RecordKey, ClusterRecord>([]), said: nothing };

/** Picks the records about policies out of partitions, at the price of what changed in them. */
export class PolicySources {
  #known: ReadonlyMap<ClusterName, Known> = new Map();

  /** The very same map when nothing of it changed. */
  pick(partitions: ReadonlyMap<ClusterName, PartitionView>): ReadonlyMap<ClusterName, PolicyRecords> {
    const known = new Map<ClusterName, Known>();
    let same = partitions.size === this.#known.size;
    for (const [cluster, { records }] of partitions) {
      const before = this.#known.get(cluster) ?? empty;
      const sorted = SortedMap.from(records);
      const said = changed(before.records, sorted) ? pickFrom(sorted.values()) : before.said;
      same &&= said === before.said && this.#known.has(cluster);
      known.set(cluster, { records: sorted, said });
    }
    this.#known = known;
    if (!same) this.#picked = new Map([...known].map(([cluster, { said }]) => [cluster, said]));
    return this.#picked;
  }

  #picked: ReadonlyMap<ClusterName, PolicyRecords> = new Map();
}

function changed(before: SortedMap<RecordKey, ClusterRecord>, now: SortedMap<RecordKey, ClusterRecord>): boolean {
  for (const { key } of now.differences(before)) if (relevant.test(key)) return true;
  return false;
}

/** Sorts records by what they say. */
export function pickFrom(records: Iterable<ClusterRecord>): PolicyRecords {
  const policies: PolicyRecord[] = [];
  const drains: DrainRecord[] = [];
  let applied: AppliedRecord | undefined;
  for (const record of records) {
    if (record.kind === 'policy') policies.push(record);
    else if (record.kind === 'drain') drains.push(record);
    else if (record.kind === 'applied') applied = record;
  }
  return { policies, drains, applied };
}

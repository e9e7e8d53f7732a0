import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { AckRecord, ClusterRecord } from '../../model/record.ts';
import type { Acknowledgement, Roster } from '../../model/trust.ts';
import type { PartitionView } from '../../federation/partition-view.ts';
import type { TrustReport } from '../../wire/gateway-report.ts';

/** An estimate that moved by less is the same one: a record that changes with every reading would be written with it. */
const skewStepMs = 250;

/** One gateway of this cluster that is connected now. */
export interface ReportingGateway {
  readonly replica: ReplicaName;
  readonly trust: TrustReport | undefined;
  /** Our wall clock in ms when the report came. */
  readonly heardAt: number;
}

/** What is to be said of a gateway; undefined: it has proved nothing. `skewMs`: this agent's own. */
export function gatewayAck(gateway: ReportingGateway, skewMs: number | undefined): AckRecord | undefined {
  const { replica, trust, heardAt } = gateway;
  if (!trust?.acknowledged) return undefined;
  const clockSkewMs = skewMs === undefined ? undefined : trust.clock - heardAt + skewMs;
  return {
    kind: 'ack',
    role: 'gateway',
    replica,
    ...trust.acknowledged,
    ...(clockSkewMs !== undefined && { clockSkewMs }),
  };
}

/** `next` unless it says what `before` says: then `before`, so that nothing has to be written. */
export function settledAck(next: AckRecord, before: AckRecord | undefined): AckRecord {
  if (!before) return next;
  const { clockSkewMs: skew } = next;
  const near =
    skew !== undefined && before.clockSkewMs !== undefined && Math.abs(skew - before.clockSkewMs) < skewStepMs;
  const clockSkewMs = near ? before.clockSkewMs : skew;
  const content = (ack: AckRecord): string => JSON.stringify([ack.rosterSequence, ack.bundleSequence, ack.chain]);
  const at = content(next) === content(before) ? before.at : next.at;
  const settled = { ...next, at, ...(clockSkewMs !== undefined && { clockSkewMs }) };
  return JSON.stringify(settled) === JSON.stringify(before) ? before : settled;
}

/** Own gateways that are connected, what other agents of the cluster said, and everything live of the other clusters. */
export interface AckWitnesses {
  readonly gateways: readonly ReportingGateway[];
  readonly siblings: readonly AckRecord[];
  readonly partitions: ReadonlyMap<ClusterName, PartitionView>;
  readonly self: ClusterName;
  readonly roster: Roster | undefined;
}

/**
 * Who has not acknowledged roster `sequence`: each own gateway that is connected, other agents of the own cluster with
 * theirs, and of each other active member that is heard of now, whoever presents or verifies chains. One that says nothing has not.
 */
export function missingAcks(
  sequence: number,
  { gateways, siblings, partitions, self, roster }: AckWitnesses,
): readonly string[] {
  const missing = gateways
    .filter(({ trust }) => !covers(trust?.acknowledged, sequence))
    .map(({ replica }) => `${self}/${replica}`);
  missing.push(...siblings.filter((ack) => !covers(ack, sequence)).map(({ replica }) => `${self}/${replica}`));
  for (const [cluster, { freshness, records }] of partitions) {
    const active = roster?.clusters.get(cluster)?.state === 'active';
    if (cluster === self || freshness !== 'live' || !active) continue;
    missing.push(...missingOf(records.values(), sequence).map((replica) => `${cluster}/${replica}`));
  }
  return missing;
}

function missingOf(records: Iterable<ClusterRecord>, sequence: number): readonly string[] {
  const wanted = new Set<string>();
  const found = new Set<string>();
  for (const record of records) {
    if (record.kind === 'gateway') wanted.add(record.instance);
    if (record.kind !== 'ack') continue;
    wanted.add(record.replica);
    if (covers(record, sequence)) found.add(record.replica);
  }
  return [...wanted].filter((replica) => !found.has(replica));
}

function covers(ack: Acknowledgement | undefined, sequence: number): boolean {
  return ack !== undefined && ack.rosterSequence >= sequence;
}

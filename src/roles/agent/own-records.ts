import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { GatewayRecord, LinkRecord } from '../../model/record.ts';
import type { GatewayAdvert, GatewayReport, LinkReport } from '../../wire/gateway-report.ts';

export interface PresentGateway {
  readonly instance: ReplicaName;
  readonly advert: GatewayAdvert;
  readonly report: GatewayReport | undefined;
}

/** Where one gateway of this cluster is reached, as it says itself. */
export function gatewayRecord({ instance, advert, report }: PresentGateway): GatewayRecord {
  return {
    kind: 'gateway',
    instance,
    addresses: advert.addresses,
    reachable: true,
    draining: report?.draining ?? false,
    version: advert.version,
  };
}

/** 1, 2, 5, 10, 20, 50… ms: coarse on purpose, a record that changes with every ping would be written with every ping. */
export function bucketOfRtt(rttMs: number): number {
  if (!(rttMs > 1)) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(rttMs));
  const step = [1, 2, 5, 10].find((s) => rttMs <= s * magnitude) ?? 10;
  return step * magnitude;
}

/**
 * What this cluster publishes of its links: up as soon as one gateway gets through to one remote instance. `since` is
 * kept from `previous` while `up` does not change.
 */
export function linkRecords(
  reports: readonly GatewayReport[],
  previous: ReadonlyMap<ClusterName, LinkRecord>,
  now: number,
): readonly LinkRecord[] {
  const byCluster = new Map<ClusterName, LinkReport[]>();
  for (const report of reports) {
    for (const link of report.links) byCluster.set(link.cluster, [...(byCluster.get(link.cluster) ?? []), link]);
  }
  return [...byCluster]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([to, links]) => {
      const up = links.some((link) => link.up);
      const before = previous.get(to);
      const rtts = links.flatMap((link) => (link.up && link.rttP50Ms !== undefined ? [link.rttP50Ms] : []));
      const reason = up ? undefined : links.find((link) => link.reason !== undefined)?.reason;
      const rttMs = rtts.length > 0 ? settledRtt(Math.min(...rtts), before?.rttMs) : undefined;
      return {
        kind: 'link',
        to,
        up,
        ...(rttMs !== undefined && { rttMs }),
        since: before?.up === up ? before.since : now,
        ...(reason !== undefined && { reason }),
      };
    });
}

/** Stays in the bucket published before unless the value is clearly out of it. */
function settledRtt(rttMs: number, before: number | undefined): number {
  const bucket = bucketOfRtt(rttMs);
  if (before === undefined || bucket === before) return bucket;
  const clearlyAbove = rttMs > before * 1.25;
  const clearlyBelow = bucketOfRtt(rttMs * 1.25) < before;
  return clearlyAbove || clearlyBelow ? bucket : before;
}

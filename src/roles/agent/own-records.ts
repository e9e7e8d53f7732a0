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

/** What is said of a link. */
export interface SaidLink {
  readonly record: LinkRecord;
  /** Wall clock in ms since when exactly this is said. */
  readonly at: number;
}

/** A link that stays up, or down, is not written again within so many ms, whatever is measured. */
const quietMs = 30_000;

/**
 * What this cluster publishes of its links: up as soon as one gateway gets through to one remote instance. That it went
 * up or down is said at once, anything else 30 s after the last word; `since` is kept from `previous` while `up` does
 * not change.
 */
export function linksOf(
  reports: readonly GatewayReport[],
  previous: ReadonlyMap<ClusterName, SaidLink>,
  now: number,
): ReadonlyMap<ClusterName, SaidLink> {
  const byCluster = new Map<ClusterName, LinkReport[]>();
  for (const report of reports) {
    for (const link of report.links) byCluster.set(link.cluster, [...(byCluster.get(link.cluster) ?? []), link]);
  }
  const sorted = [...byCluster].sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(sorted.map(([to, links]) => [to, linkOf(to, links, { before: previous.get(to), now })]));
}

function linkOf(
  to: ClusterName,
  links: readonly LinkReport[],
  { before, now }: { readonly before: SaidLink | undefined; readonly now: number },
): SaidLink {
  const up = links.some((link) => link.up);
  const rtts = links.flatMap((link) => (link.up && link.rttP50Ms !== undefined ? [link.rttP50Ms] : []));
  const rttMs = rtts.length > 0 ? settledRtt(Math.min(...rtts), before?.record.rttMs) : undefined;
  const reason = up ? undefined : links.find((link) => link.reason !== undefined)?.reason;
  if (before?.record.up === up) {
    const same = before.record.rttMs === rttMs && before.record.reason === reason;
    const firstRtt = before.record.rttMs === undefined && rttMs !== undefined;
    if (same || (!firstRtt && Math.abs(now - before.at) < quietMs)) return before;
  }
  const since = before?.record.up === up ? before.record.since : now;
  const measured = { ...(rttMs !== undefined && { rttMs }), since, ...(reason !== undefined && { reason }) };
  return { record: { kind: 'link', to, up, ...measured }, at: now };
}

/** Stays in the bucket published before unless the value is clearly out of it. */
function settledRtt(rttMs: number, before: number | undefined): number {
  const bucket = bucketOfRtt(rttMs);
  if (before === undefined || bucket === before) return bucket;
  const clearlyAbove = rttMs > before * 1.25;
  const clearlyBelow = bucketOfRtt(rttMs * 1.25) < before;
  return clearlyAbove || clearlyBelow ? bucket : before;
}

import type { ClusterRow, GatewayRow, LinkRow } from '../../../model/status.ts';
import type { GatewayReport, LinkReport } from '../../../wire/gateway-report.ts';
import type { AgentFacts } from './facts.ts';

/** All members that the roster lists, whatever their state. */
export function clusterRows(facts: AgentFacts): readonly ClusterRow[] {
  const links = ownLinks(facts);
  const exported = exportsOf(facts);
  return [...(facts.roster?.clusters.values() ?? [])]
    .sort((a, b) => (a.cluster < b.cluster ? -1 : 1))
    .map((entry) => {
      const known = facts.view.clusters.get(entry.cluster);
      const toIt = links.filter((link) => link.cluster === entry.cluster);
      const self = entry.cluster === facts.self;
      const down = toIt.find((link) => !link.up);
      return {
        cluster: entry.cluster,
        self,
        state: entry.state,
        freshness: self ? 'live' : (known?.freshness ?? 'unknown'),
        ...(!self && known?.heardAt !== undefined && { heardAgoMs: Math.max(0, facts.now - known.heardAt) }),
        trustDomain: entry.trustDomain,
        ...(known && { epoch: known.epoch, revision: known.revision }),
        services: exported.get(entry.cluster) ?? 0,
        gateways: known?.gateways.length ?? 0,
        ...(toIt.length > 0 && { reachable: toIt.some((link) => link.up) }),
        ...(down?.reason !== undefined && { message: down.reason }),
      };
    });
}

/** How many services each cluster exports. */
function exportsOf({ view }: AgentFacts): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { exports } of view.services.values()) {
    for (const cluster of exports.keys()) counts.set(cluster, (counts.get(cluster) ?? 0) + 1);
  }
  return counts;
}

function ownLinks(facts: AgentFacts): LinkReport[] {
  return facts.gateways.flatMap((gateway) => gateway.report?.links ?? []);
}

/** The own links as the gateways measure them now, and those of other clusters as they publish them. */
export function linkRows(facts: AgentFacts): readonly LinkRow[] {
  const own = ownLinks(facts).map((link): LinkRow => {
    const heardAt = facts.view.clusters.get(link.cluster)?.heardAt;
    const expiry = expiryOf(facts);
    return {
      from: facts.self,
      to: link.cluster,
      ready: link.up,
      gateway: link.address,
      ...(link.rttP50Ms !== undefined && { rttP50Ms: link.rttP50Ms }),
      ...(link.rttP99Ms !== undefined && { rttP99Ms: link.rttP99Ms }),
      loss: link.loss,
      ...(link.load !== undefined && { load: link.load }),
      ...(heardAt !== undefined && { syncAgeMs: Math.max(0, facts.now - heardAt) }),
      ...(expiry !== undefined && { trustExpiresInMs: expiry }),
      forMs: link.forMs,
      ...(link.reason !== undefined && { message: link.reason }),
    };
  });
  const others = [...facts.view.clusters.values()]
    .filter((cluster) => cluster.name !== facts.self)
    .flatMap((cluster) =>
      cluster.links.map(
        (link): LinkRow => ({
          from: cluster.name,
          to: link.to,
          ready: link.up,
          ...(link.rttMs !== undefined && { rttP50Ms: link.rttMs }),
          forMs: Math.max(0, facts.now - link.since),
          ...(link.reason !== undefined && { message: link.reason }),
        }),
      ),
    );
  const key = (row: LinkRow): string => `${row.from} ${row.to} ${row.gateway ?? ''}`;
  return [...own, ...others].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function expiryOf(facts: AgentFacts): number | undefined {
  const ends = facts.gateways.flatMap(({ report }) =>
    report?.svidNotAfter === undefined ? [] : [report.svidNotAfter],
  );
  return ends.length === 0 ? undefined : Math.min(...ends) - facts.now;
}

function messageFor({ waitingFor, omitted = 0, services }: GatewayReport): Pick<GatewayRow, 'message'> {
  if (waitingFor !== undefined) return { message: waitingFor };
  if (omitted === 0) return {};
  return { message: `reports are cut: quiet services in turn, ${omitted} of ${services.length} wait` };
}

/** The own gateways as they are connected, others as advertised. */
export function gatewayRows(facts: AgentFacts): readonly GatewayRow[] {
  const own = facts.gateways.map(({ instance, address, report, connectedAt, ackedDigest }): GatewayRow => {
    const active = report?.services.flatMap((s) => s.targets).reduce((sum, target) => sum + target.active, 0);
    return {
      cluster: facts.self,
      instance,
      address,
      ...(report && { ready: report.ready }),
      draining: report?.draining ?? false,
      version: report?.version ?? '-',
      connectedForMs: Math.max(0, facts.now - connectedAt),
      ...(report?.svidNotAfter !== undefined && { identityExpiresInMs: report.svidNotAfter - facts.now }),
      ...(report?.rosterSequence !== undefined && { rosterSequence: report.rosterSequence }),
      inSync: ackedDigest === facts.tableDigest,
      ...(active !== undefined && { active }),
      ...(report && messageFor(report)),
    };
  });
  const others = [...facts.view.clusters.values()]
    .filter((cluster) => cluster.name !== facts.self)
    .flatMap((cluster) =>
      cluster.gateways.map(
        (gateway): GatewayRow => ({
          cluster: cluster.name,
          instance: gateway.instance,
          address: gateway.addresses.map(({ address, port }) => `${address}:${port}`).join(','),
          draining: gateway.draining,
          version: gateway.version,
        }),
      ),
    );
  return [...own, ...others];
}

import type { ClusterName, ReplicaName, ServiceKey } from '../../../model/names.ts';
import type { FailoverEvent } from '../../../model/policy-report.ts';
import type { RouteTable } from '../../../model/route.ts';
import { type ServiceStanding, standingOf } from '../../../model/shares.ts';
import type { GatewayReport, ServiceReport } from '../../../wire/gateway-report.ts';

/** Changes that are kept of one service, and of how many services. */
const maxPerService = 64;
const maxServices = 10_000;
/** A share that moves by less is noise, or a step of a return in progress. */
const noticeable = 0.1;

interface Change extends Omit<FailoverEvent, 'agoMs'> {
  /** Wall clock in ms. */
  readonly at: number;
}

interface Standing {
  readonly standing: ServiceStanding;
  readonly shares: ReadonlyMap<ClusterName, number>;
}

export interface ReportingGateway {
  readonly instance: ReplicaName;
  readonly report: GatewayReport | undefined;
}

/** Remembers when traffic of a service went elsewhere, and why, as the own gateways report it. Bounded. */
export class FailoverBook {
  readonly #changes = new Map<ServiceKey, Change[]>();
  readonly #standing = new Map<ServiceKey, Standing>();
  readonly #seen = new Map<ReplicaName, GatewayReport>();

  /** Takes in new reports. `now`: wall clock in ms. */
  note(gateways: Iterable<ReportingGateway>, table: RouteTable | undefined, now: number): void {
    const reports = [...gateways].flatMap(({ instance, report }) => (report ? [{ instance, report }] : []));
    // The first gateway by name speaks for all: they see the same, a moment apart.
    const [first] = reports.sort((a, b) => (a.instance < b.instance ? -1 : 1));
    if (!first || !table || this.#seen.get(first.instance) === first.report) return;
    this.#seen.clear();
    this.#seen.set(first.instance, first.report);
    for (const service of first.report.services) this.#service(service, table, now);
    for (const key of this.#standing.keys()) if (!table.services.has(key)) this.#standing.delete(key);
  }

  /** Newest first; of one service or of all. */
  history(service: ServiceKey | undefined, now: number): readonly FailoverEvent[] {
    const changes = service === undefined ? [...this.#changes.values()].flat() : (this.#changes.get(service) ?? []);
    return changes
      .toSorted((a, b) => b.at - a.at)
      .map(({ at, ...change }) => ({ agoMs: Math.max(0, now - at), ...change }));
  }

  #service({ service, targets }: ServiceReport, table: RouteTable, now: number): void {
    const route = table.services.get(service);
    if (!route) return;
    const shares = new Map(targets.map(({ cluster, share }) => [cluster, share]));
    const standing = standingOf(route, (cluster) => shares.get(cluster) ?? 0);
    const before = this.#standing.get(service);
    if (before && before.standing === standing && !moved(before.shares, shares)) return;
    this.#standing.set(service, { standing, shares });
    if (!before) return;
    const kept = this.#changes.get(service) ?? [];
    kept.push({
      at: now,
      service,
      from: before.standing,
      to: standing,
      shares: describeShares(shares),
      why: targets
        .filter(({ cluster, share }) => Math.abs(share - (before.shares.get(cluster) ?? 0)) >= noticeable / 10)
        .map(({ cluster, why }) => `${cluster}: ${why}`)
        .join('; '),
    });
    this.#changes.delete(service);
    this.#changes.set(service, kept.slice(-maxPerService));
    const [oldest] = this.#changes.keys();
    if (oldest !== undefined && this.#changes.size > maxServices) this.#changes.delete(oldest);
  }
}

function moved(before: ReadonlyMap<ClusterName, number>, now: ReadonlyMap<ClusterName, number>): boolean {
  return [...new Set([...before.keys(), ...now.keys()])].some((cluster) => {
    const was = before.get(cluster) ?? 0;
    const is = now.get(cluster) ?? 0;
    // The ends count however near: that is where a return is over.
    return Math.abs(was - is) >= noticeable || (was !== is && (is === 0 || is === 1));
  });
}

/** `east 60%, west 40%`, largest first. */
function describeShares(shares: ReadonlyMap<ClusterName, number>): string {
  const parts = [...shares].filter(([, share]) => share > 0).sort(([, a], [, b]) => b - a);
  return parts.length === 0
    ? 'nowhere'
    : parts.map(([name, share]) => `${name} ${Math.round(share * 100)}%`).join(', ');
}

import type { ClusterName, ReplicaName, ServiceKey } from '../../../model/names.ts';
import type { RouteTable, ServiceRoute } from '../../../model/route.ts';
import type { ServiceFacts, TargetFacts } from '../../../model/shares.ts';
import type { Roster } from '../../../model/trust.ts';
import type { MeshView } from '../../../model/view.ts';
import { step } from '../../../policy/shares.ts';
import type { GatewayReport, TargetReport } from '../../../wire/gateway-report.ts';

/** One gateway of this cluster that is connected to this agent. */
export interface GatewayFacts {
  readonly instance: ReplicaName;
  /** Where others dial it. */
  readonly address: string;
  readonly connectedAt: number;
  readonly ackedDigest: string;
  readonly report: GatewayReport | undefined;
}

/** Everything that the agent's answers are made of, at one moment. Wall clock in ms. */
export interface AgentFacts {
  readonly self: ClusterName;
  readonly now: number;
  readonly view: MeshView;
  readonly roster: Roster | undefined;
  readonly table: RouteTable;
  readonly tableDigest: string;
  readonly gateways: readonly GatewayFacts[];
}

/** How one target of one service stands, over all gateways of this cluster. */
export interface TargetStanding {
  readonly share: number;
  readonly why: string;
  readonly active: number;
  readonly connections: number;
  readonly failures: number;
  readonly facts: TargetFacts | undefined;
}

/**
 * Shares as the gateways report them, averaged; without any report what the gateways would compute from the plan alone.
 */
export function standings(facts: AgentFacts, route: ServiceRoute): ReadonlyMap<ClusterName, TargetStanding> {
  const reports = reportsOf(facts, route.key);
  if (reports.length === 0) {
    const planned = step(route, new Map(), new Map(), 0);
    return new Map(
      route.targets.map(({ cluster }) => [
        cluster,
        {
          share: planned.shares.get(cluster) ?? 0,
          why: `${planned.reasons.get(cluster) ?? ''} (planned: no gateway has reported)`,
          active: 0,
          connections: 0,
          failures: 0,
          facts: undefined,
        },
      ]),
    );
  }
  return new Map(
    route.targets.map(({ cluster }) => [
      cluster,
      combined(
        reports.flatMap((targets) => targets.filter((target) => target.cluster === cluster)),
        reports.length,
      ),
    ]),
  );
}

function combined(targets: readonly TargetReport[], gateways: number): TargetStanding {
  const sum = (of: (target: TargetReport) => number): number => targets.reduce((total, t) => total + of(t), 0);
  return {
    share: sum((t) => t.share) / gateways,
    why: [...new Set(targets.map((t) => t.why))].join('; '),
    active: sum((t) => t.active),
    connections: sum((t) => t.connections),
    failures: sum((t) => t.failures),
    facts:
      targets.length === 0
        ? undefined
        : { reachable: targets.some((t) => t.reachable), health: Math.max(...targets.map((t) => t.health)) },
  };
}

/** What gateways found themselves, for running `step` on it. */
export function reportedFacts(facts: AgentFacts, route: ServiceRoute): ServiceFacts {
  const found = new Map<ClusterName, TargetFacts>();
  for (const [cluster, standing] of standings(facts, route)) if (standing.facts) found.set(cluster, standing.facts);
  return found;
}

function reportsOf(facts: AgentFacts, key: ServiceKey): (readonly TargetReport[])[] {
  return facts.gateways.flatMap(({ report }) => {
    const service = report?.services.find((each) => each.service === key);
    return service ? [service.targets] : [];
  });
}

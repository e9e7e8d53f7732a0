import type { ClusterName, ReplicaName, ServiceKey } from '../../../model/names.ts';
import type { RouteTable, ServiceRoute } from '../../../model/route.ts';
import type { ServiceFacts, SharesResult, TargetFacts } from '../../../model/shares.ts';
import type { Roster } from '../../../model/trust.ts';
import type { MeshView } from '../../../model/view.ts';
import type { CompileInput } from '../../../policy/compile-input.ts';
import type { PolicySet } from '../../../policy/policy-set.ts';
import { stepAt } from '../../../policy/shares.ts';
import type { Reported } from '../../../policy/simulate.ts';
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
  /** Absent while nothing was compiled yet. */
  readonly policy?: PolicyKnowledge;
}

/** What the routes follow from. */
export interface PolicyKnowledge {
  readonly input: CompileInput;
  /** Policies that count in another cluster, as far as it can be told from here. */
  readonly policiesAt: (cluster: ClusterName) => PolicySet;
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
    const planned = plannedShares(facts, route, new Map());
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
        : {
            reachable: targets.some((t) => t.reachable),
            health: Math.max(...targets.map((t) => t.health)),
            ...loadOf(targets),
          },
  };
}

/** Each gateway hears the same of one target; the highest is the latest under growing load. */
function loadOf(targets: readonly TargetReport[]): { readonly load?: number } {
  const loads = targets.flatMap(({ load }) => (load === undefined ? [] : [load]));
  return loads.length === 0 ? {} : { load: Math.max(...loads) };
}

/** What gateways would do by these facts, once everything has settled. */
export function plannedShares(facts: AgentFacts, route: ServiceRoute, known: ServiceFacts): SharesResult {
  return stepAt(route, { facts: known, state: new Map() }, { now: 0, wallNow: facts.now });
}

/** What gateways report of a service, for simulating it. */
export function reportedOf(facts: AgentFacts, key: ServiceKey): Reported {
  const route = facts.table.services.get(key);
  if (!route) return { facts: new Map(), active: new Map() };
  const active = [...standings(facts, route)].map(([cluster, standing]) => [cluster, standing.active] as const);
  return { facts: reportedFacts(facts, route), active: new Map(active) };
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

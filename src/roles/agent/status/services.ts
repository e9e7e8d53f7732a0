import type { ServiceKey } from '../../../model/names.ts';
import type { EndpointCounts } from '../../../model/record.ts';
import type { ServiceRoute, Target } from '../../../model/route.ts';
import { standingOf } from '../../../model/shares.ts';
import type { ServiceDetail, ServiceRow, TargetRow } from '../../../model/status.ts';
import { conflictRow } from '../../../federation/merge/conflict-row.ts';
import { type AgentFacts, standings, type TargetStanding } from './facts.ts';
import type { TargetRates } from './rates.ts';

export function serviceRows(facts: AgentFacts): readonly ServiceRow[] {
  return [...facts.table.services.values()].map((route) => serviceRow(facts, route));
}

/** Undefined: nobody exports it. */
export function serviceDetail(facts: AgentFacts, key: ServiceKey, rates: TargetRates): ServiceDetail | undefined {
  const route = facts.table.services.get(key);
  if (!route) return undefined;
  const found = standings(facts, route);
  return {
    ...serviceRow(facts, route),
    targets: route.targets.map((target) =>
      targetRow(facts, { route, target, standing: found.get(target.cluster), rates }),
    ),
    conflicts: facts.view.services.get(key)?.conflicts.map(conflictRow) ?? [],
  };
}

function serviceRow(facts: AgentFacts, route: ServiceRoute): ServiceRow {
  const found = standings(facts, route);
  const counts = route.targets.map((target) => healthyOf(facts, route.key, target));
  const state = standingOf(route, (cluster) => found.get(cluster)?.share ?? 0);
  const conflicts = facts.view.services.get(route.key)?.conflicts ?? [];
  const unlistened = route.ports.filter((port) => port.importPort === undefined);
  const message = [
    ...conflicts.map((conflict) => conflict.message),
    ...unlistened.map(({ port }) => `no import port left for port ${port}`),
    ...gatewayProblems(facts, route.key),
  ].join('; ');
  return {
    service: route.key,
    ports: route.ports.map(({ port, name, importPort }) => ({
      port,
      ...(name !== undefined && { name }),
      ...(importPort !== undefined && { importPort }),
    })),
    exported: route.exported,
    clusters: route.targets.map((target) => target.cluster),
    healthy: {
      ready: counts.reduce((sum, { ready }) => sum + ready, 0),
      total: counts.reduce((sum, { total }) => sum + total, 0),
    },
    state,
    ...(message !== '' && { message }),
  };
}

/** What gateways say keeps clients from it, each thing once. */
function gatewayProblems({ gateways }: AgentFacts, key: ServiceKey): readonly string[] {
  const problems = gateways.flatMap(
    ({ report }) => report?.services.find(({ service }) => service === key)?.problem ?? [],
  );
  return [...new Set(problems)];
}

function healthyOf(facts: AgentFacts, key: ServiceKey, { cluster }: Target): EndpointCounts {
  const route = facts.table.services.get(key);
  if (cluster === facts.self && route) {
    return { total: route.endpoints.length, ready: route.endpoints.filter((endpoint) => endpoint.ready).length };
  }
  return facts.view.services.get(key)?.exports.get(cluster)?.endpoints ?? { total: 0, ready: 0 };
}

interface TargetContext {
  readonly route: ServiceRoute;
  readonly target: Target;
  readonly standing: TargetStanding | undefined;
  readonly rates: TargetRates;
}

function targetRow(facts: AgentFacts, { route, target, standing, rates }: TargetContext): TargetRow {
  const rate = rates.of(route.key, target.cluster, facts.now);
  return {
    cluster: target.cluster,
    healthy: healthyOf(facts, route.key, target),
    ...(standing && { share: standing.share }),
    ...(rate && { rate: rate.perSecond, ...(rate.success !== undefined && { success: rate.success }) }),
    active: standing?.active ?? 0,
    connections: standing?.connections ?? 0,
    failures: standing?.failures ?? 0,
    state: targetState(route, target, standing),
    why: standing?.why ?? 'not reported',
  };
}

function targetState(route: ServiceRoute, target: Target, standing: TargetStanding | undefined): TargetRow['state'] {
  const share = standing?.share ?? 0;
  if (share > 0 && target.stale) return 'Stale';
  if (share > 0) return target.tier === Math.min(...route.targets.map((t) => t.tier)) ? 'Active' : 'Spill';
  const { reachable = true, health = target.health } = standing?.facts ?? {};
  return reachable && Math.min(health, target.health) > 0 ? 'Standby' : 'Out';
}

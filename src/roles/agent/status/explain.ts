import type { SpiffeId } from '../../../model/identity.ts';
import type { ClusterName, ServiceKey } from '../../../model/names.ts';
import type { RoutePort, ServiceRoute } from '../../../model/route.ts';
import type { ExplainedRequest, Explanation, ExplanationStep } from '../../../model/status.ts';
import { effectivePolicy, keptOut } from '../../../policy/plan.ts';
import { describeOrigin } from '../../../policy/policy.ts';
import { formatDuration } from '../../../runtime/duration.ts';
import { fieldText } from '../policy/field-text.ts';
import { type AccessStep, accessSteps } from './explain-access.ts';
import { isTrafficField, trafficSteps } from './explain-traffic.ts';
import { type AgentFacts, plannedShares, reportedFacts, standings } from './facts.ts';

export interface ExplainTarget {
  readonly service: ServiceKey;
  readonly port: number;
  /** The workload that calls; undefined: one that cannot be named. */
  readonly identity?: SpiffeId | undefined;
  /** What it asks for; undefined: just a connection. */
  readonly request?: ExplainedRequest | undefined;
}

/** Where a connection from this cluster would go now, step by step; runs the gateways' own `step` on their facts. */
export function explain(facts: AgentFacts, { service, port, identity, request }: ExplainTarget): Explanation {
  const steps: ExplanationStep[] = [];
  const end = (ok: boolean, verdict: string): Explanation => ({
    from: facts.self,
    to: `${service}:${port}`,
    steps,
    ok,
    verdict,
  });
  const route = facts.table.services.get(service);
  if (!route) {
    steps.push({ title: 'name', detail: `no cluster exports ${service}`, ok: false });
    return end(false, `${service} is exported by no member that ${facts.self} knows: nothing to connect to`);
  }
  steps.push({ title: 'name', detail: `${service} is exported by ${clustersOf(route).join(', ')}`, ok: true });
  const found = route.ports.find((each) => each.port === port);
  if (!found) {
    const known = route.ports.map((each) => each.port).join(', ');
    steps.push({ title: 'port', detail: `${service} has no port ${port}; it has ${known}`, ok: false });
    return end(false, `${service} has no port ${port}`);
  }
  steps.push(listenerStep(facts, service, found.importPort));
  steps.push(...policySteps(facts, route, found));
  steps.push(...candidateSteps(facts, route, port));
  const serving = servingShares(facts, route, port);
  const clusters = new Set(serving.map(([cluster]) => cluster));
  const access = accessSteps(facts, route, { port: found, identity, request, clusters });
  steps.push(...access.map(({ cluster: _cluster, decision: _decision, ...step }) => step));
  return conclude(serving, { access, end });
}

function clustersOf(route: ServiceRoute): ClusterName[] {
  return route.targets.map((target) => target.cluster);
}

function listenerStep(facts: AgentFacts, service: ServiceKey, importPort: number | undefined): ExplanationStep {
  if (importPort === undefined) {
    return { title: 'listener', detail: `no import port is left for ${service}`, ok: false };
  }
  const { length } = facts.gateways;
  const who =
    length === 0
      ? 'no gateway is connected to this agent'
      : `${length} gateway${length > 1 ? 's' : ''} of ${facts.self}`;
  return { title: 'listener', detail: `port ${importPort} of ${who}`, ok: length > 0 };
}

/** One line for the fields that decide where traffic goes, one for each policy that says something of them; then how it is carried. */
function policySteps(facts: AgentFacts, route: ServiceRoute, port: RoutePort): ExplanationStep[] {
  const { healthyThreshold, holdMs, returnOverMs, spillAt } = route.failover;
  const times = [
    `spills below ${percent(healthyThreshold)} health`,
    ...(spillAt === undefined ? [] : [`above ${percent(spillAt)} of capacity`]),
    `holds ${formatDuration(holdMs)}`,
    `returns over ${formatDuration(returnOverMs)}`,
  ].join(', ');
  const { policy } = facts;
  const effective = policy && effectivePolicy(route.key, policy.input);
  if (!effective || effective.origins.size === 0) {
    const detail = `own cluster first, then all others by capacity; ${times} (no policy: configuration and defaults)`;
    return [{ title: 'policy', detail }, ...(effective ? trafficSteps(port, effective) : [])];
  }
  const tiers = fieldText('locality.tiers', effective.fields);
  const local = effective.fields['locality.preferLocal'] ? 'own cluster first, then ' : '';
  const fallback = effective.fields['locality.fallback'] === 'any' ? 'any other' : 'nobody else';
  const steps: ExplanationStep[] = [
    { title: 'policy', detail: `${local}${tiers === '-' ? fallback : `${tiers}, then ${fallback}`}; ${times}` },
  ];
  const byOrigin = new Map<string, string[]>();
  for (const [field, origin] of effective.origins) {
    if (isTrafficField(field)) continue;
    const name = describeOrigin(origin);
    byOrigin.set(name, [...(byOrigin.get(name) ?? []), `${field} ${fieldText(field, effective.fields)}`]);
  }
  for (const [name, fields] of byOrigin) steps.push({ title: 'origin', detail: `${name}: ${fields.join(', ')}` });
  return [...steps, ...trafficSteps(port, effective)];
}

function percent(part: number): string {
  return `${Math.round(part * 100)}%`;
}

function candidateSteps(facts: AgentFacts, route: ServiceRoute, port: number): ExplanationStep[] {
  const found = standings(facts, route);
  const out = facts.policy ? [...keptOut(route.key, facts.policy.input)] : [];
  const kept = out.map(([cluster, reason]) => ({
    title: `candidate ${cluster}`,
    detail: `kept out: ${reason}`,
    ok: false,
  }));
  const steps = route.targets.map((target) => {
    const standing = found.get(target.cluster);
    const gateways = facts.table.clusters.get(target.cluster)?.gateways.length ?? 0;
    const parts = [
      `tier ${target.tier}`,
      `share ${percent(standing?.share ?? 0)}`,
      standing?.why ?? 'not reported',
      ...(target.cluster === facts.self ? [`${route.endpoints.length} endpoints here`] : [`${gateways} gateways`]),
      ...(target.ports.includes(port) ? [] : [`does not expose port ${port}`]),
    ];
    return {
      title: `candidate ${target.cluster}`,
      detail: parts.join(', '),
      ok: (standing?.share ?? 0) > 0 && target.ports.includes(port),
    };
  });
  return [...steps, ...kept];
}

/** Where new connections go, largest share first. */
function servingShares(
  facts: AgentFacts,
  route: ServiceRoute,
  port: number,
): readonly (readonly [ClusterName, number])[] {
  const reported = [...standings(facts, route)].flatMap(([cluster, { share }]) =>
    share > 0 ? [[cluster, share] as const] : [],
  );
  const shares = reported.length > 0 ? reported : [...plannedShares(facts, route, reportedFacts(facts, route)).shares];
  return shares
    .filter(([cluster]) => route.targets.find((target) => target.cluster === cluster)?.ports.includes(port))
    .sort(([, a], [, b]) => b - a);
}

interface Conclusion {
  readonly access: readonly AccessStep[];
  readonly end: (ok: boolean, verdict: string) => Explanation;
}

function conclude(serving: readonly (readonly [ClusterName, number])[], { access, end }: Conclusion): Explanation {
  if (serving.length === 0) return end(false, 'nowhere to go: every candidate is out');
  const parts = serving.map(([cluster, share]) => `${cluster} ${percent(share)}`).join(', ');
  const that = (decision: AccessStep['decision']): readonly ClusterName[] =>
    access.filter((step) => step.decision === decision).map(({ cluster }) => cluster);
  const [denied, open] = [that('denied'), that('perRequest')];
  if (denied.length === serving.length) return end(false, `denied: ${denied.join(', ')} would refuse the caller`);
  const refusing = denied.length === 0 ? '' : `; ${denied.join(', ')} would refuse the caller`;
  const judging = open.length === 0 ? '' : `; ${open.join(', ')} would judge each request`;
  return end(true, `a new connection goes to ${parts}${refusing}${judging}`);
}

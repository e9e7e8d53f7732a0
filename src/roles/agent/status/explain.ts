import type { ClusterName, ServiceKey } from '../../../model/names.ts';
import type { ServiceRoute } from '../../../model/route.ts';
import type { Explanation, ExplanationStep } from '../../../model/status.ts';
import { step } from '../../../policy/shares.ts';
import { type AgentFacts, reportedFacts, standings } from './facts.ts';

export interface ExplainTarget {
  readonly service: ServiceKey;
  readonly port: number;
}

/** Where a connection from this cluster would go now, step by step; runs the gateways' own `step` on their facts. */
export function explain(facts: AgentFacts, { service, port }: ExplainTarget): Explanation {
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
  steps.push({ title: 'policy', detail: policyText(route) });
  steps.push(...candidateSteps(facts, route, port));
  steps.push(accessStep(route));
  return conclude(facts, { route, port, end });
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

function policyText(route: ServiceRoute): string {
  const { healthyThreshold, holdMs, returnOverMs } = route.failover;
  return `own cluster first, then all others by capacity; spills below ${Math.round(healthyThreshold * 100)}% health, holds ${holdMs} ms, returns over ${returnOverMs} ms (built-in default, times from the agent's configuration)`;
}

function candidateSteps(facts: AgentFacts, route: ServiceRoute, port: number): ExplanationStep[] {
  const found = standings(facts, route);
  return route.targets.map((target) => {
    const standing = found.get(target.cluster);
    const gateways = facts.table.clusters.get(target.cluster)?.gateways.length ?? 0;
    const parts = [
      `tier ${target.tier}`,
      `share ${Math.round((standing?.share ?? 0) * 100)}%`,
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
}

function accessStep(route: ServiceRoute): ExplanationStep {
  return route.allow === 'members'
    ? { title: 'access', detail: 'every member of the federation may call it', ok: true }
    : { title: 'access', detail: 'only what an access policy allows; the exporting cluster decides' };
}

interface Conclusion {
  readonly route: ServiceRoute;
  readonly port: number;
  readonly end: (ok: boolean, verdict: string) => Explanation;
}

function conclude(facts: AgentFacts, { route, port, end }: Conclusion): Explanation {
  const standing = standings(facts, route);
  const reported = [...standing].filter(([, { share }]) => share > 0);
  const shares =
    reported.length > 0
      ? reported.map(([c, s]) => [c, s.share] as const)
      : [...step(route, reportedFacts(facts, route), new Map(), 0).shares];
  const serving = shares.filter(([cluster]) => route.targets.find((t) => t.cluster === cluster)?.ports.includes(port));
  if (serving.length === 0) return end(false, 'nowhere to go: every candidate is out');
  const parts = serving
    .sort(([, a], [, b]) => b - a)
    .map(([cluster, share]) => `${cluster} ${Math.round(share * 100)}%`);
  return end(true, `a new connection goes to ${parts.join(', ')}`);
}

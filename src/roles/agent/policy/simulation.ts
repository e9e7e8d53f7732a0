import type { SimulateRequest } from '../../../admin/policy-api.ts';
import { IsthmusError } from '../../../model/error.ts';
import type { ClusterName } from '../../../model/names.ts';
import type { SimulationReport } from '../../../model/policy-report.ts';
import type { CompileInput } from '../../../policy/compile-input.ts';
import { simulate } from '../../../policy/simulate.ts';
import { type AgentFacts, reportedOf } from '../status/facts.ts';

export interface SimulationContext {
  readonly input: CompileInput;
  readonly facts: AgentFacts;
  readonly policies: Parameters<typeof simulate>[0]['policies'];
  /** Wall clock in ms. */
  readonly now: number;
}

/**
 * Where traffic of this cluster would go, by what its gateways report.
 * @throws IsthmusError `not-found` for a cluster that is none
 */
export function simulationReport(
  request: SimulateRequest,
  { input, facts, policies, now }: SimulationContext,
): SimulationReport {
  const { view } = input;
  for (const cluster of [...request.lose, ...request.drain]) requireMember(cluster, view.clusters);
  const services = simulate(
    { lose: new Set(request.lose), drain: new Set(request.drain), load: request.load, policies },
    { input, wallNow: now, reported: (key) => reportedOf(facts, key) },
  );
  const changed = services.map(({ avoided, targets, ...rest }) => ({
    ...rest,
    targets: targets.map(({ carries, rated, ...target }) => ({
      ...target,
      ...(carries !== undefined && { carries: Math.round(carries * 10) / 10 }),
      ...(rated !== undefined && { rated }),
    })),
    avoided: [...avoided].map(([cluster, reason]) => `${cluster}: ${reason}`),
  }));
  return {
    from: view.self,
    supposed: supposedText(request),
    services: changed,
    nowhere: changed.filter(({ after }) => after === 'Down').map(({ service }) => service),
    overloaded: changed.flatMap(({ service, targets }) =>
      targets
        .filter(({ carries = 0, rated = Number.POSITIVE_INFINITY }) => carries > rated)
        .map(({ cluster, carries, rated }) => `${service} in ${cluster}: ${carries} of ${rated} connections`),
    ),
  };
}

function supposedText({ lose, drain, load, policies }: SimulateRequest): readonly string[] {
  return [
    ...lose.map((cluster) => `lose ${cluster}`),
    ...drain.map((cluster) => `drain ${cluster}`),
    ...(load === 1 ? [] : [`load ${load}x`]),
    ...(policies.length === 0 ? [] : [`${policies.length} ${policies.length === 1 ? 'policy' : 'policies'} applied`]),
  ];
}

/** @throws IsthmusError `not-found` */
export function requireMember(cluster: ClusterName, members: ReadonlyMap<ClusterName, unknown>): void {
  if (members.has(cluster)) return;
  throw new IsthmusError(
    'not-found',
    `There is no cluster '${cluster}': the federation has ${[...members.keys()].join(', ')}`,
  );
}

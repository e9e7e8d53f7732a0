import type { DrainRequest } from '../../../admin/policy-api.ts';
import { IsthmusError } from '../../../model/error.ts';
import type { ClusterName, ReplicaName } from '../../../model/names.ts';
import type { DrainChange, DrainRow, SimulationReport } from '../../../model/policy-report.ts';
import type { DrainRecord } from '../../../model/record.ts';
import type { CompileInput } from '../../../policy/compile-input.ts';
import { drainLeft, drainPlan, type Drains, gatewayKey, noDrains, type PublishedDrain } from '../../../policy/drain.ts';
import type { AgentFacts } from '../status/facts.ts';
import type { PolicyDesk } from './desk.ts';
import { requireMember, simulationReport } from './simulation.ts';

/** What drains are judged and shown by. */
export interface DrainFacts {
  readonly desk: PolicyDesk;
  readonly facts: AgentFacts;
}

export interface SetDrainContext extends DrainFacts {
  readonly input: CompileInput;
  /** Who gives the word. */
  readonly operator: string;
  /** Wall clock in ms. */
  readonly now: number;
}

/** What operators have said, and what of it was refused. `now`: wall clock in ms. */
export function drainRows({ desk, facts }: DrainFacts, now: number): readonly DrainRow[] {
  const { clusters, gateways, refused } = desk.current.drains;
  return [
    ...[...clusters.values(), ...gateways.values()].map((drain) => drainRow(drain, facts, now)),
    ...refused.map(
      ({ why, ...drain }): DrainRow => ({ ...drainRow(drain, facts, now), state: 'Refused', message: why }),
    ),
  ];
}

function drainRow(drain: PublishedDrain, facts: AgentFacts, now: number): DrainRow {
  const { record, publisher } = drain;
  const { cluster, gateway } = record.target;
  const { left, moving } = drainLeft(drainPlan(drain), now);
  const whole = gateway !== undefined;
  const drained = record.state === 'drained';
  return {
    target: gateway === undefined ? cluster : gatewayKey(cluster, gateway),
    state: moving && !whole ? (drained ? 'Draining' : 'Undraining') : drained ? 'Drained' : 'Active',
    left: whole ? (drained ? 0 : 1) : left,
    overMs: record.overMs,
    remainingMs: moving && !whole ? Math.max(0, record.issuedAt + record.overMs - now) : 0,
    issuedAgoMs: Math.max(0, now - record.issuedAt),
    by: record.by,
    publisher,
    ...(gateway === undefined && { active: activeIn(facts, cluster) }),
  };
}

function activeIn(facts: AgentFacts, cluster: ClusterName): number {
  let active = 0;
  for (const { report } of facts.gateways) {
    for (const { targets } of report?.services ?? []) {
      for (const target of targets) if (target.cluster === cluster) active += target.active;
    }
  }
  return active;
}

/**
 * Publishes an operator's word about a cluster or a gateway; as a preview, only says what would come of it.
 * @throws IsthmusError `not-found` for a target that is none, `denied` when this cluster may not say so
 */
export async function setDrain(
  { target, state, overMs, preview }: DrainRequest,
  { desk, input, facts, operator, now }: SetDrainContext,
): Promise<DrainChange> {
  const { cluster, gateway } = target;
  requireMember(cluster, input.view.clusters);
  if (gateway !== undefined) requireGateway(cluster, gateway, input);
  const { drains } = desk.current;
  const before =
    gateway === undefined ? drains.clusters.get(cluster) : drains.gateways.get(gatewayKey(cluster, gateway));
  const left = before ? drainLeft(drainPlan(before), now).left : 1;
  const record: DrainRecord = {
    kind: 'drain',
    target,
    state,
    overMs,
    // The last word wins, so it must be later than the one before, whoever's clock that was by.
    issuedAt: Math.max(now, (before?.record.issuedAt ?? 0) + 1),
    from: left,
    by: operator,
  };
  const last = state === 'drained' && gateway !== undefined && isLastGateway(cluster, gateway, input);
  const simulation = simulationReport(
    {
      // Without a gateway in use a cluster cannot be reached from others; its own clients still find what is there.
      lose: last && cluster !== input.view.self ? [cluster] : [],
      drain: state === 'drained' && gateway === undefined ? [cluster] : [],
      load: 1,
      policies: [],
    },
    { input: state === 'active' ? without(input, cluster) : input, facts, policies: undefined, now },
  );
  if (!preview) await desk.drain(record);
  const name = gateway === undefined ? cluster : gatewayKey(cluster, gateway);
  return {
    preview,
    row: drainRow({ publisher: input.view.self, record }, facts, now),
    simulation,
    warnings: [
      ...(last ? [lastGatewayText(name, cluster, input)] : []),
      ...(state === 'drained' ? lastClusterTexts(cluster, simulation) : []),
    ],
    undo: `isthmus ${state === 'drained' ? 'undrain' : 'drain'} ${name} --yes`,
  };
}

/** Whether no other gateway of the cluster takes new sessions. */
function isLastGateway(cluster: ClusterName, gateway: ReplicaName, { view, drains = noDrains }: CompileInput): boolean {
  const others = view.clusters.get(cluster)?.gateways.filter(({ instance }) => instance !== gateway) ?? [];
  return !others.some(
    ({ instance, reachable, draining }) => reachable && !draining && !isDrained(drains, gatewayKey(cluster, instance)),
  );
}

function isDrained({ gateways }: Drains, key: string): boolean {
  return gateways.get(key)?.record.state === 'drained';
}

function lastGatewayText(name: string, cluster: ClusterName, { view: { self } }: CompileInput): string {
  const here = cluster === self ? `, and clients in ${self} have no gateway that is ready` : '';
  return `${name} is the last gateway of ${cluster} in use: other clusters no longer reach what ${cluster} serves${here}`;
}

function lastClusterTexts(cluster: ClusterName, { from, services }: SimulationReport): readonly string[] {
  return services
    .filter(({ before, after }) => after === 'Down' && before !== 'Down')
    .map(({ service }) => `${cluster} is the last cluster in use that serves ${service} to clients in ${from}`);
}

function without(input: CompileInput, cluster: ClusterName): CompileInput {
  if (!input.drains?.clusters.has(cluster)) return input;
  const clusters = new Map(input.drains.clusters);
  clusters.delete(cluster);
  return { ...input, drains: { ...input.drains, clusters } };
}

function requireGateway(cluster: ClusterName, gateway: string, { view }: CompileInput): void {
  const known = view.clusters.get(cluster)?.gateways.map(({ instance }) => instance) ?? [];
  if (known.some((instance) => instance === gateway)) return;
  const there = known.length === 0 ? 'it advertises none' : `it has ${known.join(', ')}`;
  throw new IsthmusError('not-found', `Cluster ${cluster} has no gateway '${gateway}': ${there}`);
}

import type { DrainRequest, PolicyApi, SimulateRequest } from '../../../admin/policy-api.ts';
import { IsthmusError } from '../../../model/error.ts';
import type { ClusterName, ServiceKey } from '../../../model/names.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type {
  DrainChange,
  DrainRow,
  EffectiveReport,
  PolicyChanges,
  SimulationReport,
} from '../../../model/policy-report.ts';
import type { DrainRecord } from '../../../model/record.ts';
import type { CompileInput } from '../../../policy/compile-input.ts';
import { drainLeft, drainPlan, gatewayKey, type PublishedDrain } from '../../../policy/drain.ts';
import type { TrafficField } from '../../../policy/fields.ts';
import { describeFaults, parsePolicy } from '../../../policy/parse.ts';
import { effectivePolicy } from '../../../policy/plan.ts';
import { describeOrigin, parsePolicyKey, type Policy, policyKey } from '../../../policy/policy.ts';
import { simulate } from '../../../policy/simulate.ts';
import { unseenWarnings } from '../../../policy/unseen.ts';
import { type AgentFacts, reportedOf } from '../status/facts.ts';
import type { PolicyDesk } from './desk.ts';
import type { FailoverBook } from './failovers.ts';
import { accessText, fieldText } from './field-text.ts';
import type { Changed } from './own-records.ts';
import { documentRow, policyRows } from './rows.ts';

/** What the answers are made of; undefined while the agent does not run yet. */
export interface PolicyFacts {
  readonly desk: PolicyDesk;
  readonly failovers: FailoverBook;
  readonly input: CompileInput | undefined;
  readonly facts: AgentFacts;
}

export interface PolicyApiContext {
  readonly running: () => PolicyFacts | undefined;
  readonly waitingFor: () => string;
  readonly operator: string;
  readonly clock: Clock;
}

/** Answers of the admin API about policies and operations. */
export function createPolicyApi(context: PolicyApiContext): PolicyApi {
  const { clock } = context;
  const need = (): PolicyFacts & { readonly input: CompileInput } => {
    const running = context.running();
    if (running?.input) return { ...running, input: running.input };
    throw new IsthmusError('unavailable', `Not ready: waiting for ${context.waitingFor()}`);
  };
  const rows = (): ReturnType<typeof policyRows> => {
    const { desk, input } = need();
    return policyRows({ desk, view: input.view, now: clock.now() });
  };
  return {
    policies: () => rows().map(({ document: _document, ...row }) => row),
    policy: (name) => rows().filter(({ policy }) => policy === name),
    async apply(documents, preview): Promise<PolicyChanges> {
      const { desk } = need();
      return changesOf(await desk.apply(parseAll(documents), preview), preview);
    },
    async remove(name, preview): Promise<PolicyChanges> {
      const { desk } = need();
      return changesOf(await desk.remove(`policy/${policyKey(parsePolicyKey(name))}`, preview), preview);
    },
    effective: (service) => effectiveReport(service, need().input),
    simulate(request): SimulationReport {
      const { desk, input, facts } = need();
      const policies = request.policies.length === 0 ? undefined : desk.supposing(parseAll(request.policies));
      return simulationReport(request, { input, facts, policies, now: clock.now() });
    },
    drains: () => drainRows(need(), clock.now()),
    setDrain: (request) => setDrain(request, need(), context),
    failovers: (service) => need().failovers.history(service, clock.now()),
  };
}

/** @throws IsthmusError `invalid` with everything that is wrong in all of them */
function parseAll(documents: readonly unknown[]): readonly Policy[] {
  const policies: Policy[] = [];
  const problems: string[] = [];
  for (const [index, document] of documents.entries()) {
    const parsed = parsePolicy(document);
    if (parsed.ok) policies.push(parsed.policy);
    else problems.push(`${documents.length > 1 ? `document ${index + 1}: ` : ''}${describeFaults(parsed.faults)}`);
  }
  if (problems.length > 0) throw new IsthmusError('invalid', problems.join('\n'));
  return policies;
}

function changesOf({ changes }: Changed, preview: boolean): PolicyChanges {
  return {
    preview,
    changes: changes.map(({ policy, action, before, after, notes }) => ({
      policy,
      action,
      ...(before && { before: documentRow(before) }),
      ...(after && { after: documentRow(after) }),
      notes,
    })),
  };
}

function effectiveReport(service: ServiceKey, input: CompileInput): EffectiveReport {
  const effective = effectivePolicy(service, input);
  const fields = Object.keys(effective.fields) as TrafficField[];
  const own = input.local.services.get(service);
  return {
    service,
    fields: fields.map((field) => {
      const origin = effective.origins.get(field);
      const from = origin ? describeOrigin(origin) : 'configuration or default';
      return { field, value: fieldText(field, effective.fields), origin: from };
    }),
    overridden: effective.overridden.map(({ policy, field, by }) => ({
      policy: describeOrigin(policy),
      field,
      by: describeOrigin(by),
    })),
    access: own?.exported
      ? accessText(effective.access, own.allow)
      : [`${input.view.self} does not export it: its exporters decide who may call`],
    notes: [...notesOn(service, input, effective.fields['failover.spillAt']), ...unseenOn(service, input)],
  };
}

function notesOn(service: ServiceKey, { view }: CompileInput, spillAt: number | undefined): readonly string[] {
  const exporters = [...(view.services.get(service)?.exports ?? [])];
  if (exporters.length === 0) return ['no cluster exports it yet: all this is pending'];
  const unrated = exporters
    .filter(([, record]) => record.capacity?.concurrent === undefined)
    .map(([cluster]) => cluster);
  if (spillAt === undefined || unrated.length === 0) return [];
  return [`failover.spillAt is inactive for ${unrated.join(', ')}: the export states no capacity.concurrent`];
}

function unseenOn(service: ServiceKey, { view, policies }: CompileInput): readonly string[] {
  return unseenWarnings(policies?.policies ?? [], view, [service]);
}

interface SimulationContext {
  readonly input: CompileInput;
  readonly facts: AgentFacts;
  readonly policies: Parameters<typeof simulate>[0]['policies'];
  readonly now: number;
}

function simulationReport(
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

function requireMember(cluster: ClusterName, members: ReadonlyMap<ClusterName, unknown>): void {
  if (members.has(cluster)) return;
  throw new IsthmusError(
    'not-found',
    `There is no cluster '${cluster}': the federation has ${[...members.keys()].join(', ')}`,
  );
}

function drainRows({ desk, facts }: PolicyFacts, now: number): readonly DrainRow[] {
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

async function setDrain(
  { target, state, overMs, preview }: DrainRequest,
  running: PolicyFacts & { readonly input: CompileInput },
  { clock, operator }: PolicyApiContext,
): Promise<DrainChange> {
  const { desk, input, facts } = running;
  const { cluster, gateway } = target;
  requireMember(cluster, input.view.clusters);
  if (gateway !== undefined) requireGateway(cluster, gateway, input);
  const now = clock.now();
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
  const publisher = input.view.self;
  const request = {
    lose: [],
    drain: state === 'drained' && gateway === undefined ? [cluster] : [],
    load: 1,
    policies: [],
  };
  const simulation = simulationReport(request, {
    input: state === 'active' ? without(input, cluster) : input,
    facts,
    policies: undefined,
    now,
  });
  if (!preview) await desk.drain(record);
  const name = gateway === undefined ? cluster : gatewayKey(cluster, gateway);
  return {
    preview,
    row: drainRow({ publisher, record }, facts, now),
    simulation,
    undo: `isthmus ${state === 'drained' ? 'undrain' : 'drain'} ${name} --yes`,
  };
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

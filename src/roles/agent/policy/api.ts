import type { PolicyApi } from '../../../admin/policy-api.ts';
import { IsthmusError } from '../../../model/error.ts';
import type { ServiceKey } from '../../../model/names.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type { EffectiveReport, PolicyChanges, SimulationReport } from '../../../model/policy-report.ts';
import type { CompileInput } from '../../../policy/compile-input.ts';
import type { TrafficField } from '../../../policy/fields.ts';
import { describeFaults, parsePolicy } from '../../../policy/parse.ts';
import { effectivePolicy } from '../../../policy/plan.ts';
import { describeOrigin, parsePolicyKey, type Policy, policyKey } from '../../../policy/policy.ts';
import { unseenWarnings } from '../../../policy/unseen.ts';
import type { AgentFacts } from '../status/facts.ts';
import type { PolicyDesk } from './desk.ts';
import { drainRows, setDrain } from './drains.ts';
import type { FailoverBook } from './failovers.ts';
import { accessText, fieldText } from './field-text.ts';
import type { Changed } from './own-records.ts';
import { documentRow, policyRows } from './rows.ts';
import { simulationReport } from './simulation.ts';

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
    setDrain: (request) => setDrain(request, { ...need(), operator: context.operator, now: clock.now() }),
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

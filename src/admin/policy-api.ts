import { IsthmusError } from '../model/error.ts';
import {
  type ClusterName,
  parseClusterName,
  parseReplicaName,
  parseServiceKey,
  type ServiceKey,
} from '../model/names.ts';
import {
  type DrainChange,
  type DrainRow,
  type EffectiveReport,
  type FailoverEvent,
  type PolicyChanges,
  type PolicyDetail,
  policyPaths,
  type PolicyRow,
  type SimulationReport,
} from '../model/policy-report.ts';
import type { DrainTarget } from '../model/record.ts';
import { bodyOf, type Fields, textField } from './body.ts';
import { get, post, type Routes } from './routes.ts';

/** What is supposed to happen. */
export interface SimulateRequest {
  readonly lose: readonly ClusterName[];
  readonly drain: readonly ClusterName[];
  /** How much more is asked of every service; 1 = as now. */
  readonly load: number;
  /** Policy documents that would be applied, as they were written. */
  readonly policies: readonly unknown[];
}

export interface DrainRequest {
  readonly target: DrainTarget;
  readonly state: 'drained' | 'active';
  readonly overMs: number;
  readonly preview: boolean;
}

/** What an agent answers about policies and operations. */
export interface PolicyApi {
  policies(): readonly PolicyRow[];
  /** Of every publisher, when several publish one of this name. */
  policy(name: string): readonly PolicyDetail[];
  /** All or none. @throws IsthmusError `invalid` with everything that is wrong, `denied`, `conflict` */
  apply(documents: readonly unknown[], preview: boolean): Promise<PolicyChanges>;
  remove(name: string, preview: boolean): Promise<PolicyChanges>;
  effective(service: ServiceKey): EffectiveReport;
  simulate(request: SimulateRequest): SimulationReport;
  drains(): readonly DrainRow[];
  setDrain(request: DrainRequest): Promise<DrainChange>;
  failovers(service: ServiceKey | undefined): readonly FailoverEvent[];
}

const maxListed = 256;
const maxLoad = 1000;
const dayMs = 86_400_000;

/** Routes for policies, drains and simulations; part of the agent's admin API. */
export function policyRoutes(api: PolicyApi): Routes {
  return [
    get(policyPaths.policies, () => api.policies()),
    get(`${policyPaths.policies}/:kind/:namespace/:name`, ({ params }) => {
      const name = `${params['kind']}/${params['namespace']}/${params['name']}`;
      const found = api.policy(name);
      if (found.length > 0) return found;
      throw new IsthmusError('not-found', `Nobody publishes a policy '${name.slice(0, 200)}'`, {
        hint: `'isthmus policy list' shows what there is`,
      });
    }),
    post(policyPaths.apply, ({ body }) => {
      const given = bodyOf(body, ['policies', 'preview']);
      return api.apply(listField(given, 'policies'), given['preview'] === true);
    }),
    post(policyPaths.remove, ({ body }) => {
      const given = bodyOf(body, ['policy', 'preview']);
      return api.remove(textField(given, 'policy'), given['preview'] === true);
    }),
    get(policyPaths.effective, ({ query }) => api.effective(parseServiceKey(query['service'] ?? ''))),
    // Changes nothing, and still a POST: a policy not yet applied does not fit into a query.
    post(policyPaths.simulate, ({ body }) => {
      const given = bodyOf(body, ['lose', 'drain', 'load', 'policies']);
      return api.simulate({
        lose: clustersField(given, 'lose'),
        drain: clustersField(given, 'drain'),
        load: numberField(given, 'load', { min: 0, max: maxLoad, otherwise: 1 }),
        policies: listField(given, 'policies'),
      });
    }),
    get(policyPaths.drains, () => api.drains()),
    post(policyPaths.drain, ({ body }) => {
      const given = bodyOf(body, ['target', 'state', 'overMs', 'preview']);
      const state = textField(given, 'state');
      if (state !== 'drained' && state !== 'active') {
        throw new IsthmusError('invalid', `'state' must be 'drained' or 'active': current value is '${state}'`);
      }
      return api.setDrain({
        target: parseDrainTarget(textField(given, 'target')),
        state,
        overMs: numberField(given, 'overMs', { min: 0, max: dayMs, otherwise: 0 }),
        preview: given['preview'] === true,
      });
    }),
    get(policyPaths.failovers, ({ query }) => {
      const service = query['service'];
      return api.failovers(service === undefined || service === '' ? undefined : parseServiceKey(service));
    }),
  ];
}

/** `east`, or `east/gateway-0`. @throws IsthmusError `invalid` */
function parseDrainTarget(text: string): DrainTarget {
  const slash = text.indexOf('/');
  if (slash < 0) return { cluster: parseClusterName(text) };
  return { cluster: parseClusterName(text.slice(0, slash)), gateway: parseReplicaName(text.slice(slash + 1)) };
}

function listField(fields: Fields, key: string): readonly unknown[] {
  const value = fields[key] ?? [];
  if (Array.isArray(value) && value.length <= maxListed) return value;
  throw new IsthmusError('invalid', `'${key}' must be a list of at most ${maxListed}`);
}

function clustersField(fields: Fields, key: string): readonly ClusterName[] {
  return listField(fields, key).map((each) => parseClusterName(String(each)));
}

function numberField(
  fields: Fields,
  key: string,
  { min, max, otherwise }: { readonly min: number; readonly max: number; readonly otherwise: number },
): number {
  const value = fields[key] ?? otherwise;
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw new IsthmusError(
    'invalid',
    `'${key}' must be from ${min} to ${max}: current value is ${JSON.stringify(value)}`,
  );
}

import { IsthmusError } from '../model/error.ts';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from '../model/identity.ts';
import {
  type ClusterName,
  isPort,
  parseClusterName,
  parseReplicaName,
  parseServiceKey,
  type ReplicaName,
  type ServiceKey,
} from '../model/names.ts';
import {
  type AgentStatus,
  adminPaths,
  type ClusterRow,
  type EventRow,
  type ExplainedRequest,
  type Explanation,
  type GatewayRow,
  type HubAccepted,
  type IssuedToken,
  type LeaveReport,
  type LinkRow,
  type ServiceDetail,
  type ServiceRow,
} from '../model/status.ts';
import type { BundleDetail, BundleReport, TrustStatus } from '../model/trust-report.ts';
import { bodyOf, durationField, type Fields, textField } from './body.ts';
import { get, post, type Routes } from './routes.ts';

/** What an agent answers. Each function gives the state of that moment. */
export interface AgentApi {
  status(): AgentStatus;
  clusters(): readonly ClusterRow[];
  links(): readonly LinkRow[];
  services(): readonly ServiceRow[];
  /** Undefined: nobody exports it. */
  service(key: ServiceKey): ServiceDetail | undefined;
  gateways(): readonly GatewayRow[];
  /** `from` undefined = the agent's own cluster. */
  explain(request: ExplainRequest): Explanation | Promise<Explanation>;
  /** @throws IsthmusError `unavailable` before there is an identity */
  trustStatus(): TrustStatus;
  /** Bundles of all trust domains, as the authority sealed them. */
  bundles(): BundleReport;
  /** Undefined: there is none of this trust domain. */
  bundle(domain: TrustDomain): BundleDetail | undefined;
  issueGatewayToken(request: GatewayTokenRequest): IssuedToken | Promise<IssuedToken>;
  /** The last of them, oldest first. */
  events(): readonly EventRow[];
  /** Somebody says that the deletions held back of this cluster are meant. */
  acceptHeld(cluster: ClusterName): HubAccepted;
  /** Withdraws everything, says good-bye, and stops the agent once it has answered. */
  leave(request: LeaveRequest): Promise<LeaveReport>;
}

export interface ExplainRequest {
  readonly from: ClusterName | undefined;
  /** The workload that calls; undefined: one that cannot be named. */
  readonly identity: SpiffeId | undefined;
  readonly service: ServiceKey;
  readonly port: number;
  /** Undefined: just a connection. */
  readonly request?: ExplainedRequest | undefined;
}

export interface GatewayTokenRequest {
  readonly gateway: ReplicaName;
  /** Undefined = the issuer's default. */
  readonly ttlMs: number | undefined;
}

export interface LeaveRequest {
  /** How long gateways go on after the exports were withdrawn; undefined = the agent's default. */
  readonly graceMs: number | undefined;
  /** Leave even if nobody can be told. */
  readonly force: boolean;
  /** Stay a member of the federation, so that the agent may just be started again. */
  readonly keepMembership: boolean;
}

/** The agent's admin API. */
export function agentRoutes(api: AgentApi): Routes {
  return [
    get(adminPaths.status, () => api.status()),
    get(adminPaths.clusters, () => api.clusters()),
    get(adminPaths.links, () => api.links()),
    get(adminPaths.services, () => api.services()),
    get(`${adminPaths.services}/:namespace/:name`, ({ params }) => {
      const key = parseServiceKey(`${params['namespace']}/${params['name']}`);
      const detail = api.service(key);
      if (detail) return detail;
      throw new IsthmusError('not-found', `No cluster exports a service '${key}'`, {
        hint: `'isthmus services' lists what there is`,
      });
    }),
    get(adminPaths.gateways, () => api.gateways()),
    get(adminPaths.explain, ({ query }) => api.explain(parseExplain(query))),
    get(adminPaths.trustStatus, () => api.trustStatus()),
    get(adminPaths.bundles, () => api.bundles()),
    get(`${adminPaths.bundles}/:domain`, ({ params }) => {
      const domain = parseTrustDomain(params['domain'] ?? '');
      const bundle = api.bundle(domain);
      if (bundle) return bundle;
      throw new IsthmusError('not-found', `No bundle of trust domain ${domain} is held here`, {
        hint: `'isthmus trust bundle show' lists what there is`,
      });
    }),
    get(adminPaths.events, () => api.events()),
    post(adminPaths.hubAccept, ({ body }) =>
      api.acceptHeld(parseClusterName(textField(bodyOf(body, ['cluster']), 'cluster'))),
    ),
    post(adminPaths.leave, ({ body }) => {
      const given = bodyOf(body, ['graceMs', 'force', 'keepMembership']);
      return api.leave({
        graceMs: graceField(given),
        force: given['force'] === true,
        keepMembership: given['keepMembership'] === true,
      });
    }),
    post(adminPaths.tokens, ({ body }) => {
      const given = bodyOf(body, ['gateway', 'ttlMs']);
      return api.issueGatewayToken({
        gateway: parseReplicaName(textField(given, 'gateway')),
        ttlMs: durationField(given, 'ttlMs'),
      });
    }),
  ];
}

const maxGraceMs = 600_000;

function graceField({ graceMs }: Fields): number | undefined {
  if (graceMs === undefined) return undefined;
  if (typeof graceMs === 'number' && graceMs >= 0 && graceMs <= maxGraceMs) return graceMs;
  throw new IsthmusError('invalid', `graceMs must be 0 to ${maxGraceMs}: current value is ${JSON.stringify(graceMs)}`);
}

/** A cluster, or a workload by its SPIFFE ID. */
function parseCaller(from: string | undefined): Pick<ExplainRequest, 'from' | 'identity'> {
  if (from === undefined || from === '') return { from: undefined, identity: undefined };
  if (from.startsWith('spiffe://')) return { from: undefined, identity: parseSpiffeId(from) };
  return { from: parseClusterName(from), identity: undefined };
}

function parseExplain(query: Readonly<Record<string, string>>): ExplainRequest {
  const to = query['to'] ?? '';
  const colon = to.lastIndexOf(':');
  const port = Number(to.slice(colon + 1));
  if (colon < 0 || !isPort(port)) {
    throw new IsthmusError(
      'invalid',
      `A destination must be <namespace>/<name>:<port>: current value is '${to.slice(0, 140)}'`,
    );
  }
  const { from, as, method, path } = query;
  const caller = parseCaller(from);
  if (as !== undefined && caller.identity !== undefined) {
    throw new IsthmusError('invalid', `One caller can be explained at a time: both '${from}' and '${as}' are given`);
  }
  return {
    ...caller,
    ...(as !== undefined && { identity: parseSpiffeId(as) }),
    service: parseServiceKey(to.slice(0, colon)),
    port,
    request: method === undefined && path === undefined ? undefined : { method, path },
  };
}

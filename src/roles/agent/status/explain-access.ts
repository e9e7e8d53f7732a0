import type { AccessRequest, AccessVerdict, Caller } from '../../../model/access.ts';
import { parseSpiffeId, type SpiffeId } from '../../../model/identity.ts';
import type { ClusterName } from '../../../model/names.ts';
import { carriesRequests, declaredProtocol } from '../../../model/protocol.ts';
import type { RoutePort, ServiceRoute } from '../../../model/route.ts';
import type { ExplainedRequest, ExplanationStep } from '../../../model/status.ts';
import { judgeAccess, judgeRequest } from '../../../policy/access.ts';
import type { AgentFacts } from './facts.ts';

export interface AccessQuestion {
  readonly port: RoutePort;
  /** Undefined: a caller that cannot be named. */
  readonly identity: SpiffeId | undefined;
  /** Undefined: just a connection. */
  readonly request: ExplainedRequest | undefined;
  /** Where a connection would go. */
  readonly clusters: ReadonlySet<ClusterName>;
}

/** The verdict of one cluster. */
export interface AccessStep extends ExplanationStep {
  readonly cluster: ClusterName;
  readonly decision: AccessVerdict['decision'];
}

/** The verdict of each other cluster that would be asked, by the rules that count there. */
export function accessSteps(facts: AgentFacts, route: ServiceRoute, asked: AccessQuestion): readonly AccessStep[] {
  const { policy, self } = facts;
  const trustDomain = facts.view.clusters.get(self)?.trustDomain;
  if (!policy || !trustDomain) return [];
  const caller: Caller = {
    cluster: self,
    peer: parseSpiffeId(`spiffe://${trustDomain}/isthmus/gateway/any`),
    identity: asked.identity,
    proof: asked.identity === undefined ? 'none' : 'asserted',
  };
  const who = asked.identity ?? `an anonymous caller of ${self}`;
  return route.targets
    .filter(({ cluster }) => cluster !== self && asked.clusters.has(cluster))
    .map(({ cluster }) => {
      const allow = facts.view.services.get(route.key)?.exports.get(cluster)?.allow ?? 'members';
      const access = policy.policiesAt(cluster).access(route.key, allow);
      const exposure = { allow, ...(access && { access }) };
      const { decision, rule } = judge({ route: exposure, port: asked.port.port, caller }, asked);
      return {
        title: `access ${cluster}`,
        detail: `${who} ${what(asked.request)}is ${sentence(decision, rule)}`,
        ...(decision !== 'perRequest' && { ok: decision === 'allowed' }),
        cluster,
        decision,
      };
    });
}

/** As the gateways there do: first the connection, then the request on it. */
function judge(question: AccessRequest, { port, request }: AccessQuestion): AccessVerdict {
  const seesRequests = carriesRequests(declaredProtocol(port));
  const connection = judgeAccess({ ...question, seesRequests });
  if (connection.decision !== 'perRequest' || !request) return connection;
  return judgeRequest({ ...question, method: request.method ?? 'GET', target: request.path ?? '/' });
}

function what(request: ExplainedRequest | undefined): string {
  return request ? `asking ${request.method ?? 'GET'} ${request.path ?? '/'} ` : '';
}

function sentence(decision: AccessVerdict['decision'], rule: string): string {
  if (decision !== 'perRequest') return `${decision} by ${rule}`;
  return `judged ${rule}; --method and --path say which request`;
}

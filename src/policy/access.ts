import type {
  AccessJudge,
  AccessPlan,
  AccessRequest,
  AccessRule,
  AccessVerdict,
  Caller,
  CallerMatch,
  Exposure,
  HttpAccessRequest,
} from '../model/access.ts';
import { pathOf, type SpiffeId, trustDomainOf } from '../model/identity.ts';
import { isBelow, readPath } from './request-path.ts';

/**
 * Whether a caller may connect, judged at the exporting side. Deny wins over allow; what no rule decides falls to the
 * plan (policy.md, "AccessPolicy"). Never throws. A caller that cannot be named matches rules about clusters and trust
 * domains only. Rules for some requests make it `perRequest` where requests can be seen; where they cannot, such a rule
 * denies every connection, or allows none.
 */
export function judgeAccess({ route, port, caller, seesRequests }: AccessRequest): AccessVerdict {
  return judge(route, { caller, port, request: seesRequests ? 'later' : 'unseen' });
}

/**
 * Whether one request may be made. What cannot be read as one resource only (`readPath`), or has a method in lower
 * case, which some servers take for the other, is denied as soon as a rule by path or method could matter. Never throws.
 */
export function judgeRequest(asked: HttpAccessRequest): AccessVerdict<'allowed' | 'denied'> {
  const { route, port, caller, method, target } = asked;
  const { decision, rule } = judge(route, { caller, port, request: { method, target } });
  return { decision: decision === 'allowed' ? 'allowed' : 'denied', rule };
}

/** Both stages, as a gateway runs them. */
export const judgeByPolicy: AccessJudge = { connection: judgeAccess, request: judgeRequest };

interface Question {
  readonly caller: Caller;
  readonly port: number;
  /** What is known of the request: nothing yet, nothing ever, or all. */
  readonly request: 'later' | 'unseen' | { readonly method: string; readonly target: string };
}

function judge({ access, allow }: Exposure, question: Question): AccessVerdict {
  if (!access) {
    return allow === 'members'
      ? { decision: 'allowed', rule: 'allow: members' }
      : { decision: 'denied', rule: 'allow: policy, and no policy allows' };
  }
  const enforced = decide(access, question, false);
  if (!access.rules.some((rule) => rule.audit)) return enforced;
  const audited = decide(access, question, true);
  if (audited.decision === enforced.decision) return enforced;
  const would = audited.decision === 'perRequest' ? audited.rule : `${audited.decision} by ${audited.rule}`;
  const rule = `${enforced.rule}; audit: would be ${would}`;
  // What is only tried out is logged request by request.
  const looks = enforced.decision === 'allowed' && audited.decision === 'perRequest';
  return { decision: looks ? 'perRequest' : enforced.decision, rule };
}

/** `audited`: as if rules in audit mode counted. */
function decide(plan: AccessPlan, question: Question, audited: boolean): AccessVerdict {
  const found: Partial<Record<'allow' | 'perhaps' | 'unread', string>> = {};
  let otherwise = plan.otherwise === 'allow';
  let why = plan.why;
  let perhapsDenied: string | undefined;
  for (const rule of plan.rules) {
    if (rule.audit && !audited) continue;
    // An allowing policy that is tried out would, in force, refuse all others.
    if (rule.audit && rule.action === 'allow' && otherwise) [otherwise, why] = [false, 'no rule that allows'];
    const match = concerns(rule, question) ? requestMatch(rule, question.request) : no;
    if (rule.action === 'deny') {
      if (match.is === 'yes') return { decision: 'denied', rule: rule.policy };
      if (match.is === 'unread') return { decision: 'denied', rule: `${rule.policy}: ${match.reason}` };
      if (match.is === 'perhaps') perhapsDenied ??= rule.policy;
    } else if (match.is === 'yes') found.allow ??= rule.policy;
    else if (match.is === 'perhaps') found.perhaps ??= rule.policy;
    else if (match.is === 'unread') found.unread ??= `${rule.policy}: ${match.reason}`;
  }
  const { allow, perhaps, unread } = found;
  if (perhapsDenied !== undefined && (allow ?? perhaps ?? (otherwise || undefined)) !== undefined) {
    return { decision: 'perRequest', rule: `by request: ${perhapsDenied}` };
  }
  if (allow !== undefined) return { decision: 'allowed', rule: allow };
  if (perhaps !== undefined && !otherwise) return { decision: 'perRequest', rule: `by request: ${perhaps}` };
  return { decision: otherwise ? 'allowed' : 'denied', rule: otherwise ? why : (unread ?? why) };
}

function concerns({ from, ports }: AccessRule, { caller, port }: Question): boolean {
  if (ports && !ports.includes(port)) return false;
  return !from || from.some((match) => isOne(caller, match));
}

type RequestVerdict =
  | { readonly is: 'yes' | 'no' | 'perhaps' }
  /** It cannot be read as one request only. */
  | { readonly is: 'unread'; readonly reason: string };

const yes: RequestVerdict = { is: 'yes' };
const no: RequestVerdict = { is: 'no' };
const perhaps: RequestVerdict = { is: 'perhaps' };

function requestMatch({ action, requests }: AccessRule, request: Question['request']): RequestVerdict {
  if (!requests) return yes;
  if (request === 'later') return perhaps;
  if (request === 'unseen') return action === 'deny' ? yes : no;
  const { methods, pathPrefixes } = requests;
  if (methods && !methods.includes(request.method)) {
    return /[a-z]/.test(request.method) ? { is: 'unread', reason: 'the method is not in upper case' } : no;
  }
  if (!pathPrefixes) return yes;
  const read = readPath(request.target);
  if (!read.ok) return { is: 'unread', reason: `the path ${read.reason}` };
  return pathPrefixes.some((prefix) => isBelow(read.path, prefix)) ? yes : no;
}

function isOne(caller: Caller, match: CallerMatch): boolean {
  const { identity } = caller;
  const workload = identity && workloadOf(identity);
  const domain = trustDomainOf(identity ?? caller.peer);
  if (match.trustDomains && !match.trustDomains.includes(domain)) return false;
  if (match.clusters && !match.clusters.includes(caller.cluster)) return false;
  if (match.namespaces && !(workload && match.namespaces.includes(workload.namespace))) return false;
  if (match.serviceAccounts && !(workload && match.serviceAccounts.includes(workload.account))) return false;
  if (match.ids && !(identity && match.ids.some((pattern) => matchesId(identity, pattern)))) return false;
  return match.proof === undefined || match.proof === caller.proof;
}

/** `/*` stands for everything below, never for the id itself or a longer name. */
function matchesId(id: SpiffeId, pattern: string): boolean {
  return pattern.endsWith('/*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern;
}

const workloadPath = /^\/ns\/([^/]+)\/sa\/([^/]+)$/;

function workloadOf(id: SpiffeId): { readonly namespace: string; readonly account: string } | undefined {
  const match = workloadPath.exec(pathOf(id));
  return match ? { namespace: match[1] ?? '', account: `${match[1]}/${match[2]}` } : undefined;
}

import type { AccessPlan, AccessRequest, AccessRule, AccessVerdict, Caller, CallerMatch } from '../model/access.ts';
import { pathOf, type SpiffeId, trustDomainOf } from '../model/identity.ts';

/**
 * Whether a caller may connect, judged at the exporting side. Deny wins over allow; what no rule decides falls to the
 * plan (policy.md, "AccessPolicy"). Never throws. A caller that cannot be named matches rules about clusters and trust
 * domains only.
 */
export function judgeAccess({ route, port, caller }: AccessRequest): AccessVerdict {
  const { access, allow } = route;
  if (!access) {
    return allow === 'members'
      ? { allowed: true, rule: 'allow: members' }
      : { allowed: false, rule: 'allow: policy, and no policy allows' };
  }
  const enforced = decide(access, { caller, port, audited: false });
  if (!access.rules.some((rule) => rule.audit)) return enforced;
  const audited = decide(access, { caller, port, audited: true });
  if (audited.allowed === enforced.allowed) return enforced;
  const would = `${audited.allowed ? 'allowed' : 'denied'} by ${audited.rule}`;
  return { allowed: enforced.allowed, rule: `${enforced.rule}; audit: would be ${would}` };
}

interface Question {
  readonly caller: Caller;
  readonly port: number;
  /** As if rules in audit mode counted. */
  readonly audited: boolean;
}

function decide(plan: AccessPlan, question: Question): AccessVerdict {
  let allowing: AccessRule | undefined;
  let auditedAllow = false;
  for (const rule of plan.rules) {
    if (rule.audit && !question.audited) continue;
    auditedAllow ||= rule.audit && rule.action === 'allow';
    if (!applies(rule, question)) continue;
    if (rule.action === 'deny') return { allowed: false, rule: rule.policy };
    allowing ??= rule;
  }
  if (allowing) return { allowed: true, rule: allowing.policy };
  // An allowing policy that is tried out would, in force, refuse all others.
  if (plan.otherwise === 'allow' && auditedAllow) return { allowed: false, rule: 'no rule that allows' };
  return { allowed: plan.otherwise === 'allow', rule: plan.why };
}

function applies({ from, ports }: AccessRule, { caller, port }: Question): boolean {
  if (ports && !ports.includes(port)) return false;
  return !from || from.some((match) => isOne(caller, match));
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

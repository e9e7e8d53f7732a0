import type { AccessPlan, AccessRule, CallerMatch } from '../../../model/access.ts';
import type { TierSpec, TrafficField, TrafficFields } from '../../../policy/fields.ts';
import type { HashKey } from '../../../model/traffic.ts';
import { formatDuration } from '../../../runtime/duration.ts';

const durations: ReadonlySet<TrafficField> = new Set<TrafficField>([
  'failover.hold',
  'failover.returnOver',
  'loadBalancing.slowStart',
  'connection.connectTimeout',
  'connection.raceAfter',
  'connection.idleTimeout',
  'outlier.baseEjection',
  'http.timeout',
  'http.idleTimeout',
  'http.retries.perTry',
]);

const shares: ReadonlySet<TrafficField> = new Set<TrafficField>([
  'failover.healthyThreshold',
  'failover.panicThreshold',
  'failover.spillAt',
  'outlier.maxEjected',
  'http.retries.budget',
]);

/** The value of a field as a policy would state it. */
export function fieldText(field: TrafficField, fields: TrafficFields): string {
  const value = fields[field];
  if (value === undefined) return '-';
  if (typeof value === 'number') {
    if (durations.has(field)) return formatDuration(value);
    return shares.has(field) ? `${Number((value * 100).toFixed(3))}%` : String(value);
  }
  if (field === 'locality.tiers') return fields['locality.tiers'].map(tierText).join(' → ') || '-';
  if (field === 'loadBalancing.hash') return hashText(fields[field]);
  if (Array.isArray(value)) return value.join(', ') || '-';
  if (typeof value === 'object') return pairs(value) || '-';
  return String(value);
}

function hashText(hash: HashKey): string {
  return hash.by === 'sourceIP' ? hash.by : `${hash.by} ${hash.name}`;
}

function tierText({ match, weights }: TierSpec): string {
  const parts = [
    ...(match.region === undefined ? [] : [`region ${match.region}`]),
    ...(match.clusters ? [match.clusters.join(', ')] : []),
    ...(match.labels ? [pairs(match.labels)] : []),
  ];
  const by = weights ? [...weights].map(([cluster, weight]) => `${cluster} ${weight}`).join(' : ') : 'by capacity';
  return `${parts.join(' with ')} (${by})`;
}

function pairs(value: object): string {
  return Object.entries(value)
    .map(([key, each]) => `${key}=${String(each)}`)
    .join(', ');
}

/** Who may call, a sentence a rule; then what holds otherwise. */
export function accessText(plan: AccessPlan | undefined, allow: 'members' | 'policy'): readonly string[] {
  if (!plan)
    return [
      allow === 'members' ? 'every member of the federation may call it' : 'nobody may call it: no policy allows',
    ];
  return [...plan.rules.map(ruleText), `otherwise ${plan.otherwise}: ${plan.why}`];
}

function ruleText({ policy, action, audit, from, ports, requests }: AccessRule): string {
  const who = from ? from.map(matchText).join(' or ') : 'whoever calls';
  const where = ports ? ` on port ${ports.join(', ')}` : '';
  const what = [
    ...(requests?.methods ? [` for ${requests.methods.join(', ')}`] : []),
    ...(requests?.pathPrefixes ? [` below ${requests.pathPrefixes.join(', ')}`] : []),
  ].join('');
  return `${audit ? 'audit only: ' : ''}${action} ${who}${where}${what} (${policy})`;
}

function matchText(match: CallerMatch): string {
  return Object.entries(match)
    .map(([key, value]) => `${key} ${Array.isArray(value) ? value.join(', ') : String(value)}`)
    .join(' and ');
}

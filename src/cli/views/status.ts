import type { AgentStatus, AuthorityStatus, DependencyStatus } from '../../model/status.ts';
import { paint, type TextStyle, type Tone } from '../table.ts';
import { clean, formatAge, plural } from '../text.ts';
import type { View } from '../view.ts';

type Status = AgentStatus | AuthorityStatus;

/** What it all comes to, in one sentence. */
export interface StatusVerdict {
  readonly tone: Tone;
  readonly sentence: string;
}

/** The verdict of `isthmus status`: whether it is ready, and if not, what it waits for. */
export function verdictOf(status: Status): StatusVerdict {
  const who = status.kind === 'agent' ? status.cluster : 'the authority';
  if (status.waitingFor.length > 0) {
    return { tone: 'bad', sentence: `Not ready: ${who} waits for ${status.waitingFor.join('; ')}.` };
  }
  if (status.warnings.length > 0) {
    return {
      tone: 'warn',
      sentence: `Ready with ${plural(status.warnings.length, 'warning')}: ${status.warnings.join('; ')}.`,
    };
  }
  return { tone: 'good', sentence: status.kind === 'agent' ? agentVerdict(status) : authorityVerdict(status) };
}

function agentVerdict({ cluster, members, gateways }: AgentStatus): string {
  const total = members.live + members.suspect + members.dead + members.unknown;
  const silent = total - members.live;
  if (total <= 1) return `Ready: ${cluster} is alone so far; a cluster joins with a token of 'isthmus token issue'.`;
  const others = `${cluster} is linked with ${plural(total - 1, 'other cluster')}`;
  const heard = silent === 0 ? 'all are live' : `${plural(silent, 'cluster')} of ${total} not live`;
  const carried = gateways.ready === 0 ? ', but no gateway is connected to carry traffic' : '';
  return `Ready: ${others}; ${heard}${carried}.`;
}

function authorityVerdict({ federationDomain, clusters }: AuthorityStatus): string {
  return `Ready: the authority of ${federationDomain} serves ${plural(clusters.active, 'active cluster')}.`;
}

function dependency({ name, connected, forMs, lastError }: DependencyStatus): string {
  const state = `${connected ? 'connected' : 'not connected'} for ${formatAge(forMs)}`;
  return `${name}, ${state}${!connected && lastError !== undefined ? `: ${lastError}` : ''}`;
}

function remaining(parts: readonly (readonly [string, number | undefined])[]): string {
  const known = parts.filter(([, ms]) => ms !== undefined);
  return known.length === 0 ? 'none yet' : known.map(([what, ms]) => `${what} for ${formatAge(ms)}`).join(', ');
}

function agentLines(status: AgentStatus): readonly (readonly [string, string])[] {
  const { authority, identity, publisher, members } = status;
  const roster =
    authority.rosterSequence === undefined
      ? 'no roster yet'
      : `roster ${authority.rosterSequence}, ${formatAge(authority.rosterAgeMs)} old`;
  const published =
    publisher.revision === undefined
      ? 'nothing yet'
      : `revision ${publisher.revision} of epoch ${publisher.epoch ?? '-'}, ${formatAge(publisher.committedAgoMs)} ago`;
  const heard = (['live', 'suspect', 'dead', 'unknown'] as const).filter((each) => members[each] > 0);
  return [
    ['Cluster', `${status.cluster} in ${status.federationDomain ?? 'no federation yet'}`],
    [
      'Agent',
      `${status.replica} ${status.version}, ${status.leader ? 'leader' : 'standby'}, up ${formatAge(status.uptimeMs)}`,
    ],
    ['Hub', dependency(status.hub)],
    ['Authority', `${dependency(authority)}, ${roster}`],
    [
      'Identity',
      remaining([
        ['intermediate', identity.intermediateExpiresInMs],
        ['agent', identity.agentExpiresInMs],
        ['seal', identity.sealExpiresInMs],
      ]),
    ],
    [
      'Published',
      `${published}${publisher.pending ? ', more waits' : ''}${publisher.problem ? `: ${publisher.problem}` : ''}`,
    ],
    ['Members', heard.map((each) => `${members[each]} ${each}`).join(', ') || 'none yet'],
    ['Gateways', `${status.gateways.ready} of ${status.gateways.connected} ready`],
    ['Services', `${status.services.exported} exported, ${status.services.imported} imported`],
  ];
}

function authorityLines(status: AuthorityStatus): readonly (readonly [string, string])[] {
  const { clusters } = status;
  return [
    ['Authority', `${status.federationDomain}, ${status.version}, up ${formatAge(status.uptimeMs)}`],
    ['Addresses', status.addresses.join(', ')],
    ['Root', remaining([['valid', status.rootExpiresInMs]])],
    [
      'Roster',
      `${status.rosterSequence}: ${clusters.active} active, ${clusters.suspended} suspended, ${clusters.revoked} revoked`,
    ],
    ['Tokens', `${status.openTokens} open`],
    ...(status.hub ? [['Hub', dependency(status.hub)] as const] : []),
  ];
}

/** `isthmus status` */
export function statusView(status: Status): View {
  return {
    data: status,
    names: [
      status.kind === 'agent' ? `agent/${status.cluster}/${status.replica}` : `authority/${status.federationDomain}`,
    ],
    text: (style) => statusText(status, style),
  };
}

function statusText(status: Status, style: TextStyle): string {
  const lines = status.kind === 'agent' ? agentLines(status) : authorityLines(status);
  const width = Math.max(...lines.map(([title]) => title.length));
  const { tone, sentence } = verdictOf(status);
  const body = lines.map(([title, value]) => `${title.padEnd(width)}  ${clean(value)}\n`).join('');
  return `${body}\n${paint(clean(sentence), tone, style)}\n`;
}

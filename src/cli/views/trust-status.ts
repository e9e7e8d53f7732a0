import type { TrustReplicaRow, TrustStatus } from '../../model/trust-report.ts';
import { type Column, paint, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean, formatAge, formatMs, plural } from '../text.ts';
import type { View } from '../view.ts';

/** Enough of a key id to tell it from others at sight. */
const shortId = (keyId: string): string => keyId.slice(0, 8);

/** Expiry within so long is worth a colour: nobody renewed for most of a leaf's life. */
const soonMs = 3_600_000;

function toneOfEnd(ms: number | undefined): Tone | undefined {
  if (ms === undefined) return undefined;
  return ms <= 0 ? 'bad' : ms < soonMs ? 'warn' : undefined;
}

const columns = (roster: number | undefined): readonly Column<TrustReplicaRow>[] => [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'ROLE', cell: (row) => row.role },
  { title: 'REPLICA', cell: (row) => row.replica },
  { title: 'CHAIN', cell: (row) => row.chain.map(shortId).join('<') },
  { title: 'LEAF', cell: (row) => formatEnd(row.leafExpiresInMs), tone: (row) => toneOfEnd(row.leafExpiresInMs) },
  { title: 'ISSUER', cell: (row) => formatEnd(row.issuerExpiresInMs), tone: (row) => toneOfEnd(row.issuerExpiresInMs) },
  {
    title: 'ROSTER',
    cell: (row) => (row.rosterSequence === undefined ? '' : String(row.rosterSequence)),
    tone: (row) => (row.rosterSequence !== undefined && row.rosterSequence !== roster ? 'warn' : undefined),
  },
  { title: 'BUNDLE', cell: (row) => (row.bundleSequence === undefined ? '' : String(row.bundleSequence)) },
  { title: 'SKEW', cell: (row) => formatSkew(row.clockSkewMs) },
  { title: 'PROVED', cell: (row) => formatAge(row.provedAgoMs), wide: true },
  { title: 'MESSAGE', cell: (row) => row.message ?? '' },
];

function formatEnd(ms: number | undefined): string {
  if (ms === undefined) return '';
  return ms <= 0 ? 'expired' : formatAge(ms);
}

function formatSkew(ms: number | undefined): string {
  return ms === undefined ? '' : `${ms > 0 ? '+' : ms < 0 ? '-' : ''}${formatMs(Math.abs(ms))}ms`;
}

function lines(status: TrustStatus): readonly (readonly [string, string])[] {
  const { roster, authority, intermediate, refusedRosters, journal } = status;
  const { older, conflicting, unverified } = refusedRosters;
  const refused = older + conflicting + unverified;
  const error = authority.lastError === undefined ? '' : `: ${authority.lastError}`;
  const { next } = intermediate;
  const waits = next && next.waitsFor.length > 0 ? `waits for ${next.waitsFor.join(', ')}` : 'signs next';
  return [
    ['Trust domain', `${status.trustDomain} in ${status.federationDomain}`],
    [
      'Roster',
      `${roster ? `${roster.sequence}, ${formatAge(roster.ageMs)} old` : 'none yet'}${refused > 0 ? `; refused ${older} older, ${conflicting} conflicting, ${unverified} unverified` : ''}`,
    ],
    ['Authority', `${authority.connected ? 'connected' : 'not connected'} for ${formatAge(authority.forMs)}${error}`],
    [
      'Clock',
      status.clockSkewMs === undefined ? 'not compared yet' : `${formatSkew(status.clockSkewMs)} against the authority`,
    ],
    [
      'Intermediate',
      `${shortId(intermediate.keyId)}, ends in ${formatEnd(intermediate.expiresInMs)}${intermediate.problem === undefined ? '' : `: ${intermediate.problem}`}`,
    ],
    ...(next
      ? [['Next', `${shortId(next.keyId)}, ${waits}, at the latest in ${formatAge(next.atLatestInMs)}`] as const]
      : []),
    [
      'Without it',
      `the federation runs ${formatAge(status.survivesAuthorityForMs)} without its authority (${status.survivalEndsWith})`,
    ],
    [
      'Issued',
      status.issued
        .map(
          ({ keyId, live, lastExpiresInMs }) =>
            `${shortId(keyId)}: ${live} live, the last for ${formatAge(lastExpiresInMs)}`,
        )
        .join('; ') || 'nothing that lives',
    ],
    ['Journal', `${plural(journal.records, 'record')}, head ${journal.head.slice(0, 16)}`],
  ];
}

function verdict(status: TrustStatus): { readonly tone: Tone; readonly sentence: string } {
  const { replicas, roster, intermediate } = status;
  if (intermediate.expiresInMs <= 0)
    return { tone: 'bad', sentence: `The intermediate of ${status.cluster} has expired.` };
  const silent = replicas.filter(({ chain }) => chain.length === 0);
  const behind = replicas.filter((row) => row.rosterSequence !== undefined && row.rosterSequence !== roster?.sequence);
  if (silent.length + behind.length === 0) {
    return {
      tone: 'good',
      sentence: `All ${plural(replicas.length, 'replica')} proved what they present and know the roster.`,
    };
  }
  const names = [...silent, ...behind].map(({ cluster, replica }) => `${cluster}/${replica}`);
  return {
    tone: 'warn',
    sentence: `${silent.length} proved nothing, ${behind.length} not on this roster: ${names.join(', ')}.`,
  };
}

/** `isthmus trust status` */
export function trustStatusView(status: TrustStatus): View {
  return {
    data: status,
    names: status.replicas.map(({ cluster, role, replica }) => `${role}/${cluster}/${replica}`),
    text: (style) => textOf(status, style),
  };
}

/** `isthmus authority acknowledgements` */
export function acknowledgementsView(rows: readonly TrustReplicaRow[]): View {
  const newest = Math.max(0, ...rows.map(({ rosterSequence = 0 }) => rosterSequence));
  return {
    data: rows,
    names: rows.map(({ cluster, role, replica }) => `${role}/${cluster}/${replica}`),
    text: (style) =>
      rows.length === 0 ? 'No agent has acknowledged anything yet.\n' : renderTable(columns(newest), rows, style),
  };
}

function textOf(status: TrustStatus, style: TextStyle): string {
  const shown = lines(status);
  const width = Math.max(...shown.map(([title]) => title.length));
  const { tone, sentence } = verdict(status);
  const head = shown.map(([title, value]) => `${title.padEnd(width)}  ${clean(value)}\n`).join('');
  const table = renderTable(columns(status.roster?.sequence), status.replicas, style);
  return `${head}\n${table}\n${paint(clean(sentence), tone, style)}\n`;
}

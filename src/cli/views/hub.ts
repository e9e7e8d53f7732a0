import type { EventRow, HubAccepted, HubCheck, HubReport, LeaveReport } from '../../model/status.ts';
import type { HubUserRow } from '../hub-tools.ts';
import { type Column, paint, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean, formatAge, plural } from '../text.ts';
import type { View } from '../view.ts';

/** `isthmus hub acl`: lines that `redis-cli` takes as they are. */
export function hubUsersView(users: readonly HubUserRow[]): View {
  return {
    data: users,
    names: users.map(({ user }) => `hubuser/${user}`),
    text: () => users.map(({ line }) => `${line}\n`).join(''),
  };
}

const marks: Readonly<Record<HubCheck['level'], readonly [mark: string, tone: Tone]>> = {
  ok: ['√', 'good'],
  warning: ['‼', 'warn'],
  failed: ['×', 'bad'],
};

/** `isthmus hub check` */
export function hubReportView(report: HubReport): View {
  return {
    data: report,
    names: report.checks.map(({ check }) => `hubcheck/${check}`),
    text: (style) => hubReportText(report, style),
  };
}

function hubReportText({ hub, checks }: HubReport, style: TextStyle): string {
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.map(({ check, level, detail, fix }) => {
    const [mark, tone] = marks[level];
    const advice = fix === undefined ? '' : `  ${' '.repeat(width)}  → ${clean(fix)}\n`;
    return `${paint(mark, tone, style)} ${check.padEnd(width)}  ${clean(detail)}\n${advice}`;
  });
  const failed = checks.filter(({ level }) => level === 'failed').length;
  const warned = checks.filter(({ level }) => level === 'warning').length;
  const verdict =
    failed > 0 ? `${plural(failed, 'check')} failed` : warned > 0 ? `good, with ${plural(warned, 'warning')}` : 'good';
  const tone = failed > 0 ? 'bad' : warned > 0 ? 'warn' : 'good';
  return `${lines.join('')}\n${paint(clean(`${hub}: ${verdict}.`), tone, style)}\n`;
}

const eventColumns: readonly Column<EventRow>[] = [
  { title: 'AGO', cell: (row) => formatAge(row.agoMs) },
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'EVENT', cell: (row) => row.kind },
  { title: 'COUNT', cell: (row) => String(row.count) },
  { title: 'FIRST', cell: (row) => formatAge(row.firstAgoMs), wide: true },
  { title: 'MESSAGE', cell: (row) => row.detail },
];

/** `isthmus events` */
export function eventsView(rows: readonly EventRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `event/${row.cluster}/${row.kind}`),
    text: (style) => (rows.length === 0 ? 'Nothing has happened.\n' : renderTable(eventColumns, rows, style)),
  };
}

/** `isthmus hub accept` */
export function acceptedView(accepted: HubAccepted): View {
  const { cluster, exports } = accepted;
  const text =
    exports === 0
      ? `Nothing of ${clean(cluster)} was held back.\n`
      : `Accepted: ${plural(exports, 'export')} of ${clean(cluster)} ${exports === 1 ? 'goes' : 'go'}.\n`;
  return { data: accepted, names: [`cluster/${cluster}`], text: () => text };
}

/** `isthmus leave` */
export function leaveView(report: LeaveReport): View {
  const { cluster, exports, told, problem } = report;
  const withdrawn = `${clean(cluster)} has withdrawn ${plural(exports, 'export')}`;
  const text = told
    ? `${withdrawn}, said good-bye to the others, and stops.\n`
    : `${withdrawn}, but could not tell the others (${clean(problem ?? 'unknown reason')}), and stops.\n`;
  return { data: report, names: [`cluster/${cluster}`], text: () => text };
}

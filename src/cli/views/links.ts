import type { LinkRow } from '../../model/status.ts';
import { type Column, renderTable } from '../table.ts';
import { formatAge, formatMs, formatShare } from '../text.ts';
import type { View } from '../view.ts';

function readyOf({ ready }: LinkRow): string {
  return ready === undefined ? 'Unknown' : ready ? 'True' : 'False';
}

function rttOf({ rttP50Ms, rttP99Ms }: LinkRow): string {
  return rttP50Ms === undefined && rttP99Ms === undefined ? '' : `${formatMs(rttP50Ms)}/${formatMs(rttP99Ms)}ms`;
}

function messageOf({ ready, message, forMs }: LinkRow): string {
  if (message === undefined) return '';
  return ready === false && forMs !== undefined ? `${message} (for ${formatAge(forMs)})` : message;
}

const columns: readonly Column<LinkRow>[] = [
  { title: 'FROM', cell: (row) => row.from },
  { title: 'TO', cell: (row) => row.to },
  {
    title: 'READY',
    cell: readyOf,
    tone: ({ ready }) => (ready === undefined ? 'dim' : ready ? 'good' : 'bad'),
  },
  { title: 'GATEWAY', cell: (row) => row.gateway ?? '' },
  { title: 'RTT-P50/P99', cell: rttOf },
  { title: 'LOSS', cell: (row) => formatShare(row.loss), tone: ({ loss }) => ((loss ?? 0) > 0 ? 'warn' : undefined) },
  { title: 'LOAD', cell: ({ load }) => (load === undefined ? '' : String(load)), wide: true },
  { title: 'SYNC-AGE', cell: (row) => formatAge(row.syncAgeMs) },
  { title: 'TRUST', cell: (row) => formatAge(row.trustExpiresInMs) },
  { title: 'FOR', cell: (row) => formatAge(row.forMs), wide: true },
  { title: 'MESSAGE', cell: messageOf },
];

/** `isthmus links` */
export function linksView(rows: readonly LinkRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `link/${row.from}/${row.to}`),
    text: (style) =>
      rows.length === 0 ? 'No links: no other cluster has a gateway yet.\n' : renderTable(columns, rows, style),
  };
}

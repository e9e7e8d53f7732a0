import type { ClusterRow } from '../../model/status.ts';
import { type Column, renderTable, type Tone } from '../table.ts';
import { formatAge } from '../text.ts';
import type { View } from '../view.ts';

function stateOf(row: ClusterRow): string {
  if (row.state !== 'active') return row.state;
  return row.self ? 'self' : row.freshness;
}

function toneOf(row: ClusterRow): Tone | undefined {
  if (row.state !== 'active' || row.freshness === 'dead') return 'bad';
  if (row.self || row.freshness === 'live') return 'good';
  return row.freshness === 'suspect' ? 'warn' : 'dim';
}

const columns: readonly Column<ClusterRow>[] = [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'STATE', cell: stateOf, tone: toneOf },
  { title: 'HEARD', cell: (row) => (row.self ? '' : formatAge(row.heardAgoMs)) },
  {
    title: 'REACHABLE',
    cell: (row) => (row.reachable === undefined ? '' : row.reachable ? 'True' : 'False'),
    tone: (row) => (row.reachable === false ? 'bad' : undefined),
    optional: true,
  },
  { title: 'SERVICES', cell: (row) => String(row.services) },
  { title: 'GATEWAYS', cell: (row) => String(row.gateways) },
  { title: 'REVISION', cell: (row) => (row.revision === undefined ? '' : String(row.revision)) },
  { title: 'EPOCH', cell: (row) => (row.epoch === undefined ? '' : String(row.epoch)), wide: true },
  { title: 'TRUST-DOMAIN', cell: (row) => row.trustDomain, wide: true },
  { title: 'MESSAGE', cell: (row) => row.message ?? '' },
];

/** `isthmus clusters` */
export function clustersView(rows: readonly ClusterRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `cluster/${row.cluster}`),
    text: (style) => (rows.length === 0 ? 'No cluster has joined yet.\n' : renderTable(columns, rows, style)),
  };
}

import type { GatewayRow } from '../../model/status.ts';
import { type Column, renderTable, type Tone } from '../table.ts';
import { formatAge } from '../text.ts';
import type { View } from '../view.ts';

function stateOf(row: GatewayRow): string {
  if (row.draining) return 'Draining';
  return row.ready === undefined ? 'Advertised' : row.ready ? 'Ready' : 'NotReady';
}

function toneOf(row: GatewayRow): Tone {
  if (row.draining) return 'warn';
  return row.ready === undefined ? 'dim' : row.ready ? 'good' : 'bad';
}

const columns: readonly Column<GatewayRow>[] = [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'INSTANCE', cell: (row) => row.instance },
  { title: 'ADDRESS', cell: (row) => row.address },
  { title: 'STATE', cell: stateOf, tone: toneOf },
  { title: 'IN-SYNC', cell: (row) => (row.inSync === undefined ? '' : row.inSync ? 'True' : 'False') },
  { title: 'ACTIVE', cell: (row) => (row.active === undefined ? '' : String(row.active)) },
  { title: 'IDENTITY', cell: (row) => formatAge(row.identityExpiresInMs) },
  { title: 'CONNECTED', cell: (row) => formatAge(row.connectedForMs), wide: true },
  { title: 'ROSTER', cell: (row) => (row.rosterSequence === undefined ? '' : String(row.rosterSequence)), wide: true },
  { title: 'VERSION', cell: (row) => row.version, wide: true },
  { title: 'MESSAGE', cell: (row) => row.message ?? '' },
];

/** `isthmus gateways` */
export function gatewaysView(rows: readonly GatewayRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `gateway/${row.cluster}/${row.instance}`),
    text: (style) => (rows.length === 0 ? 'No gateway is known yet.\n' : renderTable(columns, rows, style)),
  };
}

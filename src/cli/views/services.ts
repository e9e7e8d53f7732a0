import type { ServiceDetail, ServicePortStatus, ServiceRow, TargetRow } from '../../model/status.ts';
import { type Column, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean, formatMs, formatShare } from '../text.ts';
import type { View } from '../view.ts';

const serviceTones: Readonly<Record<ServiceRow['state'], Tone>> = {
  Active: 'good',
  Spill: 'warn',
  Failover: 'warn',
  Down: 'bad',
};

const targetTones: Readonly<Record<TargetRow['state'], Tone>> = {
  Active: 'good',
  Spill: 'warn',
  Standby: 'dim',
  Out: 'bad',
  Stale: 'warn',
};

function healthyOf({ healthy }: ServiceRow | TargetRow): string {
  return `${healthy.ready}/${healthy.total}`;
}

/** `80→20080`: service port and the listener through which this cluster reaches it. */
function portText({ port, importPort }: ServicePortStatus): string {
  return importPort === undefined ? String(port) : `${port}→${importPort}`;
}

const serviceColumns: readonly Column<ServiceRow>[] = [
  { title: 'SERVICE', cell: (row) => row.service },
  { title: 'PORTS', cell: (row) => row.ports.map(portText).join(',') },
  { title: 'HEALTHY', cell: healthyOf },
  { title: 'CLUSTERS', cell: (row) => row.clusters.join(',') },
  { title: 'EXPORTED', cell: (row) => (row.exported ? 'True' : 'False') },
  { title: 'STATE', cell: (row) => row.state, tone: (row) => serviceTones[row.state] },
  { title: 'MESSAGE', cell: (row) => row.message ?? '' },
];

const targetColumns: readonly Column<TargetRow>[] = [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'HEALTHY', cell: healthyOf },
  { title: 'SHARE', cell: (row) => formatShare(row.share) },
  { title: 'CONN/S', cell: (row) => formatMs(row.rate) },
  { title: 'SUCCESS', cell: (row) => formatShare(row.success) },
  { title: 'P50', cell: (row) => milliseconds(row.p50Ms), optional: true },
  { title: 'P99', cell: (row) => milliseconds(row.p99Ms), optional: true },
  { title: 'ACTIVE', cell: (row) => String(row.active), wide: true },
  { title: 'CONNECTIONS', cell: (row) => String(row.connections), wide: true },
  { title: 'FAILURES', cell: (row) => String(row.failures), wide: true },
  { title: 'STATE', cell: (row) => row.state, tone: (row) => targetTones[row.state] },
  { title: 'WHY', cell: (row) => row.why },
];

function milliseconds(ms: number | undefined): string {
  return ms === undefined ? '' : `${formatMs(ms)}ms`;
}

/** `isthmus services` */
export function servicesView(rows: readonly ServiceRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `service/${row.service}`),
    text: (style) =>
      rows.length === 0 ? 'No service is exported by any cluster yet.\n' : renderTable(serviceColumns, rows, style),
  };
}

/** `isthmus services <namespace>/<name>` */
export function serviceView(detail: ServiceDetail): View {
  return { data: detail, names: [`service/${detail.service}`], text: (style) => detailText(detail, style) };
}

/** `  type: east "ClusterSetIP", west "Headless"` */
function saidOf({ field, values }: ServiceDetail['conflicts'][number]): string[] {
  return [`  ${field}: ${values.map(({ cluster, value }) => `${cluster} "${value}"`).join(', ')}`];
}

function detailText(detail: ServiceDetail, style: TextStyle): string {
  const reached = detail.ports.filter(({ importPort }) => importPort !== undefined);
  const notes = [
    ...detail.conflicts.map(({ message }) => `Conflict: ${message}`),
    ...(style.wide ? detail.conflicts.flatMap(saidOf) : []),
    ...(style.wide ? reached.map((each) => `Port ${each.port} is reached here through port ${each.importPort}.`) : []),
  ];
  return renderTable(targetColumns, detail.targets, style) + notes.map((note) => `${clean(note)}\n`).join('');
}

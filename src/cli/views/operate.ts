import type {
  DrainChange,
  DrainRow,
  FailoverEvent,
  SimulatedServiceRow,
  SimulatedTargetRow,
  SimulationReport,
} from '../../model/policy-report.ts';
import { type Column, paint, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean, formatAge, formatShare } from '../text.ts';
import type { View } from '../view.ts';

type SimulationLine = SimulatedTargetRow & { readonly service: SimulatedServiceRow };

const standingTones: Readonly<Record<SimulatedServiceRow['after'], Tone>> = {
  Active: 'good',
  Spill: 'warn',
  Failover: 'warn',
  Down: 'bad',
};

const simulationColumns: readonly Column<SimulationLine>[] = [
  { title: 'SERVICE', cell: (row) => row.service.service },
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'NOW', cell: (row) => formatShare(row.before) },
  { title: 'THEN', cell: (row) => formatShare(row.after) },
  { title: 'CONNECTIONS', cell: carriedText, tone: (row) => (isOver(row) ? 'bad' : undefined), optional: true },
  { title: 'STATE', cell: (row) => row.service.after, tone: (row) => standingTones[row.service.after] },
  { title: 'WHY', cell: (row) => row.why },
];

/** `120/100 (120%)`, or what it would carry when nothing is rated. */
function carriedText({ carries, rated }: SimulationLine): string {
  if (carries === undefined) return '';
  if (rated === undefined) return String(carries);
  return rated === 0 ? `${carries}/0` : `${carries}/${rated} (${Math.round((carries / rated) * 100)}%)`;
}

function isOver({ carries = 0, rated = Number.POSITIVE_INFINITY }: SimulationLine): boolean {
  return carries > rated;
}

/** `isthmus simulate` */
export function simulationView(report: SimulationReport): View {
  return {
    data: report,
    names: report.services.map(({ service }) => `service/${service}`),
    text: (style) => simulationText(report, style),
  };
}

function simulationText(report: SimulationReport, style: TextStyle): string {
  const { from, supposed, services, nowhere, overloaded } = report;
  const lines = services.flatMap((service) =>
    service.targets.map((target): SimulationLine => ({ ...target, service })),
  );
  const head = `As seen from ${from}, with ${supposed.length === 0 ? 'nothing supposed' : supposed.join(', ')}:`;
  const notes = [
    ...services.flatMap(({ service, avoided }) => avoided.map((each) => `${service} stays out of ${each}`)),
    ...overloaded.map((each) => `above capacity: ${each}`),
    ...nowhere.map((each) => `nowhere to go: ${each}`),
  ];
  const verdict =
    nowhere.length > 0
      ? paint(`${nowhere.length} of ${services.length} services would have nowhere to go.`, 'bad', style)
      : paint(`Every service would be served.`, 'good', style);
  return `${clean(head)}\n${renderTable(simulationColumns, lines, style)}${notes.map((note) => `${clean(note)}\n`).join('')}${verdict}\n`;
}

const drainTones: Readonly<Record<DrainRow['state'], Tone>> = {
  Draining: 'warn',
  Drained: 'warn',
  Undraining: 'warn',
  Active: 'good',
  Refused: 'bad',
};

const drainColumns: readonly Column<DrainRow>[] = [
  { title: 'TARGET', cell: (row) => row.target },
  { title: 'STATE', cell: (row) => row.state, tone: (row) => drainTones[row.state] },
  { title: 'LEFT', cell: (row) => formatShare(row.left) },
  { title: 'REMAINING', cell: (row) => (row.remainingMs > 0 ? formatAge(row.remainingMs) : '') },
  { title: 'CONNECTIONS', cell: (row) => (row.active === undefined ? '' : String(row.active)) },
  { title: 'AGE', cell: (row) => formatAge(row.issuedAgoMs) },
  { title: 'BY', cell: (row) => row.by },
  { title: 'PUBLISHER', cell: (row) => row.publisher, wide: true },
  { title: 'MESSAGE', cell: (row) => row.message ?? '', optional: true },
];

/** `isthmus drain` without a target */
export function drainsView(rows: readonly DrainRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `drain/${row.target}`),
    text: (style) => (rows.length === 0 ? 'Nothing is drained.\n' : renderTable(drainColumns, rows, style)),
  };
}

/** `isthmus drain <target>` and `undrain` */
export function drainView(change: DrainChange): View {
  return {
    data: change,
    names: [`drain/${change.row.target}`],
    text: (style) =>
      `${simulationText(change.simulation, style)}\n${renderTable(drainColumns, [change.row], style)}${change.warnings
        .map((warning) => `${paint(`Warning: ${clean(warning)}`, 'bad', style)}\n`)
        .join('')}${change.preview ? 'Preview: nothing was changed. Add --yes to do it.\n' : ''}`,
  };
}

const failoverColumns: readonly Column<FailoverEvent>[] = [
  { title: 'AGE', cell: (row) => formatAge(row.agoMs) },
  { title: 'SERVICE', cell: (row) => row.service },
  { title: 'FROM', cell: (row) => row.from },
  { title: 'TO', cell: (row) => row.to, tone: (row) => standingTones[row.to] },
  { title: 'SHARES', cell: (row) => row.shares },
  { title: 'GATEWAYS', cell: (row) => row.gateways.join(','), wide: true },
  { title: 'WHY', cell: (row) => row.why },
];

/** `isthmus failover history` */
export function failoversView(events: readonly FailoverEvent[]): View {
  return {
    data: events,
    names: events.map(({ service }) => `service/${service}`),
    text: (style) =>
      events.length === 0
        ? 'No traffic has moved since this agent started.\n'
        : renderTable(failoverColumns, events, style),
  };
}

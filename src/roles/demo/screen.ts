/** The demo's status display: pure, from figures to lines. */

export interface ServingShare {
  readonly cluster: string;
  /** 0 to 1 of the requests of the last second. */
  readonly share: number;
}

export interface TrafficRow {
  readonly from: string;
  readonly service: string;
  readonly port: number;
  readonly served: readonly ServingShare[];
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly failed: number;
  readonly interrupted: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

export interface ClusterRow {
  readonly name: string;
  /** What is not well, in a few words; undefined = all is. */
  readonly problem: string | undefined;
  readonly services: readonly { readonly service: string; readonly ready: number; readonly total: number }[];
}

export interface LinkRow {
  readonly from: string;
  readonly to: string;
  readonly up: boolean;
  readonly rttMs: number | undefined;
}

export interface Screen {
  readonly elapsedMs: number;
  readonly hub: string;
  readonly clusters: readonly ClusterRow[];
  readonly traffic: readonly TrafficRow[];
  readonly links: readonly LinkRow[];
  readonly events: readonly string[];
}

export interface Paint {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
  /** `name` decides the colour, so that a cluster keeps its own. */
  readonly cluster: (text: string, name: string) => string;
}

const plainText = (text: string): string => text;
export const plain: Paint = { good: plainText, bad: plainText, dim: plainText, bold: plainText, cluster: plainText };

const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`;
const clusterColours = [36, 35, 33, 34, 32] as const;

export const coloured: Paint = {
  good: sgr(32, 39),
  bad: sgr(31, 39),
  dim: sgr(2, 22),
  bold: sgr(1, 22),
  cluster(text, name) {
    const colour = clusterColours[(name.codePointAt(0) ?? 0) % clusterColours.length] ?? 36;
    return sgr(colour, 39)(text);
  },
};

const barCells = 24;
/** One letter per cluster fills the bar, so that it reads without colour too. */
function bar(served: readonly ServingShare[]): string {
  let cells = '';
  for (const { cluster, share } of served) cells += (cluster[0] ?? '?').repeat(Math.round(share * barCells));
  return cells.slice(0, barCells).padEnd(barCells, '·');
}

/** Each cluster's letters in a colour of its own. */
function paintBar(cells: string, served: readonly ServingShare[], paint: Paint): string {
  return cells.replace(/(.)\1*/g, (run, letter: string) => {
    const index = served.findIndex(({ cluster }) => cluster.startsWith(letter));
    return index < 0 ? paint.dim(run) : paint.cluster(run, letter);
  });
}

function ms(value: number | undefined): string {
  if (value === undefined) return '-';
  return value < 10 ? `${value.toFixed(1)}ms` : `${Math.round(value)}ms`;
}

function duration(elapsedMs: number): string {
  const seconds = Math.floor(elapsedMs / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`;
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** All lines of the display, for a terminal. */
export function renderScreen(screen: Screen, paint: Paint): string[] {
  const lines = [
    `${paint.bold('isthmus demo')}  ${duration(screen.elapsedMs)}  ${paint.dim(`hub ${screen.hub}, mTLS between all gateways`)}`,
    '',
    ...clusterLines(screen.clusters, paint),
    '',
    ...trafficLines(screen.traffic, paint),
    '',
    ...linkLines(screen.links, paint),
  ];
  if (screen.events.length > 0) lines.push('', ...screen.events.map((event) => paint.dim(event)));
  return lines;
}

function clusterLines(clusters: readonly ClusterRow[], paint: Paint): string[] {
  const rows = clusters.map((cluster) => [
    cluster.name,
    cluster.services.map(({ service, ready, total }) => `${service} ${ready}/${total}`).join('  ') || '-',
  ]);
  const [head = '', ...body] = columns([['CLUSTER', 'SERVICES READY'], ...rows]);
  return [
    paint.bold(`  ${head}`),
    ...body.map((line, i) => {
      const problem = clusters[i]?.problem;
      return problem ? `${paint.bad('✗')} ${line}  ${paint.bad(problem)}` : `${paint.good('✓')} ${line}`;
    }),
  ];
}

function trafficLines(traffic: readonly TrafficRow[], paint: Paint): string[] {
  const rows = traffic.map((row) => [
    row.from,
    row.service,
    row.requestsPerSecond.toFixed(0),
    String(row.requests),
    String(row.failed),
    ms(row.p50Ms).padEnd(5),
    ms(row.p99Ms).padEnd(5),
    bar(row.served),
    // Last, so that nothing moves when it gets longer.
    row.served.map(({ cluster, share }) => `${cluster} ${Math.round(share * 100)}%`).join(' '),
  ]);
  const head = ['FROM', 'SERVICE', 'REQ/S', 'REQUESTS', 'FAILED', 'P50', 'P99', 'SERVED BY', ''];
  const [first = '', ...body] = columns([head, ...rows]);
  return [
    paint.bold(`  ${first}`),
    ...body.map((line, i) => {
      const row = traffic[i];
      if (!row || row.failed > 0) return paint.bad(`! ${line}`);
      const cells = bar(row.served);
      return `  ${line.replace(cells, paintBar(cells, row.served, paint))}`;
    }),
  ];
}

function linkLines(links: readonly LinkRow[], paint: Paint): string[] {
  const cells = links.map((link) => {
    const text = `${link.from} → ${link.to} ${link.up ? ms(link.rttMs) : 'down'}`;
    return link.up ? paint.good(text) : paint.bad(text);
  });
  return [paint.bold('  LINKS (RTT)'), `  ${cells.join('   ')}`];
}

/** One line for logs and pipes, where nothing can be redrawn. */
export function renderLine(screen: Screen): string {
  const parts = screen.traffic.map((row) => {
    const served =
      row.served.map(({ cluster, share }) => `${cluster} ${Math.round(share * 100)}%`).join(' ') || 'nobody';
    return `${row.from}→${row.service} ${row.requestsPerSecond.toFixed(0)}/s [${served}] failed ${row.failed} p50 ${ms(row.p50Ms)} p99 ${ms(row.p99Ms)}`;
  });
  const down = screen.links.filter((link) => !link.up).map((link) => `${link.from}→${link.to}`);
  const rtts = screen.links.flatMap((link) => (link.rttMs === undefined ? [] : [link.rttMs])).sort((a, b) => a - b);
  const links = down.length > 0 ? `links down: ${down.join(' ')}` : `links up, rtt ${ms(rtts[rtts.length >> 1])}`;
  return `${duration(screen.elapsedMs)}  ${parts.join('  ')}  ${links}`;
}

import type { DemoClusterRow, DemoStatus } from '../../model/status.ts';
import { type Column, renderTable } from '../table.ts';
import { clean, formatAge, plural } from '../text.ts';
import type { View } from '../view.ts';

const columns: readonly Column<DemoClusterRow>[] = [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  {
    title: 'HEALTHY',
    cell: ({ instances }) => `${instances.ready}/${instances.total}`,
    tone: ({ failed }) => (failed ? 'bad' : 'good'),
  },
  { title: 'GATEWAY', cell: (row) => row.gateway },
  { title: 'ENTRY', cell: (row) => row.entry ?? '' },
  { title: 'SERVER', cell: (row) => row.adminSocket },
];

/** `isthmus demo status`, and what `demo fail` and `demo restore` answer with. */
export function demoView(status: DemoStatus): View {
  const { requests, clusters } = status;
  return {
    data: status,
    names: clusters.map(({ cluster }) => `cluster/${cluster}`),
    text: (style) => {
      const sentence =
        `Demo of ${clean(status.service)} over ${clean(status.hub)}, running for ${formatAge(status.uptimeMs)}: ` +
        `${plural(requests.sent, 'request')}, ${requests.failed} failed, ${requests.interrupted} interrupted.`;
      return `${renderTable(columns, clusters, style)}\n${sentence}\n`;
    },
  };
}

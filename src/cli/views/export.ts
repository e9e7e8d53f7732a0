import type { ExportPreview, ExportPreviewRow } from '../../model/export-report.ts';
import { type Column, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean } from '../text.ts';
import type { View } from '../view.ts';

const tones: Readonly<Record<ExportPreviewRow['action'], Tone | undefined>> = {
  export: 'good',
  change: 'warn',
  withdraw: 'bad',
  unchanged: 'dim',
};

const columns: readonly Column<ExportPreviewRow>[] = [
  { title: 'SERVICE', cell: (row) => row.service },
  { title: 'ACTION', cell: (row) => row.action, tone: (row) => tones[row.action] },
  { title: 'EXPORTERS', cell: (row) => row.exporters.join(',') },
  { title: 'CONFLICTS', cell: (row) => [...new Set(row.conflicts.map(({ reason }) => reason))].join(',') },
  {
    title: 'ALLOWED',
    cell: (row) => (row.allowed ? 'True' : 'False'),
    tone: (row) => (row.allowed ? undefined : 'bad'),
  },
];

/** `isthmus export --plan` */
export function exportPreviewView(preview: ExportPreview): View {
  return {
    data: preview,
    names: preview.services.map(({ service }) => `service/${service}`),
    text: (style) => previewText(preview, style),
  };
}

function previewText({ cluster, services, ok }: ExportPreview, style: TextStyle): string {
  if (services.length === 0) return `${cluster} exports nothing, before and after.\n`;
  const notes = services.flatMap(({ service, allowed, conflicts, newConflicts }) => [
    ...(allowed
      ? []
      : [`${service}: the authority does not let ${cluster} export it; every member would leave it out.`]),
    ...conflicts.map(({ message }) => `${service}: ${newConflicts.includes(message) ? 'new: ' : ''}${message}`),
  ]);
  const verdict = ok ? 'Nothing new would be in conflict.' : 'This would be in conflict, or is not allowed.';
  return [renderTable(columns, services, style), ...notes.map((note) => `${clean(note)}\n`), `${verdict}\n`].join('');
}

import { stringify } from 'yaml';
import type {
  EffectiveReport,
  PolicyChange,
  PolicyChanges,
  PolicyDetail,
  PolicyDocument,
  PolicyRow,
  PolicyState,
} from '../../model/policy-report.ts';
import { diffLines } from '../diff.ts';
import { type Column, paint, renderTable, type Tone } from '../table.ts';
import { clean, formatAge } from '../text.ts';
import type { View } from '../view.ts';

const tones: Readonly<Record<PolicyState, Tone>> = {
  Accepted: 'good',
  Overridden: 'warn',
  Pending: 'warn',
  Elsewhere: 'dim',
  Ignored: 'bad',
  Rejected: 'bad',
};

const columns: readonly Column<PolicyRow>[] = [
  { title: 'POLICY', cell: (row) => row.policy },
  { title: 'PUBLISHER', cell: (row) => row.publisher },
  { title: 'TARGET', cell: (row) => row.target },
  { title: 'STATE', cell: (row) => row.state, tone: (row) => tones[row.state] },
  {
    title: 'APPLIED',
    cell: appliedText,
    tone: (row) => (row.applied.every(({ current }) => current) ? 'good' : 'warn'),
  },
  { title: 'AGE', cell: (row) => formatAge(row.ageMs) },
  { title: 'REVISION', cell: (row) => String(row.revision), wide: true },
  { title: 'FILE', cell: (row) => row.file ?? '', optional: true },
  { title: 'MESSAGE', cell: (row) => row.message ?? '' },
];

/** `3/3`, or `2/3 not south`. */
function appliedText({ applied }: PolicyRow): string {
  const behind = applied.filter(({ current }) => !current).map(({ cluster }) => cluster);
  const count = `${applied.length - behind.length}/${applied.length}`;
  return behind.length === 0 || behind.length === applied.length ? count : `${count} not ${behind.join(',')}`;
}

/** `isthmus policy list` */
export function policiesView(rows: readonly PolicyRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `policy/${row.policy}`),
    text: (style) =>
      rows.length === 0 ? 'Nobody publishes a policy: defaults hold.\n' : renderTable(columns, rows, style),
  };
}

/** `isthmus policy get`: documents as `apply` takes them. */
export function policyView(details: readonly PolicyDetail[]): View {
  const documents = details.map(({ document }) => document);
  return {
    data: documents.length === 1 ? documents[0] : documents,
    names: details.map((row) => `policy/${row.policy}`),
    text: () =>
      details
        .map((row) => {
          const state = `# ${row.publisher}: ${row.state}${row.message === undefined ? '' : `, ${row.message}`}`;
          return `${clean(state)}\n${clean(stringify(row.document))}`;
        })
        .join('---\n'),
  };
}

/** `isthmus policy effective` */
export function effectiveView(report: EffectiveReport): View {
  return {
    data: report,
    names: [`service/${report.service}`],
    text: (style) => {
      const fields = renderTable(
        [
          { title: 'FIELD', cell: (row) => row.field },
          { title: 'VALUE', cell: (row) => row.value },
          { title: 'ORIGIN', cell: (row) => row.origin },
        ],
        report.fields,
        style,
      );
      const more = [
        ...report.overridden.map(({ policy, field, by }) => `Overridden: ${field} of ${policy}, by ${by}`),
        ...report.access.map((line) => `Access: ${line}`),
        ...report.notes.map((line) => `Note: ${line}`),
      ];
      return fields + more.map((line) => `${clean(line)}\n`).join('');
    },
  };
}

/** `isthmus policy apply`, `delete` and `diff`. `diff`: shows what is different line by line. */
export function changesView({ changes, preview }: PolicyChanges, { diff }: { readonly diff: boolean }): View {
  return {
    data: { preview, changes },
    names: changes.map(({ policy }) => `policy/${policy}`),
    text: (style) =>
      changes
        .map((change) => {
          const lines = [`${change.policy} ${change.action}${preview ? ' (preview: nothing was written)' : ''}`];
          if (diff && change.action !== 'unchanged') {
            lines.push(
              ...diffLines(yamlOf(change.before), yamlOf(change.after)).map((line) =>
                paint(line, line.startsWith('+') ? 'good' : line.startsWith('-') ? 'bad' : undefined, style),
              ),
            );
          }
          lines.push(...change.notes.map((note) => `  note: ${note}`));
          return lines.map((line) => `${style.colour ? line : clean(line)}\n`).join('');
        })
        .join(''),
  };
}

function yamlOf(document: PolicyDocument | undefined): readonly string[] {
  return document ? clean(stringify(document)).trimEnd().split('\n') : [];
}

/** Commands that take changes back, one a line; empty when there is nothing to take back. */
export function undoOf(changes: readonly PolicyChange[]): readonly string[] {
  return changes.flatMap(({ policy, action, before }) => {
    if (action === 'created') return [`isthmus policy delete ${policy}`];
    if (before === undefined || action === 'unchanged') return [];
    return [`isthmus policy apply -f - <<'END'\n${clean(stringify(before))}END`];
  });
}

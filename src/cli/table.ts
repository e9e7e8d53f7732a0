import { clean } from './text.ts';

/** How a word should strike the eye. */
export type Tone = 'good' | 'warn' | 'bad' | 'dim';

/** How text is to be written. */
export interface TextStyle {
  /** Also the columns that are left out for width. */
  readonly wide: boolean;
  readonly headers: boolean;
  readonly colour: boolean;
}

export interface Column<Row> {
  /** Upper case, without spaces: what grep and awk look for. */
  readonly title: string;
  /** Empty = unknown, written as `-`. */
  readonly cell: (row: Row) => string;
  readonly tone?: (row: Row) => Tone | undefined;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
  /** Left out when every cell would be empty. */
  readonly optional?: boolean;
}

/** SGR codes (ECMA-48 §8.3.117). */
const tones: Readonly<Record<Tone, string>> = { good: '32', warn: '33', bad: '31', dim: '2' };
const gap = '  ';

/** Colours a text, if colours are wanted. */
export function paint(text: string, tone: Tone | undefined, style: Pick<TextStyle, 'colour'>): string {
  return style.colour && tone !== undefined ? `\u001b[${tones[tone]}m${text}\u001b[0m` : text;
}

/** A table as kubectl writes it: aligned columns, no lines, the last one unpadded, a newline after each row. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], style: TextStyle): string {
  const shown = columns
    .filter((column) => style.wide || !column.wide)
    .map((column) => ({ column, cells: rows.map((row) => cellText(column.cell(row))) }))
    .filter(({ column, cells }) => !column.optional || cells.some((cell) => cell !== '-'));
  const widths = shown.map(({ column, cells }) =>
    Math.max(style.headers ? column.title.length : 0, ...cells.map((cell) => lengthOf(cell))),
  );
  const line = (cellAt: (index: number) => { readonly text: string; readonly tone: Tone | undefined }): string =>
    shown
      .map((_, index) => {
        const { text, tone } = cellAt(index);
        const padding = index === shown.length - 1 ? '' : ' '.repeat((widths[index] ?? 0) - lengthOf(text));
        return paint(text, tone, style) + padding;
      })
      .join(gap);
  const lines = rows.map((row, rowIndex) =>
    line((index) => ({
      text: shown[index]?.cells[rowIndex] ?? '-',
      tone: shown[index]?.column.tone?.(row),
    })),
  );
  if (style.headers) lines.unshift(line((index) => ({ text: shown[index]?.column.title ?? '', tone: undefined })));
  return lines.map((each) => `${each}\n`).join('');
}

function cellText(text: string): string {
  return text === '' ? '-' : clean(text).replaceAll('\n', ' ');
}

/** Code points, which is columns for the scripts that names and messages are in. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}

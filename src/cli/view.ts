import { stringify } from 'yaml';
import type { OutputFormat } from './output-format.ts';
import type { TextStyle } from './table.ts';

/** An answer in every form in which it can be asked for. */
export interface View {
  /** As the server gave it. */
  readonly data: unknown;
  /** `<kind>/<name>` of each object in it. */
  readonly names: readonly string[];
  readonly text: (style: TextStyle) => string;
}

export interface RenderOptions {
  readonly format: OutputFormat;
  readonly headers: boolean;
  readonly colour: boolean;
}

/** The text to write for a view, its closing newline included. */
export function render(view: View, { format, headers, colour }: RenderOptions): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(view.data, null, 2)}\n`;
    case 'yaml':
      return stringify(view.data);
    case 'name':
      return view.names.map((name) => `${name}\n`).join('');
    case 'table':
    case 'wide':
      return view.text({ wide: format === 'wide', headers, colour });
  }
}

/** NO_COLOR (no-color.org: present and not empty) and a reader that is no terminal both mean plain text. */
export function wantsColour(isTTY: boolean | undefined, env: Readonly<Record<string, string | undefined>>): boolean {
  return isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

import type { Output } from '../../cli/role-io.ts';

/** Draws a block of lines over the one it drew before, and prints other text above it. */
export class LiveBlock {
  readonly #out: Output;
  #drawn = 0;

  constructor(out: Output) {
    this.#out = out;
    out.write('\u001b[?25l');
  }

  draw(lines: readonly string[]): void {
    const height = Math.max(1, (this.#out.rows ?? 40) - 1);
    const width = this.#out.columns ?? 120;
    const visible = lines.slice(0, height).map((line) => clip(line, width));
    this.#out.write(`${this.#home()}${visible.map((line) => `${line}\u001b[K\n`).join('')}`);
    this.#drawn = visible.length;
  }

  /** Leaves the last picture on the screen and gives the cursor back. */
  end(): void {
    this.#out.write('\u001b[?25h');
  }

  #home(): string {
    // Up to the first line of the block, then clear from there.
    return this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A\u001b[J`;
  }
}

/** Cuts to `width` visible characters; colour codes take no room. */
function clip(line: string, width: number): string {
  let visible = 0;
  let out = '';
  for (let i = 0; i < line.length && visible < width; i += 1) {
    if (line[i] === '\u001b') {
      const end = line.indexOf('m', i);
      if (end < 0) break;
      out += line.slice(i, end + 1);
      i = end;
    } else {
      out += line[i];
      visible += 1;
    }
  }
  return `${out}\u001b[0m`;
}

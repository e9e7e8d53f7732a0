import { join } from 'node:path';
import { messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { readFileIfPresent, writeFileDurably } from '../../runtime/io/files.ts';
import { HeldTable } from '../routes/held-table.ts';

const fileName = 'routes.json';
/** Between writes: a table that changes all the time is not written all the time. */
const writeEveryMs = 1000;

export interface TableFileOptions {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The last good table on disk, so that a gateway starts with its agent down. */
export class TableFile {
  readonly #options: TableFileOptions;
  readonly #path: string;
  #latest: HeldTable | undefined;
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(options: TableFileOptions) {
    this.#options = options;
    this.#path = join(options.stateDir, fileName);
  }

  /** What was stored, or undefined when there is nothing usable; a damaged file is logged and left to be replaced. */
  async load(self: ClusterName): Promise<HeldTable | undefined> {
    try {
      const bytes = await readFileIfPresent(this.#path);
      return bytes && HeldTable.decode(self, bytes);
    } catch (thrown) {
      this.#options.log.warn({ file: this.#path, reason: messageOf(thrown) }, 'stored routes are not used');
      return undefined;
    }
  }

  /** Writes `table` soon, unless a newer one comes first. */
  store(table: HeldTable): void {
    this.#latest = table;
    if (!this.#closed) this.#timer ??= this.#options.clock.schedule(writeEveryMs, () => void this.#write());
  }

  /** Writes what is still unwritten. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    const table = this.#latest;
    if (!table || this.#writing) return;
    this.#latest = undefined;
    this.#writing = writeFileDurably(this.#path, table.encode()).catch((thrown: unknown) => {
      this.#options.log.error({ file: this.#path, reason: messageOf(thrown) }, 'routes cannot be stored');
      this.#latest ??= table;
    });
    await this.#writing;
    this.#writing = undefined;
    this.#timer = undefined;
    if (this.#latest && !this.#closed) this.store(this.#latest);
  }
}

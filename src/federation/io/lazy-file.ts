import { messageOf } from '../../model/error.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { diskFiles, type StateFiles } from './state-files.ts';

export interface LazyFileOptions {
  readonly path: string;
  /** Default: the disk. */
  readonly files?: StateFiles;
  /** Asked for when it is time to write; undefined = nothing to keep. */
  readonly content: () => Uint8Array | string | undefined;
  /** Changes within so many ms are written together. */
  readonly delayMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A file that follows a state in memory, a little behind and never half written. */
export class LazyFile {
  readonly #options: LazyFileOptions;
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();
  #dirty = false;

  constructor(options: LazyFileOptions) {
    this.#options = options;
  }

  /** The state changed. */
  touch(): void {
    this.#dirty = true;
    this.#timer ??= this.#options.clock.schedule(this.#options.delayMs, () => void this.flush());
  }

  /** Writes what is not written yet. Never rejects: a failure is logged and the next change tries again. */
  flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    const { path, files = diskFiles, content, log } = this.#options;
    const data = content();
    if (data === undefined) return;
    try {
      await files.write(path, data);
    } catch (thrown) {
      log.warn({ path, reason: messageOf(thrown) }, 'state could not be written; it stays in memory');
    }
  }
}

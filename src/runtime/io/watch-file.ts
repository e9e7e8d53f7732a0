import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../../model/ports/clock.ts';

export interface WatchFileOptions {
  readonly clock: Clock;
  /** The file is another one than before, or is gone. It may be half written still: a later call will tell. */
  readonly onChange: () => void;
  /** Looked at this often whatever the operating system tells, in ms. Default 5000. */
  readonly pollMs?: number;
}

/** An editor writes, renames and syncs: what happens within so many ms is one change. */
const settleMs = 50;

/**
 * Tells when a file changes, however that is done: written in place, replaced by a rename, or a symbolic link in its
 * folder turned (as Kubernetes does). Notifications make it quick, polling makes it sure. The result ends it.
 */
export function watchFile(path: string, options: WatchFileOptions): () => void {
  const watcher = new FileWatch(path, options);
  watcher.start();
  return () => watcher.close();
}

class FileWatch {
  readonly #path: string;
  readonly #options: WatchFileOptions;
  #watcher: FSWatcher | undefined;
  #settle: Timer | undefined;
  #poll: Timer | undefined;
  #seen: string | undefined;
  #closed = false;

  constructor(path: string, options: WatchFileOptions) {
    this.#path = path;
    this.#options = options;
  }

  start(): void {
    try {
      this.#watcher = watch(dirname(this.#path), { persistent: false }, () => this.#stir());
      // The folder went, or the machine has no watches left: polling goes on.
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined;
    }
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    this.#settle?.cancel();
    this.#poll?.cancel();
  }

  #stir(): void {
    this.#settle ??= this.#options.clock.schedule(settleMs, () => {
      this.#settle = undefined;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    const { clock, onChange, pollMs = 5000 } = this.#options;
    const now = await identityOf(this.#path);
    if (this.#closed) return;
    this.#poll?.cancel();
    this.#poll = clock.schedule(pollMs, () => void this.#look());
    const changed = this.#seen !== undefined && this.#seen !== now;
    this.#seen = now;
    if (changed) onChange();
  }
}

async function identityOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}

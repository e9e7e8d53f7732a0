import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { LeaderElector, Leadership } from '../../model/ports/leader-elector.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import { sleep } from '../../runtime/sleep.ts';

export interface StateLockOptions {
  /** 0700; made if it is not there. */
  readonly directory: string;
  /** Of the lock file in it. */
  readonly name: string;
  readonly clock: Clock;
  /** Time between two attempts in ms. Default 100. */
  readonly retryMs?: number;
  /** Called once when the lock turns out to be another's, so that the wait can be explained. */
  readonly onWait?: () => void;
}

/** SQLITE_BUSY: somebody else holds the lock. */
const busy = 5;

/** For a replica that has no other: leads at once, and until it ends. */
export const alone: LeaderElector = {
  acquire: async () => ({ lost: new AbortController().signal, release: async () => undefined }),
};

/**
 * Leads whoever holds an exclusive lock on a file that all replicas see on this machine. SQLite takes it from the kernel, which gives it back
 * when the process ends in whatever way; Node itself has no file locks.
 */
export function createStateLock(options: StateLockOptions): LeaderElector {
  return {
    async acquire(signal: AbortSignal): Promise<Leadership> {
      await ensurePrivateDir(options.directory);
      const database = await lock(options, signal);
      const lost = new AbortController();
      return {
        lost: lost.signal,
        async release(): Promise<void> {
          if (lost.signal.aborted) return;
          lost.abort();
          database.close();
        },
      };
    },
  };
}

async function lock(options: StateLockOptions, signal: AbortSignal): Promise<DatabaseSync> {
  const path = join(options.directory, options.name);
  let waiting = false;
  for (;;) {
    if (signal.aborted) throw IsthmusError.from(signal.reason, 'cancelled');
    const database = tryLock(path);
    if (database) return database;
    if (!waiting) options.onWait?.();
    waiting = true;
    await sleep(options.clock, options.retryMs ?? 100, signal);
  }
}

/** Undefined when another holds it. @throws IsthmusError `unavailable` when the file cannot be used */
function tryLock(path: string): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return database;
  } catch (cause) {
    database?.close();
    if ((cause as { errcode?: number }).errcode === busy) return undefined;
    throw new IsthmusError('unavailable', `Cannot lock ${path}`, { cause });
  }
}

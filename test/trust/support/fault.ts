import type * as FsPromises from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { DatabaseSync, StatementSync } from 'node:sqlite';

/**
 * Loaded in front of a process that is to be killed: counts what it writes, in this thread, and kills the process right
 * after write number FAULT_AT. The program itself has no switch for this.
 */
const at = Number(process.env['FAULT_AT'] ?? Number.NaN);
let writes = 0;

function wrote(): void {
  writes += 1;
  if (writes === at) process.kill(process.pid, 'SIGKILL');
}

const sqlite = createRequire(import.meta.url)('node:sqlite') as {
  readonly DatabaseSync: typeof DatabaseSync;
  readonly StatementSync: typeof StatementSync;
};
// The methods are called on what they came from.
/* oxlint-disable typescript/unbound-method */
const { exec } = sqlite.DatabaseSync.prototype;
sqlite.DatabaseSync.prototype.exec = function faultyExec(sql): void {
  exec.call(this, sql);
  wrote();
};
const { run } = sqlite.StatementSync.prototype;
Object.defineProperty(sqlite.StatementSync.prototype, 'run', {
  value(this: StatementSync, ...values: Parameters<typeof run>) {
    const result = run.apply(this, values);
    wrote();
    return result;
  },
});
syncBuiltinESMExports();

/** Writes of files are counted in the threads that have no database, by the names that `files.ts` uses. */
const fs = createRequire(import.meta.url)('node:fs/promises') as typeof FsPromises;
const { open, rename, rm } = fs;
Object.assign(fs, {
  open: async (...given: Parameters<typeof open>) => {
    const file = await open(...given);
    wrote();
    return file;
  },
  rename: async (...given: Parameters<typeof rename>) => {
    await rename(...given);
    wrote();
  },
  rm: async (...given: Parameters<typeof rm>) => {
    await rm(...given);
    wrote();
  },
});
syncBuiltinESMExports();

import { type ChildProcess, spawn } from 'node:child_process';
import { type Ended, ended } from './ended.ts';

const bin = new URL('../../bin/isthmus.js', import.meta.url).pathname;

/** Runs the program in a folder of its own. */
export interface Isthmus {
  readonly start: (args: readonly string[], env?: Readonly<Record<string, string>>) => ChildProcess;
  readonly run: (args: readonly string[], env?: Readonly<Record<string, string>>) => Promise<Ended>;
}

/** Without the variables of whoever runs the tests, and with a temporary folder in which no demo runs. */
export function isthmusIn(folder: () => string): Isthmus {
  const start: Isthmus['start'] = (args, env = {}) => {
    const { PATH, NODE_COMPILE_CACHE, ISTHMUS_TEST_RUN } = process.env;
    return spawn(process.execPath, [bin, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: folder(),
      env: { PATH, NODE_COMPILE_CACHE, ISTHMUS_TEST_RUN, TMPDIR: folder(), ...env },
    });
  };
  return { start, run: (args, env) => ended(start(args, env)) };
}

/** Runs a check for each of many, a few at once. */
export async function each<T>(items: readonly T[], check: (item: T) => Promise<void>): Promise<void> {
  for (let first = 0; first < items.length; first += 4) {
    await Promise.all(items.slice(first, first + 4).map((item) => check(item)));
  }
}

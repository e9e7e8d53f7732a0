import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** USER_HZ: the same on every Linux. */
const ticksPerS = 100;

/** A program with its arguments, started on one core; undefined: on any. */
export function onCore(core: number | undefined, words: readonly string[]): readonly string[] {
  return core === undefined ? words : ['taskset', '-c', String(core), ...words];
}

/** Starts a program on one core, if any. `stdout`: the file that takes it; absent: nobody does. */
export async function pinned(
  core: number | undefined,
  words: readonly string[],
  { stdout }: { readonly stdout?: string } = {},
): Promise<ChildProcess> {
  const out = stdout === undefined ? 'ignore' : openSync(stdout, 'a');
  try {
    const [program = '', ...rest] = onCore(core, words);
    const child = spawn(program, rest, { stdio: ['ignore', out, 'inherit'] });
    await once(child, 'spawn');
    return child;
  } finally {
    if (typeof out === 'number') closeSync(out);
  }
}

/** Waits until something listens there. */
export async function accepts(port: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await sleep(20);
  }
  throw new Error(`Nothing listens on port ${port}`);
}

/** Resolves when it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Time on a processor so far, in the program and in the kernel for it, ms. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind the name, which may hold anything: state is the third field, user and system time are 14 and 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerS;
}

/** Resident bytes. */
export function rssOf(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kb ?? 0) * 1024;
}

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { onCore } from '../program.ts';

const run = promisify(execFile);
const script = fileURLToPath(new URL('wrk-report.lua', import.meta.url));

export interface WrkResult {
  readonly requestsPerS: number;
  readonly bytesPerS: number;
  readonly p99Ms: number;
  /** Connects, reads, writes, time-outs and statuses that failed. */
  readonly errors: number;
}

export interface WrkOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** Absent: any. */
  readonly core?: number;
  /** A new connection for every request. */
  readonly close?: boolean;
}

/** wrk 4: one thread, closed loop. */
export async function wrk(options: WrkOptions): Promise<WrkResult> {
  const { url, connections, seconds, core, close = false } = options;
  const shape = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script];
  const headers = close ? ['-H', 'Connection: close'] : [];
  const [program = '', ...words] = onCore(core, ['wrk', ...shape, ...headers, url]);
  const { stdout } = await run(program, words);
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`wrk printed no summary:\n${stdout}`);
  return JSON.parse(line) as WrkResult;
}

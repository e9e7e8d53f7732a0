import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface H2loadOptions {
  /** Whom it loads, for the error. */
  readonly to: string;
  /** 0 to 1: this part of the requests may fail. Default 0. */
  readonly mayFail?: number;
  readonly url: string;
  readonly core: number;
  readonly seconds: number;
  readonly connections: number;
  /** Requests in progress on each connection. Default 1. */
  readonly streams?: number;
  /** HTTP/1.1 instead of HTTP/2. */
  readonly h1?: boolean;
  /** Of all connections together, evenly in time; absent: as fast as answers come. */
  readonly ratePerS?: number;
  /** A file that every request sends, as a call of gRPC. */
  readonly callBody?: string;
  /** For its log. */
  readonly dir: string;
}

export interface H2loadResult {
  readonly requestsPerS: number;
  /** From sending a request to the end of its response. */
  readonly p99Ms: number;
}

/** h2load of nghttp2: one thread. @throws Error when a request fails */
export async function h2load(options: H2loadOptions): Promise<H2loadResult> {
  const {
    to,
    mayFail = 0,
    url,
    core,
    seconds,
    connections,
    streams = 1,
    h1 = false,
    ratePerS,
    callBody,
    dir,
  } = options;
  const log = join(dir, 'h2load.log');
  rmSync(log, { force: true });
  const shape = ['-t1', `-c${connections}`, `-m${streams}`, `-D${seconds}`, `--log-file=${log}`];
  const { stdout } = await run('taskset', [
    '-c',
    String(core),
    'h2load',
    ...shape,
    ...(h1 ? ['--h1'] : []),
    ...(ratePerS === undefined ? [] : [`--rps=${(ratePerS / connections).toFixed(3)}`]),
    ...(callBody === undefined ? [] : ['-d', callBody, '-H', 'content-type: application/grpc', '-H', 'te: trailers']),
    url,
  ]);
  const counts = /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(stdout)?.slice(1).map(Number);
  const rate = /finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1];
  if (!counts || rate === undefined) throw new Error(`h2load printed no summary:\n${stdout}`);
  const [succeeded = 0, ...failed] = counts;
  const failures = failed.reduce((sum, count) => sum + count, 0);
  if (failures > succeeded * mayFail) throw new Error(`${to}: requests failed:\n${stdout}`);
  return { requestsPerS: Number(rate), p99Ms: p99Of(log) };
}

/** Lines of start, status and duration, the latter in µs. */
function p99Of(log: string): number {
  const durations = readFileSync(log, 'latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.slice(line.lastIndexOf('\t') + 1)))
    .sort((a, b) => a - b);
  return (durations[Math.floor(durations.length * 0.99)] ?? Number.NaN) / 1000;
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCa } from '../test/gateway/support/identities.ts';
import { isthmus, isthmusPair } from './http/gateways.ts';
import { h2load } from './http/h2load.ts';
import { backend, type Contestant, direct, haproxy, haproxyPair, nginxProxy, type Stage } from './http/peers.ts';
import { cpuMsOf } from './program.ts';
import { type BenchRow, type RatioTarget, rowOf, withRatioTarget } from './row.ts';
import { wrk } from './tunnel/wrk.ts';

/**
 * Requests, told apart: client → gateway → server beside HAProxy in HTTP mode and nginx; client → gateway → mTLS →
 * gateway → server beside a pair of HAProxy; calls of gRPC beside nginx and HAProxy. Whoever is measured runs on core 1,
 * the load and the server (nginx, which answers by itself) on core 0.
 */
export const needs: readonly string[] = ['haproxy', 'nginx', 'wrk', 'h2load', 'taskset', 'openssl'];

export interface HttpBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Only these rows. */
  readonly only?: readonly string[];
  readonly nodeArguments?: readonly string[];
}

const contestantCore = 1;
const loadCore = 0;
const connections = 64;
const callConnections = 16;
const callStreams = 4;
/** Equal load: this part of what the slowest has carried in the same round. */
const ratePart = 0.5;
/** Code is compiled as it gets hot, by threads that share the core with it: a tail of its own until that is over. */
const warmUpSeconds = 8;

interface Scenario {
  readonly contestants: readonly ((stage: Stage) => Promise<Contestant>)[];
  readonly h2: boolean;
  readonly logs: boolean;
  /** Rows: requests/s, 99th percentile and CPU of one request as fast as answers come; 99th percentile at equal load. */
  readonly rps: string;
  readonly p99: string;
  readonly cpu: string;
  readonly p99AtRate?: string;
}

const single = [isthmus, haproxy, nginxProxy, async (stage: Stage) => direct(stage.backendPort)];
const scenarios: readonly Scenario[] = [
  {
    contestants: single,
    h2: false,
    logs: false,
    rps: 'rps',
    p99: 'p99_ms',
    cpu: 'cpu_us',
    p99AtRate: 'p99_at_rate_ms',
  },
  {
    contestants: [isthmusPair, haproxyPair],
    h2: false,
    logs: false,
    rps: 'pair_rps',
    p99: 'pair_p99_ms',
    cpu: 'pair_cpu_us',
    p99AtRate: 'pair_p99_at_rate_ms',
  },
  {
    contestants: [isthmus, nginxProxy, haproxy, async (stage: Stage) => direct(stage.backendPort)],
    h2: true,
    logs: false,
    rps: 'grpc_rps',
    p99: 'grpc_p99_ms',
    cpu: 'grpc_cpu_us',
    p99AtRate: 'grpc_p99_at_rate_ms',
  },
  {
    contestants: single.slice(0, 3),
    h2: false,
    logs: true,
    rps: 'logged_rps',
    p99: 'logged_p99_ms',
    cpu: 'logged_cpu_us',
  },
];

const targets: Readonly<Record<string, RatioTarget>> = {
  rps: { peer: 'haproxy', atLeast: 0.6 },
  p99_ms: { peer: 'haproxy', atMost: 1.5 },
  p99_at_rate_ms: { peer: 'haproxy', atMost: 1.5 },
  pair_rps: { peer: 'haproxy', atLeast: 0.6 },
  pair_p99_ms: { peer: 'haproxy', atMost: 1.5 },
  pair_p99_at_rate_ms: { peer: 'haproxy', atMost: 1.5 },
};

type Figures = Record<string, Record<string, number[]>>;

export async function run(options: HttpBenchOptions): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  const ca = createTestCa();
  const wanted = (what: string | undefined): boolean =>
    what !== undefined && (options.only === undefined || options.only.includes(what));
  const figures: Figures = {};
  const server = await backend(dir, loadCore);
  try {
    for (const scenario of scenarios) {
      if (![scenario.rps, scenario.p99, scenario.cpu, scenario.p99AtRate].some(wanted)) continue;
      const { h2, logs } = scenario;
      const backendPort = h2 ? server.h2Port : server.h1Port;
      const nodeArguments = options.nodeArguments ?? [];
      const stage: Stage = { ca, dir, core: contestantCore, backendPort, h2, logs, nodeArguments };
      await play(scenario, stage, { ...options, figures, atRate: wanted(scenario.p99AtRate) });
    }
  } finally {
    await server.close();
    ca.close();
    rmSync(dir, { recursive: true, force: true });
  }
  return Object.entries(figures)
    .filter(([what]) => wanted(what))
    .map(([what, of]) => {
      const unit = what.endsWith('_ms') ? 'ms' : what.endsWith('_us') ? 'us' : '1/s';
      return withRatioTarget(rowOf({ bench: 'http', what, unit }, of), targets[what]);
    });
}

interface Playing {
  readonly rounds: number;
  readonly seconds: number;
  readonly atRate: boolean;
  readonly figures: Figures;
}

async function play(scenario: Scenario, stage: Stage, { rounds, seconds, atRate, figures }: Playing): Promise<void> {
  const { rps, p99, cpu, p99AtRate } = scenario;
  const contestants: Contestant[] = [];
  const note = (what: string, { name }: Contestant, value: number): void => {
    const row = (figures[what] ??= {});
    (row[name] ??= []).push(value);
  };
  try {
    for (const start of scenario.contestants) contestants.push(await start(stage));
    for (const contestant of contestants) await closedLoop(contestant, stage, warmUpSeconds);
    for (let round = 0; round < rounds; round += 1) {
      // Another order in each round, so that nobody always runs on a warmer or colder machine.
      const order = contestants.map((_, index) => contestants[(index + round) % contestants.length]);
      const rates: number[] = [];
      for (const contestant of order) {
        if (!contestant) continue;
        const before = cpuMs(contestant);
        const { requestsPerS, p99Ms } = await closedLoop(contestant, stage, seconds);
        const usedMs = cpuMs(contestant) - before;
        rates.push(requestsPerS);
        note(rps, contestant, requestsPerS);
        note(p99, contestant, p99Ms);
        if (contestant.pids.length > 0) note(cpu, contestant, (usedMs * 1000) / (requestsPerS * seconds));
      }
      if (!atRate || p99AtRate === undefined) continue;
      const ratePerS = Math.min(...rates) * ratePart;
      for (const contestant of order) {
        if (contestant)
          note(p99AtRate, contestant, (await atEqualRate(contestant, stage, { seconds, ratePerS })).p99Ms);
      }
    }
  } finally {
    await Promise.all(contestants.map((contestant) => contestant.close()));
  }
}

function cpuMs({ pids }: Contestant): number {
  return pids.reduce((sum: number, pid) => sum + cpuMsOf(pid ?? 0), 0);
}

interface Load {
  readonly requestsPerS: number;
  readonly p99Ms: number;
}

/** As many requests in progress as there are connections, or calls; the next begins when one is answered. */
async function closedLoop({ name, port, mayFail = 0 }: Contestant, { dir, h2 }: Stage, seconds: number): Promise<Load> {
  const core = loadCore;
  if (h2) return h2load({ to: name, mayFail, url: callUrl(port), core, seconds, dir, ...calls(dir) });
  const result = await wrk({ url: `http://127.0.0.1:${port}/`, connections, seconds, core });
  if (result.errors > 0) throw new Error(`${name}: ${result.errors} of wrk's requests failed`);
  return result;
}

/** wrk knows no rate; h2load does, and speaks HTTP/1.1 too. */
function atEqualRate(
  { name: to, port, mayFail = 0 }: Contestant,
  { dir, h2 }: Stage,
  load: { readonly seconds: number; readonly ratePerS: number },
): Promise<Load> {
  const core = loadCore;
  if (h2) return h2load({ to, mayFail, url: callUrl(port), core, dir, ...load, ...calls(dir) });
  return h2load({ to, url: `http://127.0.0.1:${port}/`, core, dir, ...load, connections, h1: true });
}

function callUrl(port: number): string {
  return `http://127.0.0.1:${port}/shop.Web/Get`;
}

/** One message of two bytes. */
function calls(dir: string): { connections: number; streams: number; callBody: string } {
  const callBody = join(dir, 'call');
  writeFileSync(callBody, Buffer.from([0, 0, 0, 0, 2, 8, 1]));
  return { connections: callConnections, streams: callStreams, callBody };
}

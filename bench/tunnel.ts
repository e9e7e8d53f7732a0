import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestCa } from '../test/gateway/support/identities.ts';
import { type BenchRow, rowOf } from './row.ts';
import { type Contestant, direct, haproxyPair, isthmusPair, nginx } from './tunnel/contestants.ts';
import { holdingBackend, holdingClients } from './tunnel/idle.ts';
import { wrk } from './tunnel/wrk.ts';

/**
 * client → gateway → mTLS → gateway → server, beside a pair of HAProxy that does the same, in TCP mode. Each pair runs
 * as two processes on core 1; wrk and nginx on core 0.
 */
export const needs: readonly string[] = ['haproxy', 'nginx', 'wrk', 'taskset', 'openssl'];

export interface TunnelBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Only these rows. */
  readonly only?: readonly string[];
  readonly nodeArguments?: readonly string[];
}

const pairCore = 1;
const loadCore = 0;
const keptConnections = 64;
const newConnections = 64;
const bulkStreams = 4;
/** Of HAProxy's 9,500, two descriptors each; enough that what a process grows by once does not count. */
const idleConnections = 8000;
const idleRounds = 3;

type Figures = Record<string, number[]>;

export async function run(options: TunnelBenchOptions): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  const ca = createTestCa();
  const wanted = (what: string): boolean => options.only === undefined || options.only.includes(what);
  try {
    const stage = { ca, dir, core: pairCore, nodeArguments: options.nodeArguments ?? [] };
    const rows: BenchRow[] = [];
    if (['kept_rps', 'kept_p99_ms', 'new_conns_per_s', 'bulk_gbps'].some(wanted)) {
      rows.push(...(await traffic(stage, options, wanted)));
    }
    if (wanted('idle_conn_kb')) rows.push(await idle(stage));
    return rows.filter(({ what }) => wanted(what));
  } finally {
    ca.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

type StageWithoutBackend = Omit<Parameters<typeof isthmusPair>[0], 'backendPort'>;

async function traffic(
  stage: StageWithoutBackend,
  options: TunnelBenchOptions,
  wanted: (what: string) => boolean,
): Promise<BenchRow[]> {
  const { seconds, rounds } = options;
  const backend = await nginx(stage.dir, loadCore);
  const contestants: Contestant[] = [direct(backend.port)];
  const figures: Record<string, Figures> = {};
  const note = (what: string, name: string, value: number): void => {
    const row = (figures[what] ??= {});
    (row[name] ??= []).push(value);
  };
  try {
    const full = { ...stage, backendPort: backend.port };
    contestants.push(await isthmusPair(full), await haproxyPair(full, false), await haproxyPair(full, true));
    for (let round = 0; round < rounds; round += 1) {
      // Another order in each round, so that nobody always runs on a warmer or colder machine.
      const order = contestants.map((_, index) => contestants[(index + round) % contestants.length]);
      for (const contestant of order) {
        if (contestant) await measure(contestant, seconds, wanted, note);
      }
    }
    const unit: Record<string, string> = {
      kept_rps: '1/s',
      kept_p99_ms: 'ms',
      new_conns_per_s: '1/s',
      bulk_gbps: 'Gbit/s',
    };
    return Object.entries(figures).map(([what, of]) => rowOf({ bench: 'tunnel', what, unit: unit[what] ?? '' }, of));
  } finally {
    await Promise.all(contestants.map((contestant) => contestant.close()));
    await backend.close();
  }
}

async function measure(
  { name, port }: Contestant,
  seconds: number,
  wanted: (what: string) => boolean,
  note: (what: string, name: string, value: number) => void,
): Promise<void> {
  const common = { seconds, core: loadCore };
  const url = `http://127.0.0.1:${port}/`;
  const load = async (more: { connections: number; path?: string; close?: boolean }): ReturnType<typeof wrk> => {
    const { path = '', ...rest } = more;
    const result = await wrk({ ...common, ...rest, url: `${url}${path}` });
    if (result.errors > 0) throw new Error(`${name}: ${result.errors} of wrk's requests failed`);
    return result;
  };
  if (wanted('kept_rps') || wanted('kept_p99_ms')) {
    const kept = await load({ connections: keptConnections });
    note('kept_rps', name, kept.requestsPerS);
    note('kept_p99_ms', name, kept.p99Ms);
  }
  if (wanted('new_conns_per_s')) {
    note('new_conns_per_s', name, (await load({ connections: newConnections, close: true })).requestsPerS);
  }
  if (wanted('bulk_gbps')) {
    const bulk = await load({ connections: bulkStreams, path: 'bulk' });
    note('bulk_gbps', name, (bulk.bytesPerS * 8) / 1e9);
  }
}

/** Fresh processes in each round, since memory that a process has once had it rarely gives back. */
async function idle(stage: StageWithoutBackend): Promise<BenchRow> {
  const figures: Figures = {};
  const backend = await holdingBackend(loadCore);
  try {
    for (let round = 0; round < idleRounds; round += 1) {
      for (const start of [isthmusPair, (full: Parameters<typeof isthmusPair>[0]) => haproxyPair(full, false)]) {
        const contestant = await start({ ...stage, backendPort: backend.port });
        try {
          // The first connections bring in code and pools that all share.
          const warm = await holdingClients(loadCore, contestant.port, 100);
          const before = await contestant.rssBytes();
          const clients = await holdingClients(loadCore, contestant.port, idleConnections);
          await sleep(1000);
          const after = await contestant.rssBytes();
          (figures[contestant.name] ??= []).push((after - before) / clients.opened / 1024);
          if (clients.opened !== idleConnections) throw new Error(`Only ${clients.opened} connections could be opened`);
          await clients.close();
          await warm.close();
        } finally {
          await contestant.close();
        }
      }
    }
  } finally {
    await backend.close();
  }
  return rowOf({ bench: 'tunnel', what: 'idle_conn_kb', unit: 'KiB' }, figures);
}

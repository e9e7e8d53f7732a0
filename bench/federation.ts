import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigClient } from '../src/gateway/io/config-client.ts';
import { parseServiceKey, type ServiceKey } from '../src/model/names.ts';
import type { RouteTable } from '../src/model/route.ts';
import { AgentUnderTest } from './federation/agent.ts';
import { type MockCluster, put, Stage } from './federation/stage.ts';
import { type BenchRow, rowOf, withTarget } from './row.ts';

/**
 * The agent role as a process of its own, a private Redis, and members that join a real authority and really seal what
 * they publish. Propagation is from the call that publishes to the table of a gateway of another cluster.
 */
export const needs: readonly string[] = ['redis-server'];

export interface FederationBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Only these rows. */
  readonly only?: readonly string[];
}

const propagation = { clusters: 50, services: 200, changesPerSecond: 20 };
const resync = { clusters: 100, services: 1000 };
const churnPerSecond = 1000;
/** The kernel counts in hundredths of a second. */
const idleMs = 5000;
/** A cold start with 100,000 services takes seconds; memory at its end scatters by 20 MB. */
const resyncRounds = 3;

const propagationRows = ['propagation_p50_ms', 'propagation_p99_ms', 'idle_cpu_percent'];
const churnRows = ['churn_propagation_p50_ms', 'churn_propagation_ratio', 'churn_rss_growth_mb', 'churn_cpu_percent'];
const resyncRows = ['resync_100x1000_s', 'agent_rss_mb_100x1000'];

export async function run({ rounds, seconds, only }: FederationBenchOptions): Promise<BenchRow[]> {
  const wants = (rows: readonly string[]): boolean => rows.some((row) => only === undefined || only.includes(row));
  const figures: Record<string, number[]> = {};
  const stage = await Stage.open();
  try {
    const agent = await AgentUnderTest.join(stage);
    try {
      if (wants([...propagationRows, ...churnRows])) await spread(stage, agent, { figures, rounds, seconds });
      if (wants(resyncRows)) await startCold(stage, agent, figures);
    } finally {
      await agent.stop();
    }
  } finally {
    await stage.close();
  }
  return Object.entries(figures)
    .filter(([what]) => only === undefined || only.includes(what))
    .map(([what, values]) =>
      withTarget(rowOf({ bench: 'federation', what, unit: unitOf(what) }, { isthmus: values }), targets[what]),
    );
}

/** No figure should be more. */
const targets: Readonly<Record<string, number>> = {
  propagation_p50_ms: 5,
  propagation_p99_ms: 25,
  churn_propagation_ratio: 2,
  churn_rss_growth_mb: 40,
  idle_cpu_percent: 1,
  resync_100x1000_s: 10,
  agent_rss_mb_100x1000: 400,
};

interface Measuring {
  readonly figures: Record<string, number[]>;
  readonly rounds: number;
  readonly seconds: number;
}

async function spread(stage: Stage, agent: AgentUnderTest, { figures, rounds, seconds }: Measuring): Promise<void> {
  const mocks = await stage.mocks(propagation.clusters, propagation.services);
  await agent.startCold(propagation.clusters * propagation.services);
  await using gateway = await agent.gateway();
  await tableOf(gateway, ({ services }) => services.size >= propagation.clusters * propagation.services);
  await sleep(2000);
  await changes(mocks, gateway, 1);
  for (let round = 0; round < rounds; round += 1) {
    const calm = await changes(mocks, gateway, seconds);
    note(figures, 'propagation_p50_ms', quantile(calm, 0.5));
    note(figures, 'propagation_p99_ms', quantile(calm, 0.99));
    const before = await agent.rssMb();
    const [storming = mocks[0], ...others] = mocks;
    const end = storming && storm(storming);
    const [stormy, cpuPercent] = await Promise.all([
      changes(others, gateway, seconds),
      agent.cpuPercent(seconds * 1000),
    ]);
    await end?.();
    // Beside the idle figure: shows that this way of measuring sees work.
    note(figures, 'churn_cpu_percent', cpuPercent);
    note(figures, 'churn_propagation_p50_ms', quantile(stormy, 0.5));
    note(figures, 'churn_propagation_ratio', quantile(stormy, 0.5) / quantile(calm, 0.5));
    note(figures, 'churn_rss_growth_mb', (await agent.rssMb()) - before);
  }
  await sleep(2000);
  for (let round = 0; round < rounds; round += 1) {
    note(figures, 'idle_cpu_percent', await agent.cpuPercent(Math.max(seconds * 1000, idleMs)));
  }
  await agent.stop();
}

async function startCold(stage: Stage, agent: AgentUnderTest, figures: Record<string, number[]>): Promise<void> {
  await stage.mocks(resync.clusters, resync.services);
  for (let round = 0; round < resyncRounds; round += 1) {
    note(figures, 'resync_100x1000_s', (await agent.startCold(resync.clusters * resync.services)) / 1000);
    {
      // An agent serves gateways: what it holds for one is part of what it needs.
      await using gateway = await agent.gateway();
      await tableOf(gateway, ({ services }) => services.size >= resync.clusters * resync.services);
      await sleep(3000);
      note(figures, 'agent_rss_mb_100x1000', await agent.rssMb());
    }
    await agent.stop();
  }
}

/** Publishes changes at an even pace, half of them new services, and gives the ms until each was in the table. */
async function changes(mocks: readonly MockCluster[], gateway: ConfigClient, seconds: number): Promise<number[]> {
  const waits = new Map<ServiceKey, { readonly instances: number; readonly began: number }>();
  const took: number[] = [];
  const arrived = ({ services }: RouteTable): void => {
    for (const [key, { instances, began }] of waits) {
      if (services.get(key)?.targets[0]?.capacity !== instances) continue;
      took.push(performance.now() - began);
      waits.delete(key);
    }
  };
  const end = gateway.table.subscribe(arrived);
  const count = seconds * propagation.changesPerSecond;
  const periodMs = 1000 / propagation.changesPerSecond;
  for (let n = 0; n < count; n += 1) {
    const mock = mocks[Math.floor(Math.random() * mocks.length)] as MockCluster;
    serial += 1;
    const service = n % 2 === 0 ? `new${serial}` : `s${Math.floor(Math.random() * propagation.services)}`;
    put(mock, service, serial);
    waits.set(parseServiceKey(`${mock.name}/${service}`), { instances: serial, began: performance.now() });
    mock.publish();
    await sleep(periodMs);
  }
  for (let turn = 0; turn < 200 && waits.size > 0; turn += 1) await sleep(10);
  end();
  if (waits.size > 0)
    throw new Error(`${waits.size} of ${count} changes did not arrive: ${[...waits.keys()].join(' ')}`);
  return took;
}

let serial = 1;

/** 1,000 changes a second of one cluster, until ended. */
function storm(mock: MockCluster): () => Promise<void> {
  let n = 0;
  let going = true;
  const running = (async () => {
    const began = performance.now();
    while (going) {
      const due = ((performance.now() - began) / 1000) * churnPerSecond;
      for (; n < due; n += 1) {
        serial += 1;
        put(mock, `s${n % propagation.services}`, serial);
        mock.publish();
      }
      await sleep(1);
    }
  })();
  return async () => {
    going = false;
    await running;
  };
}

function tableOf(gateway: ConfigClient, accept: (table: RouteTable) => boolean): Promise<void> {
  return new Promise((resolve) => {
    if (accept(gateway.table.current)) return resolve();
    const end = gateway.table.subscribe((table) => {
      if (!accept(table)) return;
      end();
      resolve();
    });
  });
}

function note(figures: Record<string, number[]>, what: string, value: number): void {
  (figures[what] ??= []).push(value);
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

function unitOf(what: string): string {
  if (what.endsWith('_ms')) return 'ms';
  if (what.endsWith('_s')) return 's';
  if (what.includes('_mb')) return 'MB';
  return what.endsWith('_percent') ? '%' : '1';
}

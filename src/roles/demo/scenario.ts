import { IsthmusError } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { sleep } from '../../runtime/sleep.ts';
import type { DemoCluster } from './cluster.ts';
import { type DemoFederation, east, web, west } from './federation.ts';
import { refusesStrangers } from './stranger.ts';
import { Traffic, type TrafficCounts } from './traffic.ts';

/** The last line of `demo --scenario failover --json`. */
export interface ScenarioResult {
  readonly scenario: 'failover';
  readonly clusters: number;
  readonly hub: string;
  /** Every gateway hung up on a client without a certificate. */
  readonly mtls: boolean;
  readonly requests: { readonly sent: number; readonly failed: number; readonly interrupted: number };
  readonly failover: {
    /** From the kill until the first request that would have gone there was served elsewhere; the slower of two kills. */
    readonly detectMs: number;
    /** From the kill until each client has been served elsewhere and the instance has no share; the slower of two. */
    readonly recoverMs: number;
  };
}

const concurrency = 16;
const steadyMs = 1500;
const pollMs = 2;
const detectTimeoutMs = 20_000;
const returnTimeoutMs = 12_000;

export interface ScenarioContext {
  readonly federation: DemoFederation;
  readonly hubName: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Tells a person what happens. */
  readonly tell: (line: string) => void;
}

interface Outage {
  readonly detectMs: number;
  readonly recoverMs: number;
}

/** Kills west's own instance, then east's, brings both back, under traffic from west that must not notice. */
export async function failoverScenario(context: ScenarioContext): Promise<ScenarioResult> {
  const { federation, hubName, clock, tell } = context;
  const caller = federation.cluster(west);
  const traffic = startTraffic(caller, clock);
  let outages: readonly Outage[];
  try {
    traffic.start();
    tell(`traffic from west to ${web}: ${concurrency} clients that do not retry`);
    await until(context, () => traffic.counts.succeeded >= concurrency * 10, {
      what: 'the first answers',
      timeoutMs: 30_000,
    });
    await sleep(clock, steadyMs, context.signal);
    const first = await kill(context, { traffic, victim: west });
    await sleep(clock, steadyMs, context.signal);
    const second = await kill(context, { traffic, victim: east });
    await sleep(clock, steadyMs, context.signal);
    await bringBack(context);
    await sleep(clock, steadyMs, context.signal);
    outages = [first, second];
  } finally {
    await traffic.stop();
  }
  for (const error of traffic.errors) tell(`failed: ${error}`);
  const { sent, failed, interrupted } = accounted(traffic.counts, tell);
  const gateways = [...federation.clusters.values()].map((cluster) => cluster.gateway.gateway.hbonePort);
  return {
    scenario: 'failover',
    clusters: federation.clusters.size,
    hub: hubName,
    mtls: (await Promise.all(gateways.map((port) => refusesStrangers('127.0.0.1', port)))).every((refused) => refused),
    requests: { sent, failed, interrupted },
    failover: {
      detectMs: Math.max(...outages.map((outage) => outage.detectMs)),
      recoverMs: Math.max(...outages.map((outage) => outage.recoverMs)),
    },
  };
}

function startTraffic(caller: DemoCluster, clock: Clock): Traffic {
  const port = caller.importPort(web, 80);
  if (port === undefined) throw new IsthmusError('internal', `${caller.name} does not listen for ${web}`);
  return new Traffic({
    from: caller.name,
    service: web,
    port,
    concurrency,
    thinkMs: 10,
    requestsPerConnection: 20,
    clock,
  });
}

/** Each kill can interrupt one request a client; whatever is beyond that did not come from the kills. */
function accounted(counts: TrafficCounts, tell: (line: string) => void): TrafficCounts {
  const most = 2 * concurrency;
  if (counts.interrupted <= most) return counts;
  tell(`${counts.interrupted} interrupted requests are more than ${most} clients' worth: the rest counts as failed`);
  return { ...counts, interrupted: most, failed: counts.failed + counts.interrupted - most };
}

async function kill(
  context: ScenarioContext,
  { traffic, victim }: { traffic: Traffic; victim: ClusterName },
): Promise<Outage> {
  const { federation, clock, tell } = context;
  const cluster = federation.cluster(victim);
  const caller = federation.cluster(west);
  const elsewhere = new Set<number>();
  const at = clock.monotonic();
  let detectMs: number | undefined;
  const end = traffic.onServed((client, servedBy) => {
    if (servedBy === victim) return;
    // Before the second kill some clients are elsewhere already: what counts is a client that had to move.
    if (!before.has(client)) detectMs ??= clock.monotonic() - at;
    elsewhere.add(client);
  });
  const before = new Set(traffic.clientsNotOn(victim));
  traffic.noteKill(victim);
  for (const workload of cluster.workloads) if (workload.service === web) workload.kill();
  try {
    const share = (): number => caller.targets(web).find((target) => target.cluster === victim)?.share ?? 0;
    const settled = (): boolean => share() === 0 && elsewhere.size === concurrency;
    const what = `${victim} to be out of use and all clients to be served elsewhere`;
    await until(context, settled, { what, timeoutMs: detectTimeoutMs });
    const recoverMs = Math.round(clock.monotonic() - at);
    const outage = { detectMs: Math.round(detectMs ?? recoverMs), recoverMs };
    tell(`killed ${victim}'s instance: noticed after ${outage.detectMs} ms, settled elsewhere after ${recoverMs} ms`);
    return outage;
  } finally {
    end();
  }
}

async function bringBack(context: ScenarioContext): Promise<void> {
  const { federation, clock, tell } = context;
  const at = clock.monotonic();
  await Promise.all([federation.cluster(east).restore(), federation.cluster(west).restore()]);
  const share = (): number =>
    federation
      .cluster(west)
      .targets(web)
      .find((t) => t.cluster === west)?.share ?? 0;
  await until(context, () => share() > 0.999, { what: 'traffic to return to west', timeoutMs: returnTimeoutMs });
  tell(
    `brought both back: west serves itself again after ${Math.round(clock.monotonic() - at)} ms (held 1 s, returned over 3 s)`,
  );
}

async function until(
  { clock, signal }: ScenarioContext,
  happened: () => boolean,
  { what, timeoutMs }: { readonly what: string; readonly timeoutMs: number },
): Promise<void> {
  const deadline = clock.monotonic() + timeoutMs;
  while (!happened()) {
    if (signal.aborted) throw new IsthmusError('cancelled', `Stopped while waiting for ${what}`);
    if (clock.monotonic() > deadline) {
      throw new IsthmusError('timeout', `Waited ${timeoutMs} ms for ${what} in vain`);
    }
    await sleep(clock, pollMs);
  }
}

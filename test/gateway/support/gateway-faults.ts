import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, startBackend } from '../../support/backend.ts';
import { freePort } from '../../support/ports.ts';
import { createTestCa } from './identities.ts';
import { serviceRoute } from './mesh.ts';
import { routeTo, settled, type SpawnedGateway, spawnGateway } from './spawn-gateway.ts';
import { answerOf, type LoadReport, startSteadyLoad } from './steady-load.ts';
import { startSwallowingProxy } from './swallowing-proxy.ts';

/** Fresh connections go through one gateway of `west` to two gateways of `east`, all processes of their own. */
interface Scene {
  readonly west: SpawnedGateway;
  readonly east: readonly [SpawnedGateway, SpawnedGateway];
  readonly importPort: number;
  /** Starts the instance of east again, on the port it had. */
  restart(index: 0 | 1): Promise<SpawnedGateway>;
  swallow(on: boolean): void;
  close(): Promise<void>;
}

const line = 'east';

/** Answers once the client has said everything: one whose bytes were lost gets no answer. */
async function answering(): Promise<Backend> {
  return startBackend((socket) => {
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    socket.on('end', () => (got === 'hi' ? socket.end(answerOf(line)) : socket.resetAndDestroy()));
  });
}

async function setUp(): Promise<Scene> {
  const ca = createTestCa();
  const backend = await answering();
  const clusters = ['west', 'east'];
  const services = [serviceRoute({ self: 'east', local: [backend.port] })];
  const start = (index: number, hbonePort: number): Promise<SpawnedGateway> =>
    spawnGateway({ ca, cluster: 'east', clusters, instance: `gw${index}`, hbonePort, services });
  const east: [SpawnedGateway, SpawnedGateway] = [await start(0, 0), await start(1, 0)];
  const proxy = await startSwallowingProxy(east[0].hbonePort);
  const importPort = await freePort();
  const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
  const routes = [routeTo('east', [proxy.port, east[1].hbonePort])];
  const west = await spawnGateway({ ca, cluster: 'west', clusters, services: [imported], routes });
  await settled(west, 2, 1);
  return {
    west,
    east,
    importPort,
    async restart(index) {
      east[index] = await start(index, east[index].hbonePort);
      return east[index];
    },
    swallow: (on) => proxy.swallow(on),
    async close() {
      await Promise.all([west, ...east].map((gateway) => gateway.end('SIGKILL')));
      await Promise.all([proxy.close(), backend.close()]);
      ca.close();
    },
  };
}

export type Fault = 'kill' | 'freeze' | 'black-hole';

export interface FaultReport extends LoadReport {
  readonly fault: Fault;
  /** From the fault until the sending gateway takes the link for lost. */
  readonly detectMs: number;
  /** From the end of the fault (the process runs again) until the link is up. */
  readonly recoverMs: number;
}

/** Takes one of two remote gateways away under load, and gives it back. */
export async function faultUnderLoad(fault: Fault, holdMs: number): Promise<FaultReport> {
  const scene = await setUp();
  try {
    const load = startSteadyLoad(scene.importPort, answerOf(line));
    await sleep(holdMs);
    const [victim] = scene.east;
    const faultAt = load.mark();
    if (fault === 'kill') await victim.end('SIGKILL');
    else if (fault === 'freeze') victim.child.kill('SIGSTOP');
    else scene.swallow(true);
    await linksBecome(scene.west, 1);
    const detectMs = Math.round(performance.now() - faultAt);
    await sleep(holdMs);
    if (fault === 'kill') await scene.restart(0);
    else if (fault === 'freeze') victim.child.kill('SIGCONT');
    else scene.swallow(false);
    const backAt = performance.now();
    await linksBecome(scene.west, 2);
    const recoverMs = Math.round(performance.now() - backAt);
    await sleep(holdMs);
    return { fault, ...(await load.stop()), detectMs, recoverMs };
  } finally {
    await scene.close();
  }
}

/** Restarts both remote gateways one after the other with SIGTERM, as a rollout does. */
export async function rollingRestart(holdMs: number): Promise<LoadReport> {
  const scene = await setUp();
  try {
    const load = startSteadyLoad(scene.importPort, answerOf(line));
    for (const index of [0, 1] as const) {
      await sleep(holdMs);
      await scene.east[index].end('SIGTERM');
      await linksBecome(scene.west, 1);
      await scene.restart(index);
      await linksBecome(scene.west, 2);
    }
    await sleep(holdMs);
    return await load.stop();
  } finally {
    await scene.close();
  }
}

async function linksBecome(gateway: SpawnedGateway, count: number): Promise<void> {
  const deadline = performance.now() + 15_000;
  while ((await gateway.state()).linksUp !== count) {
    if (performance.now() > deadline) throw new Error(`The gateway has not come to ${count} links within 15 s`);
    await sleep(5);
  }
}

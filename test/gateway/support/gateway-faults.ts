import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, startBackend } from '../../support/backend.ts';
import { freePort } from '../../support/ports.ts';
import { createTestCa } from './identities.ts';
import { serviceRoute } from './mesh.ts';
import { createNamespace, whyNoNamespace } from './namespace.ts';
import { routeTo, settled, type SpawnedGateway, spawnGateway } from './spawn-gateway.ts';
import { answerOf, type LoadReport, startSteadyLoad } from './steady-load.ts';
import { startSwallowingProxy, type SwallowingProxy } from './swallowing-proxy.ts';

/** Fresh connections go through one gateway of `west` to two gateways of `east`, all processes of their own. */
interface Scene {
  readonly west: SpawnedGateway;
  readonly east: readonly [SpawnedGateway, SpawnedGateway];
  readonly importPort: number;
  readonly way: Way;
  /** Starts the instance of east again, on the port it had. */
  restart(index: 0 | 1): Promise<SpawnedGateway>;
  close(): Promise<void>;
}

/** How the first gateway of east is reached: in a way that can be made to lose everything. */
interface Way {
  readonly by: 'nftables' | 'proxy';
  /** Where that gateway listens, and what it is started through. */
  readonly host: string;
  readonly launcher: readonly string[];
  /** Where its endpoints are for it. */
  readonly endpoints: string;
  /** The address that leads to it, once it listens. */
  lead(port: number): Promise<{ readonly address: string; readonly port: number }>;
  lose(on: boolean): void;
  close(): Promise<void>;
}

const line = 'east';

/** Answers once the client has said everything: one whose bytes were lost gets no answer. */
async function answering(): Promise<Backend> {
  const serve = (socket: Socket): void => {
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    socket.on('end', () => (got === 'hi' ? socket.end(answerOf(line)) : socket.resetAndDestroy()));
  };
  return startBackend(serve, 0, '0.0.0.0');
}

/** The kernel drops its packets. */
function namespaceWay(): Way {
  const namespace = createNamespace();
  let port = 0;
  return {
    by: 'nftables',
    host: namespace.inside,
    launcher: namespace.launcher,
    endpoints: namespace.outside,
    async lead(to) {
      port = to;
      return { address: namespace.inside, port };
    },
    lose: (on) => (on ? namespace.blackHole(port) : namespace.heal()),
    close: async () => namespace.close(),
  };
}

/** A proxy takes everything and passes nothing on. */
function proxyWay(): Way {
  let proxy: SwallowingProxy | undefined;
  const host = '127.0.0.1';
  return {
    by: 'proxy',
    host,
    launcher: [],
    endpoints: host,
    async lead(to) {
      proxy = await startSwallowingProxy(to);
      return { address: host, port: proxy.port };
    },
    lose: (on) => proxy?.swallow(on),
    close: async () => proxy?.close(),
  };
}

async function setUp(way: Way): Promise<Scene> {
  const ca = createTestCa();
  const backend = await answering();
  const clusters = ['west', 'east'];
  const exported = serviceRoute({ self: 'east', local: [backend.port] });
  const start = (index: 0 | 1, hbonePort: number): Promise<SpawnedGateway> => {
    const { host, launcher, endpoints } =
      index === 0 ? way : { host: '127.0.0.1', launcher: [], endpoints: '127.0.0.1' };
    const local = exported.endpoints.map((endpoint) => ({ ...endpoint, address: endpoints }));
    const services = [{ ...exported, endpoints: local }];
    const name = { ca, cluster: 'east', clusters, instance: `gw${index}` };
    return spawnGateway({ ...name, hboneHost: host, hbonePort, launcher, services });
  };
  const east: [SpawnedGateway, SpawnedGateway] = [await start(0, 0), await start(1, 0)];
  const lead = await way.lead(east[0].hbonePort);
  const importPort = await freePort();
  const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
  const direct = routeTo(
    'east',
    east.map(({ hbonePort }) => hbonePort),
  );
  const gateways = direct.gateways.map((gateway, index) => (index === 0 ? { ...gateway, ...lead } : gateway));
  const routes = [{ ...direct, gateways }];
  const west = await spawnGateway({ ca, cluster: 'west', clusters, services: [imported], routes });
  await settled(west, 2, 1);
  return {
    west,
    east,
    importPort,
    way,
    async restart(index) {
      east[index] = await start(index, east[index].hbonePort);
      return east[index];
    },
    async close() {
      await Promise.all([west, ...east].map((gateway) => gateway.end('SIGKILL')));
      await backend.close();
      ca.close();
    },
  };
}

export type Fault = 'kill' | 'freeze' | 'black-hole';

export interface FaultReport extends LoadReport {
  readonly fault: Fault;
  /** What made a black hole. */
  readonly by?: Way['by'];
  /** From the fault until the sending gateway takes the link for lost. */
  readonly detectMs: number;
  /** From the end of the fault (the process runs again) until the link is up. */
  readonly recoverMs: number;
}

/** Takes one of two remote gateways away under load, and gives it back. */
export async function faultUnderLoad(fault: Fault, holdMs: number): Promise<FaultReport> {
  const way = fault === 'black-hole' && whyNoNamespace() === undefined ? namespaceWay() : proxyWay();
  try {
    return await carryOut(fault, holdMs, await setUp(way));
  } finally {
    await way.close();
  }
}

async function carryOut(fault: Fault, holdMs: number, scene: Scene): Promise<FaultReport> {
  const { way } = scene;
  try {
    const load = startSteadyLoad(scene.importPort, answerOf(line));
    await sleep(holdMs);
    const [victim] = scene.east;
    const faultAt = load.mark();
    if (fault === 'kill') await victim.end('SIGKILL');
    else if (fault === 'freeze') victim.child.kill('SIGSTOP');
    else way.lose(true);
    await linksBecome(scene.west, 1);
    const detectMs = Math.round(performance.now() - faultAt);
    await sleep(holdMs);
    if (fault === 'kill') await scene.restart(0);
    else if (fault === 'freeze') victim.child.kill('SIGCONT');
    else way.lose(false);
    const backAt = performance.now();
    await linksBecome(scene.west, 2);
    const recoverMs = Math.round(performance.now() - backAt);
    await sleep(holdMs);
    return { fault, ...(fault === 'black-hole' && { by: way.by }), ...(await load.stop()), detectMs, recoverMs };
  } finally {
    await scene.close();
  }
}

/** Restarts both remote gateways one after the other with SIGTERM, as a rollout does. */
export async function rollingRestart(holdMs: number): Promise<LoadReport> {
  const way = proxyWay();
  const scene = await setUp(way);
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
    await way.close();
  }
}

async function linksBecome(gateway: SpawnedGateway, count: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  while ((await gateway.state()).linksUp !== count) {
    if (performance.now() > deadline) throw new Error(`The gateway has not come to ${count} links within 30 s`);
    await sleep(5);
  }
}

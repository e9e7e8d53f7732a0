import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { GatewayLimits } from '../../../src/gateway/limits.ts';
import { parseTrustDomain } from '../../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../../src/model/names.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../../../src/model/route.ts';
import type { ConnectionPlan } from '../../../src/model/traffic.ts';
import type { FromGateway, GatewaySpec, GatewayState, ToGateway } from './gateway-process.ts';
import { gatewayId, type TestCa, trustStateOf } from './identities.ts';
import { until } from './mesh.ts';

const script = fileURLToPath(new URL('gateway-process.ts', import.meta.url));

export interface SpawnOptions {
  readonly ca: TestCa;
  readonly cluster: string;
  readonly clusters: readonly string[];
  readonly instance?: string;
  /** Default 127.0.0.1. */
  readonly hboneHost?: string;
  /** 0 = any. */
  readonly hbonePort?: number;
  readonly limits?: Partial<GatewayLimits>;
  readonly drainTimeoutMs?: number;
  /** Pinned to this core with taskset. */
  readonly core?: number;
  /** What the program is started through. */
  readonly launcher?: readonly string[];
  /** 0 to 1: the part of unremarkable connections and requests that is logged, on stderr; absent: nothing is. */
  readonly accessLogShare?: number;
  /** Arguments of node itself. */
  readonly nodeArguments?: readonly string[];
  readonly services?: readonly ServiceRoute[];
  readonly routes?: readonly ClusterRoute[];
}

/** A gateway that runs in a process of its own. */
export interface SpawnedGateway {
  readonly hbonePort: number;
  readonly child: ChildProcess;
  setTable(services: readonly ServiceRoute[], routes: readonly ClusterRoute[]): void;
  /** `collect`: after a collection of garbage. */
  state(collect?: boolean): Promise<GatewayState>;
  /** Sends the signal and waits for the end of the process. */
  end(signal: NodeJS.Signals): Promise<void>;
}

export async function spawnGateway(options: SpawnOptions): Promise<SpawnedGateway> {
  const { ca, cluster, instance = 'gw0', core, nodeArguments = [] } = options;
  const self = parseClusterName(cluster);
  const tableOf = (services: readonly ServiceRoute[], routes: readonly ClusterRoute[]): RouteTable => ({
    self,
    services: new Map(services.map((service) => [service.key, service])),
    clusters: new Map(routes.map((route) => [route.name, route])),
  });
  const spec: GatewaySpec = {
    cluster: self,
    instance: parseReplicaName(instance),
    hbone: { host: options.hboneHost ?? '127.0.0.1', port: options.hbonePort ?? 0 },
    importHost: '127.0.0.1',
    svid: ca.issue(gatewayId(cluster, instance)),
    trust: trustStateOf(ca, options.clusters),
    table: tableOf(options.services ?? [], options.routes ?? []),
    limits: options.limits ?? {},
    drainTimeoutMs: options.drainTimeoutMs ?? 5000,
    accessLogShare: options.accessLogShare,
  };
  const pinned = core === undefined ? [] : ['taskset', '-c', String(core)];
  const node = [process.execPath, '--expose-gc', ...nodeArguments, script];
  const [program = '', ...rest] = [...(options.launcher ?? []), ...pinned, ...node];
  const child = spawn(program, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' });
  const send = (message: ToGateway): void => void child.send(message);
  send({ kind: 'start', spec });
  const first = await answer(child);
  if (first.kind !== 'started') throw new Error(`The gateway of ${cluster} did not start: ${JSON.stringify(first)}`);
  return {
    hbonePort: first.hbonePort,
    child,
    setTable: (services, routes) => send({ kind: 'table', table: tableOf(services, routes) }),
    async state(collect = false) {
      send({ kind: 'ask', collect });
      const reply = await answer(child);
      if (reply.kind !== 'state') throw new Error(`Unexpected answer: ${JSON.stringify(reply)}`);
      return reply.state;
    },
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      if (signal === 'SIGKILL') child.kill('SIGCONT');
      await gone;
    },
  };
}

async function answer(child: ChildProcess): Promise<FromGateway> {
  const waiting = new AbortController();
  const { signal } = waiting;
  const exited = once(child, 'exit', { signal }).then(() => {
    throw new Error('The gateway process ended');
  });
  try {
    const [message] = (await Promise.race([once(child, 'message', { signal }), exited])) as [FromGateway];
    return message;
  } finally {
    waiting.abort();
    exited.catch(() => undefined);
  }
}

/** For proofs of many connections: bounds that are out of the way. */
export const roomy: { readonly limits: Partial<GatewayLimits>; readonly connection: ConnectionPlan } = {
  limits: { connections: 16_384, connectionsPerPeer: 16_384, pendingConnects: 16_384, pendingConnectsPerPeer: 16_384 },
  connection: { maxConnections: 16_384, maxPending: 16_384 },
};

/** Where spawned gateways of one cluster are; instances are `gw0`, `gw1`, … */
export function routeTo(cluster: string, ports: readonly number[]): ClusterRoute {
  return {
    name: parseClusterName(cluster),
    trustDomain: parseTrustDomain(`${cluster}.mesh.test`),
    gateways: ports.map((port, index) => ({
      instance: parseReplicaName(`gw${index}`),
      address: '127.0.0.1',
      port,
    })),
  };
}

/** Waits until the gateway has so many links and import listeners. */
export async function settled(gateway: SpawnedGateway, links: number, imports: number): Promise<void> {
  let state: GatewayState | undefined;
  let asking = false;
  await until(`${links} links and ${imports} import listeners`, () => {
    if (!asking) {
      asking = true;
      void gateway.state().then((next) => {
        state = next;
        asking = false;
      });
    }
    return state?.linksUp === links && state.imports === imports;
  });
  await until('the last answer', () => !asking);
}

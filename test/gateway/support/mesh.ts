import { setTimeout as sleep } from 'node:timers/promises';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../../../src/gateway/io/gateway.ts';
import type { GatewayLimits } from '../../../src/gateway/limits.ts';
import { parseTrustDomain } from '../../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../../src/model/names.ts';
import type { Log } from '../../../src/model/ports/log.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../../../src/model/route.ts';
import type { Svid, TrustState } from '../../../src/model/trust.ts';
import { step } from '../../../src/policy/shares.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { gatewayId, type TestCa, TestVerifier, trustStateOf } from './identities.ts';

/** One line kept by `recordingLog`. */
export interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

export function recordingLog(lines: LogLine[] = []): Log {
  const at =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push({ level, fields, message });
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return log;
}

/** One gateway under test with everything that feeds it. */
export interface Node {
  readonly name: ClusterName;
  readonly gateway: Gateway;
  readonly table: Watchable<RouteTable>;
  readonly svid: Watchable<Svid | undefined>;
  readonly trust: Watchable<TrustState | undefined>;
  readonly verifier: TestVerifier;
  readonly access: AccessLogEntry[];
  readonly log: LogLine[];
}

export interface NodeOptions {
  readonly ca: TestCa;
  readonly clusters: readonly string[];
  readonly limits?: Partial<GatewayLimits>;
  readonly health?: boolean;
  readonly metrics?: boolean;
  readonly instance?: string;
  /** Whatever else a gateway can be given. */
  readonly more?: Partial<GatewayOptions>;
}

export async function startNode(cluster: string, options: NodeOptions): Promise<Node> {
  const name = parseClusterName(cluster);
  const instance = parseReplicaName(options.instance ?? 'gw0');
  const table = new Watchable<RouteTable>({ self: name, services: new Map(), clusters: new Map() });
  const svid = new Watchable<Svid | undefined>(options.ca.issue(gatewayId(cluster, instance)));
  const trust = new Watchable<TrustState | undefined>(trustStateOf(options.ca, options.clusters));
  const verifier = new TestVerifier();
  const access: AccessLogEntry[] = [];
  const log: LogLine[] = [];
  const host = '127.0.0.1';
  const gatewayOptions: GatewayOptions = {
    cluster: name,
    instance,
    listen: {
      hbone: { host, port: 0 },
      importHost: host,
      ...(options.health && { health: { host, port: 0 } }),
      ...(options.metrics && { metrics: { host, port: 0 } }),
    },
    svid,
    trust,
    verifier,
    table,
    step,
    clock: systemClock,
    log: recordingLog(log),
    ...(options.limits && { limits: options.limits }),
    accessLog: (entry) => void access.push(entry),
    ...options.more,
  };
  return { name, gateway: await startGateway(gatewayOptions), table, svid, trust, verifier, access, log };
}

export interface ServiceSpec {
  readonly service?: string;
  readonly port?: number;
  readonly importPort?: number;
  readonly exported?: boolean;
  readonly allow?: 'members' | 'policy';
  /** Ports of local endpoints on 127.0.0.1. */
  readonly local?: readonly number[];
  /** Other clusters that serve it. */
  readonly remote?: readonly string[];
  readonly self: string;
}

export function serviceRoute(spec: ServiceSpec): ServiceRoute {
  const { port = 80, local = [], remote = [] } = spec;
  const target = (cluster: string, tier: number): ServiceRoute['targets'][number] => ({
    cluster: parseClusterName(cluster),
    tier,
    capacity: 1,
    health: 1,
    ports: [port],
    stale: false,
  });
  return {
    key: parseServiceKey(spec.service ?? 'shop/web'),
    ports: [{ port, importPort: spec.importPort }],
    exported: spec.exported ?? true,
    allow: spec.allow ?? 'members',
    targets: [...(local.length > 0 ? [target(spec.self, 0)] : []), ...remote.map((name) => target(name, 1))],
    failover: { healthyThreshold: 0.7, holdMs: 200, returnOverMs: 200 },
    endpoints: local.map((own) => ({
      id: `127.0.0.1:${own}`,
      address: '127.0.0.1',
      ports: new Map([[port, own]]),
      ready: true,
    })),
  };
}

/** Where another node's gateway is; `port` replaces its own, for a proxy in between. */
export function clusterRoute(nodes: readonly Node[], port?: number): ClusterRoute {
  const [first] = nodes;
  if (!first) throw new Error('A cluster route needs a node');
  return {
    name: first.name,
    trustDomain: parseTrustDomain(`${first.name}.mesh.test`),
    gateways: nodes.map((node, index) => ({
      instance: parseReplicaName(`gw${index}`),
      address: '127.0.0.1',
      port: port ?? node.gateway.hbonePort,
    })),
  };
}

export function tableOf(self: Node, services: readonly ServiceRoute[], clusters: readonly ClusterRoute[]): RouteTable {
  return {
    self: self.name,
    services: new Map(services.map((service) => [service.key, service])),
    clusters: new Map(clusters.map((cluster) => [cluster.name, cluster])),
  };
}

/** Waits for what a real system does in its own time. */
export async function until(what: string, condition: () => boolean, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${withinMs} ms in vain: ${what}`);
    await sleep(5);
  }
}

export async function linksUp(node: Node, count: number): Promise<void> {
  await until(`${count} links up`, () => node.gateway.report().links.filter((link) => link.up).length === count);
}

/** Waits until these gateways carry no connection, so that what is counted afterwards belongs to what follows. */
export async function quiet(...nodes: readonly Node[]): Promise<void> {
  await until('earlier connections to end', () =>
    nodes.every((node) =>
      node.gateway.report().services.every(({ targets }) => targets.every(({ active }) => active === 0)),
    ),
  );
}

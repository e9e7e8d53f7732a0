import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { parseTrustDomain } from '../model/identity.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../model/names.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../model/route.ts';
import type { TrafficPlan } from '../model/traffic.ts';
import { MapDigest } from './digest.ts';

/**
 * The parts of a route table as they cross from agent to gateway: JSON, keys in a fixed order, so that equal routes are
 * equal bytes and both ends compute the same digest.
 */

/** A route larger than this is refused: 4,000 local endpoints fit. */
const maxRouteBytes = 1 << 20;

const port = z.number().int().min(1).max(65_535);

const traffic = {
  loadBalancing: z.exactOptional(
    z.object({
      algorithm: z.enum(['leastRequest', 'roundRobin', 'random', 'consistentHash']),
      slowStartMs: z.number().min(0),
    }),
  ),
  connection: z.exactOptional(
    z.object({
      connectTimeoutMs: z.exactOptional(z.number().min(1)),
      raceAfterMs: z.exactOptional(z.number().min(1)),
      maxConnections: z.number().int().min(1),
      maxPending: z.number().int().min(1),
      idleTimeoutMs: z.exactOptional(z.number().min(1)),
    }),
  ),
  outlier: z.exactOptional(
    z.object({
      consecutiveFailures: z.number().int().min(1),
      successRate: z.enum(['auto', 'off']),
      baseEjectionMs: z.number().min(1),
      maxEjected: z.number().min(0).max(1),
    }),
  ),
};

const serviceSchema = z.object({
  ...traffic,
  key: z.string().transform(parseServiceKey),
  ports: z
    .array(
      z.object({
        port,
        name: z.string().max(253).optional(),
        appProtocol: z.string().max(253).optional(),
        importPort: port.optional(),
      }),
    )
    .max(1000),
  exported: z.boolean(),
  allow: z.enum(['members', 'policy']),
  targets: z
    .array(
      z.object({
        cluster: z.string().transform(parseClusterName),
        tier: z.number().int().min(0),
        capacity: z.number().min(0),
        health: z.number().min(0).max(1),
        ports: z.array(port).max(1000),
        stale: z.boolean(),
      }),
    )
    .max(1000),
  failover: z.object({
    healthyThreshold: z.number().min(0).max(1),
    holdMs: z.number().min(0),
    returnOverMs: z.number().min(0),
  }),
  endpoints: z
    .array(
      z.object({
        id: z.string().max(300),
        address: z.string().max(253),
        ports: z.array(z.tuple([port, port])).max(1000),
        ready: z.boolean(),
      }),
    )
    .max(10_000),
});

const clusterSchema = z.object({
  name: z.string().transform(parseClusterName),
  trustDomain: z.string().transform(parseTrustDomain),
  gateways: z
    .array(z.object({ instance: z.string().transform(parseReplicaName), address: z.string().max(253), port }))
    .max(1000),
});

export function encodeServiceRoute(route: ServiceRoute): Uint8Array {
  const { key, ports, exported, allow, targets, failover, endpoints } = route;
  return Buffer.from(
    JSON.stringify({
      key,
      ports: ports.map((p) => ({
        port: p.port,
        name: p.name,
        appProtocol: p.appProtocol,
        importPort: p.importPort,
      })),
      exported,
      allow,
      targets: targets.map((t) => ({
        cluster: t.cluster,
        tier: t.tier,
        capacity: t.capacity,
        health: t.health,
        ports: t.ports,
        stale: t.stale,
      })),
      failover: {
        healthyThreshold: failover.healthyThreshold,
        holdMs: failover.holdMs,
        returnOverMs: failover.returnOverMs,
      },
      endpoints: endpoints.map((e) => ({ id: e.id, address: e.address, ports: [...e.ports], ready: e.ready })),
      ...trafficFields(route),
    }),
  );
}

/** Absent parts are left out, so that a route without them has the bytes it always had. */
function trafficFields({ loadBalancing, connection, outlier }: TrafficPlan): TrafficPlan {
  return {
    ...(loadBalancing && {
      loadBalancing: { algorithm: loadBalancing.algorithm, slowStartMs: loadBalancing.slowStartMs },
    }),
    ...(connection && {
      connection: {
        ...(connection.connectTimeoutMs !== undefined && { connectTimeoutMs: connection.connectTimeoutMs }),
        ...(connection.raceAfterMs !== undefined && { raceAfterMs: connection.raceAfterMs }),
        maxConnections: connection.maxConnections,
        maxPending: connection.maxPending,
        ...(connection.idleTimeoutMs !== undefined && { idleTimeoutMs: connection.idleTimeoutMs }),
      },
    }),
    ...(outlier && {
      outlier: {
        consecutiveFailures: outlier.consecutiveFailures,
        successRate: outlier.successRate,
        baseEjectionMs: outlier.baseEjectionMs,
        maxEjected: outlier.maxEjected,
      },
    }),
  };
}

export function encodeClusterRoute(route: ClusterRoute): Uint8Array {
  const gateways = route.gateways.map((g) => ({ instance: g.instance, address: g.address, port: g.port }));
  return Buffer.from(JSON.stringify({ name: route.name, trustDomain: route.trustDomain, gateways }));
}

/** @throws IsthmusError `corrupt` */
export function decodeServiceRoute(bytes: Uint8Array): ServiceRoute {
  const { ports, endpoints, ...rest } = decode('service route', serviceSchema, bytes);
  return {
    ...rest,
    ports: ports.map(({ port: number, name, appProtocol, importPort }) => ({
      port: number,
      ...(name !== undefined && { name }),
      ...(appProtocol !== undefined && { appProtocol }),
      importPort,
    })),
    endpoints: endpoints.map((endpoint) => ({ ...endpoint, ports: new Map(endpoint.ports) })),
  };
}

/** @throws IsthmusError `corrupt` */
export function decodeClusterRoute(bytes: Uint8Array): ClusterRoute {
  return decode('cluster route', clusterSchema, bytes);
}

function decode<T>(what: string, schema: z.ZodType<T>, bytes: Uint8Array): T {
  if (bytes.length > maxRouteBytes) {
    throw new IsthmusError('corrupt', `A ${what} of ${bytes.length} bytes is over the limit of ${maxRouteBytes}`);
  }
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('corrupt', `A ${what} does not decode`, { cause });
  }
}

/** Keeps the digest of a table while parts of it change. */
export class TableDigest {
  readonly #digest = new MapDigest();

  setService(key: string, encoded: Uint8Array): void {
    this.#digest.set(`service/${key}`, encoded);
  }

  removeService(key: string): void {
    this.#digest.delete(`service/${key}`);
  }

  setCluster(name: string, encoded: Uint8Array): void {
    this.#digest.set(`cluster/${name}`, encoded);
  }

  removeCluster(name: string): void {
    this.#digest.delete(`cluster/${name}`);
  }

  get whole(): string {
    return this.#digest.whole;
  }
}

/** The table a gateway has before it was told anything. */
export function emptyTable(self: RouteTable['self']): RouteTable {
  return { self, services: new Map(), clusters: new Map() };
}

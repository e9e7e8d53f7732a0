import { z } from 'zod';
import type { AccessPlan, AccessRule, CallerMatch, RequestMatch } from '../model/access.ts';
import { parseTrustDomain } from '../model/identity.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../model/names.ts';
import type { ClusterRoute, DrainPlan, FailoverPlan, RouteTable, ServiceRoute, Target } from '../model/route.ts';
import { type HashKey, type HttpPlan, isRetryCondition, type TrafficPlan } from '../model/traffic.ts';
import { MapDigest } from './digest.ts';
import { decodeJson } from './json-decoding.ts';

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
      hash: z.exactOptional(
        z.discriminatedUnion('by', [
          z.object({ by: z.literal('sourceIP') }),
          z.object({ by: z.literal('header'), name: z.string().min(1).max(128) }),
          z.object({ by: z.literal('cookie'), name: z.string().min(1).max(128) }),
        ]),
      ),
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
  http: z.exactOptional(
    z.object({
      timeoutMs: z.exactOptional(z.number().min(0)),
      idleTimeoutMs: z.exactOptional(z.number().min(1)),
      retries: z.object({
        attempts: z.number().int().min(0).max(100),
        /** A condition that a newer agent knows and this gateway does not is never met. */
        on: z
          .array(z.union([z.number(), z.string().max(64)]))
          .max(64)
          .transform((given) => given.filter(isRetryCondition)),
        perTryMs: z.exactOptional(z.number().min(1)),
        budget: z.number().min(0).max(1),
      }),
    }),
  ),
};

const part = z.number().min(0).max(1);
const listed = z.array(z.string().max(2048)).max(256);

const callerSchema = z.object({
  trustDomains: z.exactOptional(z.array(z.string().transform(parseTrustDomain)).max(256)),
  clusters: z.exactOptional(z.array(z.string().transform(parseClusterName)).max(256)),
  namespaces: z.exactOptional(listed),
  serviceAccounts: z.exactOptional(listed),
  ids: z.exactOptional(listed),
  proof: z.exactOptional(z.enum(['proven', 'asserted'])),
});

/**
 * A gateway that does not know `requests` must not take an allowing rule for one about everything: it finds it without
 * ports, and so of no effect. A denying one it may take so.
 */
const requestsSchema = z.object({
  methods: z.exactOptional(listed),
  pathPrefixes: z.exactOptional(listed),
  ports: z.exactOptional(z.array(port).max(256)),
});

interface EncodedRule extends Omit<AccessRule, 'from' | 'ports' | 'requests'> {
  readonly from?: readonly CallerMatch[] | undefined;
  readonly ports?: readonly number[] | undefined;
  readonly requests?: RequestMatch & { readonly ports?: readonly number[] };
}

function ruleOf({ from, ports, requests, ...rest }: EncodedRule): AccessRule {
  if (!requests) return { ...rest, from, ports };
  const { ports: meant, ...match } = requests;
  return { ...rest, from, ports: rest.action === 'allow' ? meant : ports, requests: match };
}

const accessSchema = z.object({
  otherwise: z.enum(['allow', 'deny']),
  why: z.string().max(1000),
  rules: z
    .array(
      z
        .object({
          policy: z.string().max(1000),
          action: z.enum(['allow', 'deny']),
          audit: z.boolean(),
          from: z.array(callerSchema).max(64).optional(),
          ports: z.array(port).max(256).optional(),
          requests: z.exactOptional(requestsSchema),
        })
        .transform(ruleOf),
    )
    .max(1000),
});

const drainSchema = z.object({
  drained: z.boolean(),
  issuedAt: z.number().int().min(0),
  overMs: z.number().int().min(0),
  from: part,
  by: z.string().transform(parseClusterName),
});

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
  access: z.exactOptional(accessSchema),
  targets: z
    .array(
      z.object({
        cluster: z.string().transform(parseClusterName),
        tier: z.number().int().min(0),
        capacity: z.number().min(0),
        health: part,
        ports: z.array(port).max(1000),
        stale: z.boolean(),
        weight: z.exactOptional(z.number().min(0)),
        rated: z.exactOptional(z.number().min(0)),
        drain: z.exactOptional(drainSchema),
      }),
    )
    .max(1000),
  failover: z.object({
    healthyThreshold: part,
    holdMs: z.number().min(0),
    returnOverMs: z.number().min(0),
    panicThreshold: z.exactOptional(part),
    spillAt: z.exactOptional(part),
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
  drained: z.exactOptional(z.array(z.string().transform(parseReplicaName)).max(1000)),
});

export function encodeServiceRoute(route: ServiceRoute): Uint8Array {
  const { key, ports, exported, allow, access, targets, failover, endpoints } = route;
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
      ...(access && { access: accessFields(access) }),
      targets: targets.map(targetFields),
      failover: failoverFields(failover),
      endpoints: endpoints.map((e) => ({ id: e.id, address: e.address, ports: [...e.ports], ready: e.ready })),
      ...trafficFields(route),
    }),
  );
}

function targetFields(target: Target): Target {
  const { cluster, tier, capacity, health, ports, stale, weight, rated, drain } = target;
  return {
    cluster,
    tier,
    capacity,
    health,
    ports,
    stale,
    ...(weight !== undefined && { weight }),
    ...(rated !== undefined && { rated }),
    ...(drain && { drain: drainFields(drain) }),
  };
}

function drainFields({ drained, issuedAt, overMs, from, by }: DrainPlan): DrainPlan {
  return { drained, issuedAt, overMs, from, by };
}

function failoverFields(plan: FailoverPlan): FailoverPlan {
  const { healthyThreshold, holdMs, returnOverMs, panicThreshold, spillAt } = plan;
  return {
    healthyThreshold,
    holdMs,
    returnOverMs,
    ...(panicThreshold !== undefined && { panicThreshold }),
    ...(spillAt !== undefined && { spillAt }),
  };
}

function accessFields({
  otherwise,
  why,
  rules,
}: AccessPlan): Omit<AccessPlan, 'rules'> & { rules: readonly EncodedRule[] } {
  return {
    otherwise,
    why,
    rules: rules.map(ruleFields),
  };
}

function ruleFields({ policy, action, audit, from, ports, requests }: AccessRule): EncodedRule {
  const fields = { policy, action, audit, from: from?.map(callerFields) };
  if (!requests) return { ...fields, ports };
  const { methods, pathPrefixes } = requests;
  const match = { ...(methods && { methods }), ...(pathPrefixes && { pathPrefixes }) };
  if (action === 'deny') return { ...fields, ports, requests: match };
  return { ...fields, ports: [], requests: { ...match, ...(ports && { ports }) } };
}

function callerFields({ trustDomains, clusters, namespaces, serviceAccounts, ids, proof }: CallerMatch): CallerMatch {
  return {
    ...(trustDomains && { trustDomains }),
    ...(clusters && { clusters }),
    ...(namespaces && { namespaces }),
    ...(serviceAccounts && { serviceAccounts }),
    ...(ids && { ids }),
    ...(proof && { proof }),
  };
}

/** Absent parts are left out, so that a route without them has the bytes it always had. */
function trafficFields({ loadBalancing, connection, outlier, http }: TrafficPlan): TrafficPlan {
  return {
    ...(loadBalancing && {
      loadBalancing: {
        algorithm: loadBalancing.algorithm,
        ...(loadBalancing.hash && { hash: hashFields(loadBalancing.hash) }),
        slowStartMs: loadBalancing.slowStartMs,
      },
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
    ...(http && { http: httpFields(http) }),
  };
}

function hashFields(hash: HashKey): HashKey {
  return hash.by === 'sourceIP' ? { by: hash.by } : { by: hash.by, name: hash.name };
}

function httpFields({ timeoutMs, idleTimeoutMs, retries }: HttpPlan): HttpPlan {
  const { attempts, on, perTryMs, budget } = retries;
  return {
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
    retries: { attempts, on, ...(perTryMs !== undefined && { perTryMs }), budget },
  };
}

export function encodeClusterRoute(route: ClusterRoute): Uint8Array {
  const gateways = route.gateways.map((g) => ({ instance: g.instance, address: g.address, port: g.port }));
  const { name, trustDomain, drained } = route;
  return Buffer.from(JSON.stringify({ name, trustDomain, gateways, ...(drained && { drained }) }));
}

/** @throws IsthmusError `corrupt` */
export function decodeServiceRoute(bytes: Uint8Array): ServiceRoute {
  const { ports, endpoints, ...rest } = decodeJson('A service route', serviceSchema, { bytes, limit: maxRouteBytes });
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
  return decodeJson('A cluster route', clusterSchema, { bytes, limit: maxRouteBytes });
}

/** Keeps the digest of a table while parts of it change. */
export class TableDigest {
  readonly #digest: MapDigest;

  constructor(origin?: TableDigest) {
    this.#digest = origin ? origin.#digest.clone() : new MapDigest();
  }

  /** An independent copy, which costs little: what both have is shared. */
  clone(): TableDigest {
    return new TableDigest(this);
  }

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

  /** Whether a service is encoded there as it is here. */
  sameService(other: TableDigest, key: string): boolean {
    return this.#digest.agrees(other.#digest, `service/${key}`);
  }

  /** Whether a cluster is encoded there as it is here. */
  sameCluster(other: TableDigest, name: string): boolean {
    return this.#digest.agrees(other.#digest, `cluster/${name}`);
  }

  get whole(): string {
    return this.#digest.whole;
  }
}

/** The table a gateway has before it was told anything. */
export function emptyTable(self: RouteTable['self']): RouteTable {
  return { self, services: new Map(), clusters: new Map() };
}

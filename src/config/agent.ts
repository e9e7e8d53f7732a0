import { z } from 'zod';
import type { ClusterName, ReplicaName } from '../model/names.ts';
import { parseReplicaName, parseServiceKey } from '../model/names.ts';
import type { FailoverPlan } from '../model/route.ts';
import type { HostPort } from '../model/address.ts';
import type { TrafficPlan } from '../model/traffic.ts';
import type { ConfigDocument } from './document.ts';
import { type HealthCheckConfig, healthCheck } from './health-check.ts';
import { type AgentHubConfig, agentHubSection } from './hub.ts';
import {
  clusterName,
  dialAddress,
  duration,
  type LogLevel,
  listenAddress,
  logLevel,
  loopbackAddress,
  path,
  port,
  type ResolvePath,
  replicaName,
} from './scalars.ts';
import { type ServiceConfig, serviceList } from './services.ts';
import { adminSocketPath } from './socket-path.ts';
import { type ConfigSource, sourceOf } from './source.ts';
import { trafficSections } from './traffic.ts';
import { section, share } from '../wire/schema.ts';
import { type Validated, validate } from './validate.ts';
import { type WorkloadsConfig, workloadsSection } from './workloads.ts';

/** Ports of the gateway's plain listeners for imported services. */
export interface ImportPortsConfig {
  /** First and last port, inclusive. Default 20000 to 29999. */
  readonly from: number;
  readonly to: number;
  /** `<namespace>/<name>:<service port>` → port. */
  readonly fixed: ReadonlyMap<string, number>;
}

/** How often the agent tells and looks, and how long silence means what. All in ms. */
export interface AgentTimings {
  /** The own lease is renewed this often. Default 5 s. */
  readonly leaseMs: number;
  /** Silence of another cluster after which its data counts as suspect. Default 15 s. */
  readonly suspectMs: number;
  /** …and as dead; it is kept all the same. Default 45 s. */
  readonly deadMs: number;
  /** A cluster that was dead must show life for so long before it counts as live again. Default 10 s. */
  readonly recoverMs: number;
  /** Heads on the hub are read this often, to heal lost hints. Default 2 s. */
  readonly pollMs: number;
}

/** What `isthmus agent` runs from. Paths are absolute. */
export interface AgentConfig {
  /** 0700; identity, last good state, admin socket. */
  readonly stateDir: string;
  readonly cluster: ClusterName;
  /** Default `agent-0`. */
  readonly replica: ReplicaName;
  /**
   * Directory shared by the replicas of the cluster on this machine, each of which has a state directory of its own: one
   * of them leads and writes, all serve gateways. Absent = the only replica.
   */
  readonly leaderLock?: string;
  /** Redeemed when the state directory holds no identity yet. */
  readonly join?: { readonly tokenFile: string };
  /** Where the authority is; empty = as the join token said. */
  readonly authority: readonly HostPort[];
  /** What is left out is as the authority said at the join. */
  readonly hub: AgentHubConfig;
  readonly listen: {
    /** For this cluster's gateways. Default 0.0.0.0:15012. */
    readonly grpc: HostPort;
    /** Read-only API, loopback. Default 127.0.0.1:7070. */
    readonly http: HostPort;
  };
  /** Where this cluster's gateways reach it, as gateway tokens say. Default: `listen.grpc`, when a single address. */
  readonly advertise: readonly HostPort[];
  /** Admin socket. Default `<stateDir>/admin.sock`. */
  readonly admin: string;
  readonly services: readonly ServiceConfig[];
  /** More services, in a file of their own (`services`, `healthCheck`); read again when it changes, as this one is. */
  readonly servicesFile?: string;
  readonly healthCheck: HealthCheckConfig;
  /** The federation's defaults as this cluster applies them. */
  readonly policy: { readonly failover: FailoverPlan } & TrafficPlan;
  /** Policy files, or folders of them; read again when they change. Default none. */
  readonly policies: readonly string[];
  readonly importPorts: ImportPortsConfig;
  /** Longest life of the SVIDs that this agent issues, in ms, 1 h to 24 h. Default 12 h. */
  readonly svidLifeMs: number;
  readonly workloads: WorkloadsConfig;
  readonly timings: AgentTimings;
  readonly log: LogLevel;
  readonly source?: ConfigSource;
}

const day = 86_400_000;

const fixedPorts = z.record(z.string(), port).transform((given, context) => {
  const ports = new Map<string, number>();
  const owners = new Map<number, string>();
  for (const [key, value] of Object.entries(given)) {
    const colon = key.lastIndexOf(':');
    const refuse = (message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    try {
      parseServiceKey(key.slice(0, Math.max(0, colon)));
      if (!/^[1-9]\d{0,4}$/.test(key.slice(colon + 1))) refuse(`must have a key such as 'shop/web:80'`);
    } catch {
      refuse(`must have a key such as 'shop/web:80'`);
    }
    const owner = owners.get(value);
    if (owner !== undefined) refuse(`must be a port of its own: ${value} is that of '${owner}' already`);
    owners.set(value, key);
    ports.set(key, value);
  }
  return ports as ReadonlyMap<string, number>;
});

const importPorts: z.ZodType<ImportPortsConfig, unknown> = section({
  from: port.default(20_000),
  to: port.default(29_999),
  fixed: fixedPorts.default(new Map()),
}).superRefine(({ from, to }, context) => {
  if (from > to)
    context.addIssue({ code: 'custom', path: ['to'], message: `must be at least 'from', which is ${from}` });
});

const timings: z.ZodType<AgentTimings> = section({
  lease: duration(100, 60_000).default(5000),
  suspect: duration(200, 600_000).default(15_000),
  dead: duration(300, day).default(45_000),
  recover: duration(0, 600_000).default(10_000),
  poll: duration(50, 60_000).default(2000),
})
  .superRefine(({ lease, suspect, dead }, context) => {
    const refuse = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    if (suspect < 2 * lease) refuse('suspect', `must be at least twice 'lease', which is ${lease} ms`);
    if (dead <= suspect) refuse('dead', `must be longer than 'suspect', which is ${suspect} ms`);
  })
  .transform(({ lease, suspect, dead, recover, poll }) => ({
    leaseMs: lease,
    suspectMs: suspect,
    deadMs: dead,
    recoverMs: recover,
    pollMs: poll,
  }));

const failover: z.ZodType<FailoverPlan> = section({
  healthyThreshold: share.default(0.7),
  hold: duration(0, day).default(30_000),
  returnOver: duration(0, day).default(60_000),
  panicThreshold: z.exactOptional(share),
  spillAt: z.exactOptional(share),
}).transform(({ hold, returnOver, ...shares }) => ({
  ...shares,
  holdMs: hold,
  returnOverMs: returnOver,
}));

function schema(resolve: ResolvePath): z.ZodType<AgentConfig> {
  return section({
    role: z.exactOptional(z.literal('agent')),
    stateDir: path(resolve),
    cluster: clusterName,
    replica: replicaName.default(parseReplicaName('agent-0')),
    leaderLock: z.exactOptional(path(resolve)),
    join: z.exactOptional(section({ tokenFile: path(resolve) })),
    authority: z.array(dialAddress).max(16).default([]),
    hub: agentHubSection(resolve).prefault({}),
    listen: section({
      grpc: listenAddress.default({ host: '0.0.0.0', port: 15_012 }),
      http: loopbackAddress.default({ host: '127.0.0.1', port: 7070 }),
    }).prefault({}),
    advertise: z.exactOptional(z.array(dialAddress).min(1).max(16)),
    admin: z.exactOptional(path(resolve)),
    services: serviceList.default([]),
    servicesFile: z.exactOptional(path(resolve)),
    healthCheck: healthCheck.prefault({}),
    policy: section({ failover: failover.prefault({}), ...trafficSections }).prefault({}),
    policies: z.array(path(resolve)).max(64).default([]),
    importPorts: importPorts.prefault({}),
    svidLife: duration(3_600_000, day).default(day / 2),
    workloads: workloadsSection(resolve),
    timings: timings.prefault({}),
    log: logLevel,
  })
    .superRefine(({ listen: { grpc }, advertise }, context) => {
      if (advertise === undefined && (grpc.host === '0.0.0.0' || grpc.host === '::' || grpc.port === 0)) {
        const message = `is required: the addresses at which the cluster's gateways reach the agent, because it listens everywhere`;
        context.addIssue({ code: 'custom', path: ['advertise'], message });
      }
    })
    .transform(({ role: _role, svidLife, ...config }, context) => ({
      ...config,
      svidLifeMs: svidLife,
      advertise: config.advertise ?? [config.listen.grpc],
      admin: adminSocketPath(config, context),
    }));
}

/** Reads an agent's configuration; every default is applied. */
export function parseAgentConfig(document: ConfigDocument, resolve: ResolvePath): Validated<AgentConfig> {
  const result = validate(schema(resolve), document);
  return result.ok ? { ok: true, value: { ...result.value, source: sourceOf(document) } } : result;
}

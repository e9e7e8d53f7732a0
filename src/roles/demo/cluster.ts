import { join } from 'node:path';
import type { AgentConfig } from '../../config/agent.ts';
import type { GatewayConfig } from '../../config/gateway.ts';
import type { ServiceConfig } from '../../config/services.ts';
import { type ClusterName, parseReplicaName, type ServiceKey } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { FailoverPlan } from '../../model/route.ts';
import { importKey } from '../../policy/compile.ts';
import { ensurePrivateDir, writeFileDurably } from '../../runtime/io/files.ts';
import type { TargetReport } from '../../wire/gateway-report.ts';
import { type AgentRole, startAgent } from '../agent.ts';
import type { RunningAgent } from '../agent/running.ts';
import { type GatewayRole, startGatewayRole } from '../gateway.ts';
import type { Started } from '../shutdown.ts';
import type { DemoPorts } from './ports.ts';
import type { Workload } from './workload.ts';

const host = '127.0.0.1';
const agentReplica = parseReplicaName('agent-0');
const gatewayReplica = parseReplicaName('gateway-0');

/** Quick enough that a person sees cause and effect. */
const demoHealthCheck = { intervalMs: 250, timeoutMs: 500, failures: 2, successes: 1 };
const demoTimings = { leaseMs: 1000, suspectMs: 3000, deadMs: 9000, recoverMs: 2000, pollMs: 500 };

export interface DemoClusterOptions {
  readonly name: ClusterName;
  readonly stateDir: string;
  /** Join token of the authority. */
  readonly token: string;
  readonly hub: Hub;
  readonly failover: FailoverPlan;
  readonly workloads: readonly Workload[];
  /** Services that are not workloads of the demo. */
  readonly services: readonly ServiceConfig[];
  readonly importPorts: { readonly from: number; readonly to: number };
  readonly ports: DemoPorts;
  readonly clock: Clock;
  readonly log: Log;
  readonly started: Started;
}

/** One cluster of the demo: the same agent and gateway roles as anywhere else, in this process. */
export class DemoCluster {
  readonly name: ClusterName;
  readonly workloads: readonly Workload[];
  readonly agent: AgentRole;
  readonly parts: RunningAgent;
  readonly gateway: GatewayRole;
  readonly adminSocket: string;

  constructor(options: DemoClusterOptions, parts: { agent: AgentRole; running: RunningAgent; gateway: GatewayRole }) {
    this.name = options.name;
    this.workloads = options.workloads;
    this.agent = parts.agent;
    this.parts = parts.running;
    this.gateway = parts.gateway;
    this.adminSocket = adminSocketOf(options.stateDir);
  }

  /** The gateway's plain listener for a service port; undefined = not listening (yet). */
  importPort(service: ServiceKey, port: number): number | undefined {
    return this.gateway.gateway.importPorts().get(importKey(service, port));
  }

  /** What this cluster's gateway says of the targets of a service. */
  targets(service: ServiceKey): readonly TargetReport[] {
    const { services } = this.gateway.gateway.report();
    return services.find((each) => each.service === service)?.targets ?? [];
  }

  async restore(): Promise<void> {
    await Promise.all(this.workloads.map((workload) => workload.start()));
  }
}

function adminSocketOf(stateDir: string): string {
  return join(stateDir, 'agent', 'admin.sock');
}

export async function startDemoCluster(options: DemoClusterOptions): Promise<DemoCluster> {
  const { name, stateDir, token, hub, clock, started } = options;
  const log = options.log.child({ cluster: name });
  await ensurePrivateDir(stateDir);
  const tokenFile = join(stateDir, 'agent.token');
  await writeFileDurably(tokenFile, token);
  const agent = await startAgent(agentConfig(options, tokenFile), { clock, log, hub });
  started.add(`agent of ${name}`, () => agent.close());
  const running = await agent.running;
  const issued = await agent.api.issueGatewayToken({ gateway: gatewayReplica, ttlMs: undefined });
  const gatewayToken = join(stateDir, 'gateway.token');
  await writeFileDurably(gatewayToken, issued.token);
  const gateway = await startGatewayRole(gatewayConfig(options, gatewayToken), { clock, log });
  started.add(`gateway of ${name}`, () => gateway.close());
  return new DemoCluster(options, { agent, running, gateway });
}

function agentConfig(options: DemoClusterOptions, tokenFile: string): AgentConfig {
  const { name, stateDir, ports } = options;
  const grpc = { host, port: ports.listener() };
  return {
    stateDir: join(stateDir, 'agent'),
    cluster: name,
    replica: agentReplica,
    join: { tokenFile },
    authority: [],
    hub: { url: 'memory', prefix: 'isthmus' },
    listen: { grpc, http: { host, port: ports.listener() } },
    advertise: [grpc],
    admin: adminSocketOf(stateDir),
    services: [...options.workloads.map(serviceOf), ...options.services],
    healthCheck: demoHealthCheck,
    policy: { failover: options.failover },
    policies: [],
    importPorts: { ...options.importPorts, fixed: new Map() },
    svidLifeMs: 12 * 3_600_000,
    workloads: { serverNames: [], jwt: [], sockets: [] },
    timings: demoTimings,
    log: 'silent',
  };
}

function serviceOf({ service, port }: Workload): ServiceConfig {
  return {
    service,
    ports: [{ port: 80, name: 'http', protocol: 'TCP', appProtocol: 'http' }],
    exported: true,
    allow: 'members',
    endpoints: [{ address: host, ports: { 80: port } }],
    // Makes `failover.spillAt` and the capacity that `simulate` shows something to try.
    capacity: { concurrent: 100 },
  };
}

function gatewayConfig({ stateDir, ports }: DemoClusterOptions, tokenFile: string): GatewayConfig {
  const hbone = { host, port: ports.listener() };
  return {
    stateDir: join(stateDir, 'gateway'),
    replica: gatewayReplica,
    agent: [],
    join: { tokenFile },
    listen: {
      hbone,
      imports: host,
      health: { host, port: ports.listener() },
      metrics: { host, port: ports.listener() },
    },
    advertise: [{ address: host, port: hbone.port }],
    limits: {},
    identities: [],
    accessLog: { sample: 1 },
    drainGraceMs: 0,
    drainTimeoutMs: 1000,
    log: 'silent',
  };
}

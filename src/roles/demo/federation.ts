import { join } from 'node:path';
import type { DemoService } from '../../cli/role-io.ts';
import type { ServiceConfig } from '../../config/services.ts';
import { IsthmusError } from '../../model/error.ts';
import { parseTrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseServiceKey, type ServiceKey } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { FailoverPlan } from '../../model/route.ts';
import type { Admission } from '../../model/trust.ts';
import { ensurePrivateDir } from '../../runtime/io/files.ts';
import { sleep } from '../../runtime/sleep.ts';
import { initAuthority } from '../../trust/io/authority.ts';
import { type AuthorityRole, startAuthority } from '../authority.ts';
import { Started } from '../shutdown.ts';
import { type DemoCluster, startDemoCluster } from './cluster.ts';
import { DemoPorts } from './ports.ts';
import { Workload } from './workload.ts';

export const east: ClusterName = parseClusterName('east');
export const west: ClusterName = parseClusterName('west');
const south: ClusterName = parseClusterName('south');
const names = [east, west, south] as const;

/** In all three clusters. */
export const web: ServiceKey = parseServiceKey('shop/web');
/** In two of them: `west` always reaches it through another cluster. */
export const cart: ServiceKey = parseServiceKey('shop/cart');

const whatRunsWhere: readonly (readonly [ClusterName, readonly ServiceKey[]])[] = [
  [east, [web, cart]],
  [west, [web]],
  [south, [web, cart]],
];

const federationDomain = parseTrustDomain('demo.internal');
/** Every operator of the demo may do everything; the regions are for policies to go by. */
function admissionOf(name: ClusterName): Partial<Admission> {
  const region = name === south ? 'us' : 'eu';
  return { mayOperate: true, mayPublishPolicy: true, labels: { region, ...(name !== south && { compliance: 'pci' }) } };
}

/** Short enough to watch, as the README says. */
const failover: FailoverPlan = { healthyThreshold: 0.7, holdMs: 1000, returnOverMs: 3000 };
const importPortsPerCluster = 1000;
const firstImportPort = 20_000;
const readyTimeoutMs = 60_000;
/** The passphrase lies beside the key here, so a cost that keeps people waiting would protect nothing. */
const scryptCost = { N: 2 ** 12 };

export interface DemoFederationOptions {
  /** Made if need be; private. */
  readonly stateDir: string;
  readonly hub: Hub;
  readonly services: readonly DemoService[];
  readonly portsFrom: number | undefined;
  /** First import port of the first cluster. Default: 100 behind `portsFrom`, else 20000. */
  readonly importPortsFrom?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Three linked clusters with everything they need, in this process. */
export interface DemoFederation {
  readonly authority: AuthorityRole;
  readonly clusters: ReadonlyMap<ClusterName, DemoCluster>;
  /** @throws IsthmusError `not-found` */
  cluster(name: ClusterName): DemoCluster;
  close(): Promise<void>;
}

/** Starts everything and waits until every gateway reaches every service. Ends what it started if it fails. */
export async function startDemoFederation(options: DemoFederationOptions): Promise<DemoFederation> {
  const { stateDir, hub, clock, log } = options;
  const started = new Started(log);
  try {
    await ensurePrivateDir(stateDir);
    const { portsFrom } = options;
    const ports = new DemoPorts(portsFrom, clock.random());
    const firstImport = options.importPortsFrom ?? (portsFrom === undefined ? firstImportPort : portsFrom + 100);
    const authority = await startDemoAuthority(options, ports);
    started.add('authority', () => authority.close());
    const clusters = new Map<ClusterName, DemoCluster>();
    const starting = names.map(async (name, index) => {
      const workloads = await startWorkloads(name, ports, started);
      const { token } = await authority.authority.issueToken({ cluster: name, admission: admissionOf(name) });
      const first = firstImport + index * importPortsPerCluster;
      return startDemoCluster({
        name,
        stateDir: join(stateDir, name),
        token,
        hub,
        failover,
        workloads,
        services: name === east ? options.services.map(externalService) : [],
        importPorts: { from: first, to: first + importPortsPerCluster - 1 },
        ports,
        clock,
        log,
        started,
      });
    });
    // All of them end before the first failure is told, so that nothing starts behind the back of `started.end()`.
    const settled = await Promise.allSettled(starting);
    for (const result of settled) {
      if (result.status === 'rejected') throw result.reason;
      clusters.set(result.value.name, result.value);
    }
    const federation: DemoFederation = {
      authority,
      clusters,
      cluster(name) {
        const found = clusters.get(name);
        if (found) return found;
        throw new IsthmusError('not-found', `The demo has no cluster '${name}': it has ${names.join(', ')}`);
      },
      close: () => started.end(),
    };
    await untilLinked(federation, options);
    return federation;
  } catch (thrown) {
    await started.end();
    throw thrown;
  }
}

async function startDemoAuthority(
  { stateDir, hub, clock, log }: DemoFederationOptions,
  ports: DemoPorts,
): Promise<AuthorityRole> {
  const authorityDir = join(stateDir, 'authority');
  await initAuthority({ stateDir: authorityDir, federationDomain, clock, scryptCost });
  const listen = { host: '127.0.0.1', port: ports.listener() };
  const admin = join(stateDir, 'authority.sock');
  return startAuthority(
    { stateDir: authorityDir, federationDomain, listen, advertise: [listen], admin, log: 'silent' },
    { clock, log, hub },
  );
}

async function startWorkloads(name: ClusterName, ports: DemoPorts, started: Started): Promise<Workload[]> {
  const services = whatRunsWhere.find(([cluster]) => cluster === name)?.[1] ?? [];
  const workloads: Workload[] = [];
  for (const service of services) {
    const workload = new Workload(name, service, await ports.definite());
    await workload.start();
    started.add(`${service} in ${name}`, () => workload.kill());
    workloads.push(workload);
  }
  return workloads;
}

function externalService({ service, host, port }: DemoService): ServiceConfig {
  return {
    service: parseServiceKey(service),
    ports: [{ port, protocol: 'TCP' }],
    exported: true,
    allow: 'members',
    endpoints: [{ address: host, ports: { [port]: port } }],
  };
}

/** Every gateway ready, every link up, every service known everywhere with all its exporters. */
async function untilLinked(federation: DemoFederation, { services, clock }: DemoFederationOptions): Promise<void> {
  const deadline = clock.monotonic() + readyTimeoutMs;
  const wanted = [
    ...[web, cart].map((key) => ({
      key,
      exporters: whatRunsWhere.filter(([, keys]) => keys.includes(key)).length,
      port: 80,
    })),
    ...services.map(({ service, port }) => ({ key: parseServiceKey(service), exporters: 1, port })),
  ];
  for (;;) {
    const missing = [...federation.clusters.values()].flatMap((cluster) => missingIn(cluster, wanted));
    if (missing.length === 0) return;
    if (clock.monotonic() > deadline) {
      throw new IsthmusError('timeout', `The demo is not ready after ${readyTimeoutMs} ms: ${missing.join('; ')}`);
    }
    await sleep(clock, 10);
  }
}

interface Wanted {
  readonly key: ServiceKey;
  readonly exporters: number;
  readonly port: number;
}

function missingIn(cluster: DemoCluster, wanted: readonly Wanted[]): string[] {
  const { gateway } = cluster.gateway;
  const { links, waitingFor } = gateway.report();
  const missing: string[] = [];
  if (!gateway.ready.current) missing.push(`gateway of ${cluster.name} waits for ${waitingFor ?? 'its start'}`);
  for (const other of names) {
    if (other === cluster.name || links.some((link) => link.cluster === other && link.up)) continue;
    missing.push(`${cluster.name} has no link to ${other}`);
  }
  for (const { key, exporters, port } of wanted) {
    const known = cluster.targets(key).length;
    if (known < exporters) missing.push(`${cluster.name} knows ${known} of ${exporters} exporters of ${key}`);
    else if (cluster.importPort(key, port) === undefined) missing.push(`${cluster.name} does not listen for ${key}`);
  }
  return missing;
}

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { adminClient } from '../../../src/admin/io/client.ts';
import type { DemoService } from '../../../src/cli/role-io.ts';
import { loadConfig } from '../../../src/config/io/load.ts';
import { createEmbeddedHub } from '../../../src/federation/io/embedded-hub.ts';
import type { AccessLogEntry } from '../../../src/gateway/access-log.ts';
import { type ClusterName, parseReplicaName, type ServiceKey } from '../../../src/model/names.ts';
import { type PolicyChanges, policyPaths, type PolicyRow } from '../../../src/model/policy-report.ts';
import { importKey } from '../../../src/policy/compile.ts';
import { type DemoFederation, startDemoFederation } from '../../../src/roles/demo/federation.ts';
import { type GatewayRole, startGatewayRole } from '../../../src/roles/gateway.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { createLog } from '../../../src/runtime/io/log.ts';
import { freePort } from '../../support/ports.ts';
import { type Isthmus, isthmusIn } from '../../cli/isthmus.ts';
import type { Ended } from '../../cli/ended.ts';
import { importPortsFrom } from '../../support/ports.ts';

const withinMs = 20_000;

/** Waits for what a real system does in its own time. */
export async function until<T>(what: string, look: () => T | Promise<T>, ok: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await look();
    if (ok(value)) return value;
    assert.ok(performance.now() < deadline, `not within ${withinMs} ms: ${what}: ${JSON.stringify(value)}`);
    await delay(50);
  }
}

/** A policy document for shop, or for all. */
export function policy(kind: string, name: string, spec: object): object {
  const metadata = { name, ...(kind !== 'FederationPolicy' && { namespace: 'shop' }) };
  return { apiVersion: 'isthmus.dev/v1alpha1', kind, metadata, spec };
}

/** One more gateway of a cluster, beside the one that the demo starts. */
export interface AddedGateway {
  readonly role: GatewayRole;
  /** Its import listeners are on this address. */
  readonly host: string;
  readonly accessLog: AccessLogEntry[];
}

/** Three clusters with agents and gateways in this process, as a client, an operator and an author of policies see them. */
export class RunningFederation {
  readonly demo: DemoFederation;
  readonly #dir: string;
  readonly #isthmus: Isthmus;
  readonly #ends: (() => Promise<void>)[];

  private constructor(demo: DemoFederation, dir: string, ends: (() => Promise<void>)[]) {
    this.demo = demo;
    this.#dir = dir;
    this.#isthmus = isthmusIn(() => dir);
    this.#ends = ends;
  }

  static async start(services: readonly DemoService[] = []): Promise<RunningFederation> {
    const dir = await mkdtemp(join(tmpdir(), 'isthmus-running-'));
    const hub = createEmbeddedHub();
    const ends = [() => rm(dir, { recursive: true, force: true }), () => hub.close()];
    try {
      const log = createLog('test', 'silent');
      const ports = { portsFrom: undefined, importPortsFrom: importPortsFrom() };
      const options = { stateDir: dir, hub, services, ...ports, clock: systemClock, log };
      const demo = await startDemoFederation(options);
      ends.push(() => demo.close());
      return new RunningFederation(demo, dir, ends);
    } catch (thrown) {
      for (const end of ends.reverse()) await end();
      throw thrown;
    }
  }

  async close(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
  }

  /** Starts another gateway and waits until it is ready. */
  async addGateway(cluster: ClusterName, name: string, host: string): Promise<AddedGateway> {
    const replica = parseReplicaName(name);
    const stateDir = join(this.#dir, cluster, name);
    const { token } = await this.demo
      .cluster(cluster)
      .agent.api.issueGatewayToken({ gateway: replica, ttlMs: undefined });
    const tokenFile = `${stateDir}.token`;
    await writeFile(tokenFile, token, { mode: 0o600 });
    const file = `${stateDir}.yaml`;
    const [local, port] = ['127.0.0.1:0', await freePort()];
    const config = {
      stateDir,
      replica,
      join: { tokenFile },
      listen: { hbone: `127.0.0.1:${port}`, imports: host, health: local, metrics: local },
      advertise: [{ address: '127.0.0.1', port }],
      log: 'silent',
    };
    await writeFile(file, JSON.stringify(config));
    const accessLog: AccessLogEntry[] = [];
    const role = await startGatewayRole(await loadConfig('gateway', file), {
      clock: systemClock,
      log: createLog('test', 'silent'),
      accessLog: (entry) => void accessLog.push(entry),
    });
    this.#ends.push(() => role.close());
    await until(
      `${cluster}/${name} is ready`,
      () => role.gateway.waitingFor(),
      (waiting) => waiting === undefined,
    );
    return { role, host, accessLog };
  }

  async ask<T>(cluster: ClusterName, call: (client: ReturnType<typeof adminClient>) => Promise<T>): Promise<T> {
    const client = adminClient(this.demo.cluster(cluster).adminSocket);
    try {
      return await call(client);
    } finally {
      await client.close();
    }
  }

  apply(cluster: ClusterName, ...policies: readonly object[]): Promise<PolicyChanges> {
    return this.ask(cluster, (client) => client.post<PolicyChanges>(policyPaths.apply, { policies }));
  }

  remove(cluster: ClusterName, name: string): Promise<PolicyChanges> {
    return this.ask(cluster, (client) => client.post<PolicyChanges>(policyPaths.remove, { policy: name }));
  }

  policies(cluster: ClusterName): Promise<PolicyRow[]> {
    return this.ask(cluster, (client) => client.get<PolicyRow[]>(policyPaths.policies));
  }

  /** The command line, asking the agent of a cluster. */
  run(cluster: ClusterName, ...args: readonly string[]): Promise<Ended> {
    return this.#isthmus.run([...args, '--server', this.demo.cluster(cluster).adminSocket]);
  }

  /** Where clients in a cluster reach a service. */
  importPort(from: ClusterName, service: ServiceKey, port = 80): number {
    const found = this.demo.cluster(from).importPort(service, port);
    assert.ok(found !== undefined, `${from} does not listen for ${importKey(service, port)}`);
    return found;
  }

  /** Who answers a fresh connection from a cluster; undefined = nobody did. */
  async servedBy(from: ClusterName, service: ServiceKey): Promise<string | undefined> {
    try {
      const url = `http://127.0.0.1:${this.importPort(from, service)}/`;
      const { headers, body } = await request(url, { reset: true });
      await body.dump();
      const by = headers['x-served-by'];
      return typeof by === 'string' ? by : undefined;
    } catch {
      return undefined;
    }
  }

  /** As the first gateway of a cluster has it. */
  share(from: ClusterName, service: ServiceKey, to: ClusterName): number {
    const targets = this.demo.cluster(from).targets(service);
    return targets.find(({ cluster }) => cluster === to)?.share ?? 0;
  }
}

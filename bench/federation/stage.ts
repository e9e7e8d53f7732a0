import { mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTrustDomain } from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import { type ExportRecord, exportKey, type RecordKey } from '../../src/model/record.ts';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import { type Publisher, startPublisher } from '../../src/federation/io/publisher.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { ensurePrivateDir } from '../../src/runtime/io/files.ts';
import { waitFor } from '../../src/runtime/watchable.ts';
import { initAuthority } from '../../src/trust/io/authority.ts';
import { type ClusterCa, openClusterCa } from '../../src/trust/io/cluster-ca.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { type AuthorityRole, startAuthority } from '../../src/roles/authority.ts';
import { freePort } from '../../test/support/ports.ts';
import { startRedis, type TestRedis } from '../../test/support/redis.ts';

const federationDomain = parseTrustDomain('bench.example');
const log = createLog('bench', 'silent');
const host = '127.0.0.1';

/** A member that says what it is told to, with an identity and seals of its own, and does nothing else. */
export interface MockCluster {
  readonly name: ClusterName;
  readonly publisher: Publisher;
  /** What it publishes; `publish` sends it. */
  readonly records: Map<RecordKey, ExportRecord>;
  publish(): void;
}

/** A real Redis, a real authority, and members that really seal. */
export class Stage {
  readonly dir: string;
  readonly redis: TestRedis;
  readonly hub: Hub;
  readonly #authority: AuthorityRole;
  readonly #mocks: MockCluster[] = [];
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(dir: string, redis: TestRedis, parts: { hub: Hub; authority: AuthorityRole }) {
    this.dir = dir;
    this.redis = redis;
    this.hub = parts.hub;
    this.#authority = parts.authority;
  }

  static async open(): Promise<Stage> {
    // The members' own files are not what is measured.
    const memory = '/dev/shm';
    const dir = await mkdtemp(join(existsSync(memory) ? memory : tmpdir(), 'isthmus-bench-'));
    const redis = await startRedis();
    const stateDir = join(dir, 'authority');
    await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 2 ** 12 } });
    const listen = { host, port: await freePort() };
    const authority = await startAuthority(
      {
        stateDir,
        federationDomain,
        listen,
        advertise: [listen],
        admin: join(dir, 'authority.sock'),
        hub: { url: redis.url, prefix: 'isthmus' },
        log: 'silent',
      },
      { clock, log },
    );
    return new Stage(dir, redis, { hub: openRedisHub({ url: redis.url, clock, log }), authority });
  }

  async token(cluster: string): Promise<string> {
    const { token } = await this.#authority.authority.issueToken({ cluster: parseClusterName(cluster) });
    return token;
  }

  /** Members `c0`, `c1`, …, each exporting `services` services of its own, all published when this resolves. */
  async mocks(count: number, services: number): Promise<readonly MockCluster[]> {
    for (let index = this.#mocks.length; index < count; index += 1) this.#mocks.push(await this.#mock(index));
    const mocks = this.#mocks.slice(0, count);
    for (const mock of mocks) {
      mock.records.clear();
      for (let n = 0; n < services; n += 1) put(mock, `s${n}`);
      mock.publish();
    }
    await Promise.all(
      mocks.map(({ publisher }) => waitFor(publisher.status, (status): status is typeof status => status.settled)),
    );
    return mocks;
  }

  async #mock(index: number): Promise<MockCluster> {
    const name = parseClusterName(`c${index}`);
    const stateDir = join(this.dir, name);
    await ensurePrivateDir(stateDir);
    await joinCluster({ token: await this.token(name), stateDir, replica: parseReplicaName('agent-0'), clock, log });
    const ca: ClusterCa = await openClusterCa({ stateDir, clock, log });
    this.#ends.push(() => ca.close());
    const publisher = await startPublisher({
      hub: this.hub,
      cluster: name,
      trustDomain: ca.trustDomain,
      sealer: ca.sealer,
      verifier: ca.sealVerifier,
      stateDir,
      clock,
      log,
    });
    this.#ends.push(() => publisher.close());
    const records = new Map<RecordKey, ExportRecord>();
    return { name, publisher, records, publish: () => publisher.publish(new Map(records), { synced: true }) };
  }

  async close(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
    await this.hub.close();
    await this.#authority.close();
    await this.redis.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** One more service of a member, or the same one with another number of instances. */
export function put({ name, records }: MockCluster, service: string, instances = 1): void {
  const key = parseServiceKey(`${name}/${service}`);
  records.set(exportKey(key), {
    kind: 'export',
    service: key,
    type: 'ClusterSetIP',
    ports: [{ port: 80, protocol: 'TCP', name: 'http', appProtocol: 'http' }],
    allow: 'members',
    endpoints: { total: instances, ready: instances },
    createdAt: 1_700_000_000_000,
    labels: { app: service, team: 'bench' },
  });
}

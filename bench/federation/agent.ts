import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminClient } from '../../src/admin/io/client.ts';
import { type ConfigClient, connectConfig } from '../../src/gateway/io/config-client.ts';
import { parseReplicaName } from '../../src/model/names.ts';
import { adminPaths, type AgentStatus, type IssuedToken } from '../../src/model/status.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { ensurePrivateDir } from '../../src/runtime/io/files.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { openGatewayIdentity } from '../../src/trust/io/gateway-identity.ts';
import { freePort } from '../../test/support/ports.ts';
import type { Stage } from './stage.ts';

const bin = new URL('../../bin/isthmus.js', import.meta.url).pathname;
const log = createLog('bench', 'silent');

/** The agent under test: the real role as a process of its own. */
export class AgentUnderTest {
  readonly #dir: string;
  readonly #port: number;
  #process: ChildProcess | undefined;

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.#port = port;
  }

  static async join(stage: Stage): Promise<AgentUnderTest> {
    const agent = new AgentUnderTest(join(stage.dir, 'target'), await freePort());
    const stateDir = join(agent.#dir, 'state');
    await ensurePrivateDir(agent.#dir);
    await ensurePrivateDir(stateDir);
    const token = await stage.token('target');
    await joinCluster({ token, stateDir, replica: parseReplicaName('agent-0'), clock, log });
    await writeFile(
      agent.#file,
      `role: agent
stateDir: ${stateDir}
cluster: target
hub: { url: '${stage.redis.url}' }
importPorts: { from: 20000, to: 65000 }
listen: { grpc: '127.0.0.1:${agent.#port}', http: '127.0.0.1:0' }
log: warn
`,
    );
    return agent;
  }

  get #file(): string {
    return join(this.#dir, 'agent.yaml');
  }

  /** Starts it with nothing known of others. Resolves, with the ms it took, once so many services are routable. */
  async startCold(services: number): Promise<number> {
    await rm(join(this.#dir, 'state', 'partitions'), { recursive: true, force: true });
    const began = performance.now();
    const extra = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
    this.#process = spawn(process.execPath, [...extra, bin, 'agent', '-f', this.#file], {
      stdio: ['ignore', 'inherit', 'inherit'],
      cwd: this.#dir,
      env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], TMPDIR: this.#dir },
    });
    for (;;) {
      if ((await this.#imported()) >= services) return performance.now() - began;
      if (this.#process.exitCode !== null) throw new Error('the agent ended');
      if (performance.now() - began > 120_000) throw new Error('the agent is not in sync after 120 s');
      await sleep(100);
    }
  }

  async #imported(): Promise<number> {
    const client = adminClient(join(this.#dir, 'state', 'admin.sock'), { timeoutMs: 30_000 });
    try {
      return (await client.get<AgentStatus>(adminPaths.status)).services.imported;
    } catch {
      return 0;
    } finally {
      await client.close();
    }
  }

  /** Resident memory in MB. */
  async rssMb(): Promise<number> {
    const status = await readFile(`/proc/${this.#process?.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  /** Share of one core, over `ms`. */
  async cpuPercent(ms: number): Promise<number> {
    const before = await this.#cpuMs();
    const began = performance.now();
    await sleep(ms);
    return (((await this.#cpuMs()) - before) / (performance.now() - began)) * 100;
  }

  async #cpuMs(): Promise<number> {
    const fields = (await readFile(`/proc/${this.#process?.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    // utime and stime, in hundredths of a second on every Linux that there is.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** A gateway's side of the configuration stream, with an identity that the agent issued. */
  async gateway(): Promise<ConfigClient & AsyncDisposable> {
    const admin = adminClient(join(this.#dir, 'state', 'admin.sock'));
    const { token } = await admin.post<IssuedToken>(adminPaths.tokens, { gateway: 'gateway-0' });
    await admin.close();
    const stateDir = join(this.#dir, 'gateway');
    await ensurePrivateDir(stateDir);
    const identity = await openGatewayIdentity({
      stateDir,
      replica: parseReplicaName('gateway-0'),
      agentAddresses: [`127.0.0.1:${this.#port}`],
      token,
      clock,
      log,
    });
    const client = await connectConfig({
      addresses: identity.agentAddresses,
      credentials: identity.credentials,
      stateDir,
      self: identity.cluster,
      advert: () => ({ addresses: [], version: 'bench' }),
      report: () => undefined,
      onTrust: (update) => identity.acceptTrust(update),
      clock,
      log,
    });
    return Object.assign(client, {
      [Symbol.asyncDispose]: async (): Promise<void> => {
        await client.close();
        await identity.close();
      },
    });
  }

  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null) return;
    running.kill('SIGTERM');
    await once(running, 'close');
  }
}

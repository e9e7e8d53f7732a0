import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type AdminClient, adminClient } from '../../../src/admin/io/client.ts';
import { adminPaths, type AgentStatus } from '../../../src/model/status.ts';
import { type Isthmus, isthmusIn } from '../../cli/isthmus.ts';

/** Longer than anything takes on a machine that does much else. */
const withinMs = 45_000;

/**
 * Roles as programs of their own, in one folder: `<name>.yaml` configures each. A verb under test is run as a program
 * too; what is only waited for is asked at the socket, since a program for each look would be most of the work.
 */
export class Programs implements AsyncDisposable {
  readonly dir: string;
  readonly isthmus: Isthmus;
  readonly #children = new Map<string, ChildProcess>();
  readonly #logs = new Map<string, string>();
  readonly #clients = new Map<string, AdminClient>();

  private constructor(dir: string) {
    this.dir = dir;
    this.isthmus = isthmusIn(() => dir);
  }

  static async open(): Promise<Programs> {
    return new Programs(await mkdtemp(join(tmpdir(), 'isthmus-programs-')));
  }

  /** Of those that run. */
  get names(): readonly string[] {
    return [...this.#children.keys()];
  }

  /** What a program has written so far, also of one that has ended. */
  logOf(name: string): string {
    return this.#logs.get(name) ?? '';
  }

  /** Runs a command that must end well. */
  async ok(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.isthmus.run(args);
    assert.equal(status, 0, `isthmus ${args.join(' ')}\n${stdout}${stderr}${this.#allLogs()}`);
    return stdout;
  }

  start(name: string, role: string): void {
    const child = this.isthmus.start([role, '-f', `${name}.yaml`]);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => this.#logs.set(name, (text += chunk)));
    }
    this.#children.set(name, child);
  }

  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)?.kill(signal);
  }

  /** The status with which a program ends by itself. */
  async ended(name: string): Promise<number | null> {
    const child = this.#children.get(name);
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'close');
    this.#children.delete(name);
    await this.#clients.get(name)?.close();
    this.#clients.delete(name);
    return child?.exitCode ?? null;
  }

  stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(name, signal);
    return this.ended(name);
  }

  /** What an agent or the authority, with the state directory `<name>`, answers at its socket. */
  asked<T>(name: string, path: string): Promise<T> {
    const client = this.#clients.get(name) ?? adminClient(join(this.dir, name, 'admin.sock'), { timeoutMs: withinMs });
    this.#clients.set(name, client);
    return client.get<T>(path);
  }

  /** Waits until an agent or the authority waits for nothing. */
  isUp(name: string): Promise<void> {
    return this.until(`${name} is up`, () =>
      this.asked<Pick<AgentStatus, 'waitingFor'>>(name, adminPaths.status).then(
        ({ waitingFor }) => waitingFor.length === 0,
        () => false,
      ),
    );
  }

  async until(what: string, happens: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (!(await happens())) {
      if (performance.now() > deadline) assert.fail(`${what}: not within ${withinMs} ms${this.#allLogs()}`);
      await delay(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.names.map((name) => this.stop(name, 'SIGKILL')));
    await rm(this.dir, { recursive: true, force: true });
  }

  #allLogs(): string {
    return [...this.#logs].map(([name, text]) => `\n--- ${name}\n${text}`).join('');
  }
}

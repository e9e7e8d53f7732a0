import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { adminClient } from '../../../src/admin/io/client.ts';
import { runCli } from '../../../src/cli/io/program.ts';
import type { World } from '../../../src/cli/world.ts';
import { loadConfig } from '../../../src/config/io/load.ts';
import { readConfig } from '../../../src/config/io/read.ts';
import { runAuthority } from '../../../src/roles/authority.ts';
import { runAuthorityInit } from '../../../src/roles/authority-init.ts';
import { authorityTools } from '../../../src/roles/authority-tools.ts';
import { runJoin } from '../../../src/roles/join.ts';
import { trustTools } from '../../../src/roles/trust-tools.ts';
import { freePort } from '../../support/ports.ts';

/**
 * The command line in this process, with everything behind it real: what a test of processes would pay for starting
 * them is spent on more cases. Relative paths are of the process's folder.
 */

/** What a command line came to. */
export interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line that runs until it is stopped. */
export interface Running {
  readonly said: () => string;
  /** Ends it as SIGTERM does; resolves with its exit status. */
  readonly stop: () => Promise<number>;
}

interface Begun {
  readonly done: Promise<Said>;
  readonly said: () => string;
  readonly abort: () => void;
}

function begin(args: readonly string[]): Begun {
  const stop = new AbortController();
  let stdout = '';
  let stderr = '';
  // Without what other verbs need of the program.
  const world = {
    version: '0.0.0',
    stdout: { write: (text) => void (stdout += text) },
    stderr: { write: (text) => void (stderr += text) },
    env: {},
    uid: process.getuid?.(),
    catchSignals: () => stop.signal,
    connect: async (socketPath, timeoutMs) => adminClient(socketPath, { timeoutMs }),
    readConfig,
    run: async (_role, file, io) => runAuthority(await loadConfig('authority', file), io),
    initAuthority: runAuthorityInit,
    join: runJoin,
    authority: async () => authorityTools,
    trust: async () => trustTools,
  } satisfies Partial<World> as unknown as World;
  const done = runCli(args, world).then((status) => ({ status, stdout, stderr }));
  return { done, said: () => stdout + stderr, abort: () => stop.abort() };
}

/** Runs a command line to its end. */
export function say(...args: string[]): Promise<Said> {
  return begin(args).done;
}

/** …which must be 0; what it wrote. */
export async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await say(...args);
  assert.equal(status, 0, `isthmus ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

/** …as JSON. */
export async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await ok(...args, '-o', 'json')) as T;
}

/** …which must be this status, and say so. */
export async function refused(status: number, message: RegExp, ...args: string[]): Promise<void> {
  const said = await say(...args);
  assert.equal(said.status, status, `isthmus ${args.join(' ')}\n${said.stdout}${said.stderr}`);
  assert.match(said.stderr, message);
}

/** Starts a command line that goes on. */
export function start(...args: string[]): Running {
  const { done, said, abort } = begin(args);
  return {
    said,
    async stop(): Promise<number> {
      abort();
      return (await done).status;
    },
  };
}

/** Writes the configuration of an authority on a free port; its path, relative to this process's folder. */
export async function authorityConfig(name: string, lines: readonly string[] = []): Promise<string> {
  const own = [`listen: 127.0.0.1:${await freePort()}`, 'federationDomain: mesh.example', `stateDir: ${name}`];
  await writeFile(`${name}.yaml`, `${[...own, 'log: error', ...lines].join('\n')}\n`);
  return `${name}.yaml`;
}

/** Runs an authority until its admin socket answers. */
export async function runningAuthority(file: string): Promise<Running> {
  const running = start('authority', '-f', file);
  const end = Date.now() + 10_000;
  while ((await say('status', '--config', file)).status !== 0) {
    assert.ok(Date.now() < end, `${file} does not come up\n${running.said()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return running;
}

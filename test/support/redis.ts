import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './ports.ts';

/** A Redis of a test's own: no persistence, loopback only, gone without a trace when stopped. */
export interface TestRedis {
  readonly port: number;
  readonly url: string;
  readonly dir: string;
  /** Kills it (SIGKILL unless told) and waits until it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Kills it and removes its directory. */
  stop(): Promise<void>;
}

/** `extra`: further arguments of redis-server, such as `--requirepass secret`. */
export async function startRedis(extra: readonly string[] = []): Promise<TestRedis> {
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-redis-'));
  let server = await launch(port, dir, extra);
  return {
    port,
    url: `redis://127.0.0.1:${port}/0`,
    dir,
    kill: (signal = 'SIGKILL') => end(server, signal),
    async restart(): Promise<void> {
      await end(server, 'SIGKILL');
      server = await launch(port, dir, extra);
    },
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    async stop(): Promise<void> {
      server.kill('SIGCONT');
      await end(server, 'SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function launch(port: number, dir: string, extra: readonly string[]): Promise<ChildProcess> {
  const plain = ['--save', '', '--appendonly', 'no', '--bind', '127.0.0.1', '--loglevel', 'warning'];
  const server = spawn('redis-server', ['--port', String(port), '--dir', dir, ...plain, ...extra], { stdio: 'ignore' });
  const failed = once(server, 'error').then(([cause]) => {
    throw new Error('redis-server is not installed: run `npm run setup`', { cause });
  });
  await Promise.race([failed, once(server, 'spawn')]);
  failed.catch(() => undefined);
  for (let attempt = 0; attempt < 400; attempt += 1) {
    if (server.exitCode !== null) throw new Error(`redis-server ended at once with status ${server.exitCode}`);
    if (await accepts(port)) return server;
    await delay(10);
  }
  server.kill('SIGKILL');
  throw new Error(`redis-server does not accept connections on port ${port}`);
}

async function end(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = once(server, 'exit');
  server.kill(signal);
  await gone;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const done = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.once('connect', () => socket.write('PING\r\n'));
    // An error answer (`NOAUTH`) also comes from a server that is up; `LOADING` does not occur without persistence.
    socket.once('data', () => done(true));
    socket.once('error', () => done(false));
  });
}

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { IsthmusError } from '../../model/error.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { sleep } from '../../runtime/sleep.ts';

export interface PrivateRedis {
  readonly url: string;
  /** Ends the server and resolves when it is gone. */
  stop(): Promise<void>;
}

const startTimeoutMs = 5000;
/** Of the shell: there is no such program. */
const notFound = 127;
/** Lives as long as its standard input, so that the server ends with us even when we are killed outright. */
const guard = `command -v redis-server >/dev/null || exit ${notFound}
redis-server "$@" >/dev/null 2>&1 & server=$!
cat >/dev/null
kill "$server" 2>/dev/null; wait "$server"`;

/** Starts a redis-server of our own on loopback, without persistence. Undefined: none is installed. */
export async function startPrivateRedis(dir: string, port: number, clock: Clock): Promise<PrivateRedis | undefined> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'];
  const child = spawn('sh', ['-c', guard, 'sh', ...flags], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  const deadline = clock.monotonic() + startTimeoutMs;
  while (!(await answers(port))) {
    if (child.exitCode === notFound) return undefined;
    if (exited(child) || clock.monotonic() > deadline) {
      await stop();
      throw new IsthmusError('unavailable', `redis-server did not answer on port ${port} within ${startTimeoutMs} ms`);
    }
    await sleep(clock, 20);
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

function exited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}

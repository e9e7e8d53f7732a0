import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.ts';

/** nginx, as one process in the foreground with everything that it writes in a folder of its own. */
export interface Nginx {
  readonly port: number;
  /** Where `location / { root … }` finds its files: `root files;`. */
  readonly files: string;
  close(): Promise<void>;
}

export interface NginxOptions {
  /** Inside of `server { … }`. */
  readonly server: string;
  /** Of `listen`, such as `http2`. */
  readonly listen?: string;
}

const startMs = 20_000;

/** @throws Error with what it wrote when it does not come up */
export async function startNginx({ server, listen = '' }: NginxOptions): Promise<Nginx> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-nginx-'));
  const files = join(dir, 'files');
  mkdirSync(files);
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${dir}/${name};`,
  );
  const config = join(dir, 'nginx.conf');
  writeFileSync(
    config,
    [
      // Without a master there is nobody to change users, and one process to end.
      'daemon off; master_process off; worker_processes 1;',
      `pid ${dir}/pid; error_log stderr warn;`,
      'events { worker_connections 512; }',
      `http { access_log off; ${temporary.join(' ')} client_max_body_size 0;`,
      `server { listen 127.0.0.1:${port} ${listen}; ${server} } }`,
    ].join('\n'),
  );
  const child = spawn('nginx', ['-p', dir, '-c', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.on('error', (error) => (said += error.message));
  const close = async (): Promise<void> => {
    await end(child);
    rmSync(dir, { recursive: true, force: true });
  };
  const deadline = performance.now() + startMs;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await close();
      throw new Error(`nginx did not start: ${said}`);
    }
    await sleep(20);
  }
  return { port, files, close };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

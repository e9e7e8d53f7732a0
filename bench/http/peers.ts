import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pemOf } from '../../src/runtime/io/tls.ts';
import { gatewayId, type TestCa } from '../../test/gateway/support/identities.ts';
import { freePort } from '../../test/support/ports.ts';
import { accepts, kill, pinned } from '../program.ts';

/** One way from the load to the backend. */
export interface Contestant {
  readonly name: string;
  /** Where clients connect. */
  readonly port: number;
  /** Its processes. */
  readonly pids: readonly (number | undefined)[];
  /** 0 to 1: this part of its calls may fail. Absent: none. */
  readonly mayFail?: number;
  close(): Promise<void>;
}

export interface Stage {
  readonly ca: TestCa;
  readonly dir: string;
  /** Of the contestants. */
  readonly core: number;
  /** Where they lead: HTTP/1.1, or HTTP/2 without TLS. */
  readonly backendPort: number;
  readonly h2: boolean;
  /** Every request is written to a file. */
  readonly logs: boolean;
  /** Arguments of node for the gateways, such as `--cpu-prof`. */
  readonly nodeArguments: readonly string[];
}

/** The floor: no proxy at all. */
export function direct(port: number): Contestant {
  return { name: 'direct', port, pids: [], close: async () => undefined };
}

/** HAProxy in HTTP mode: one process, one thread, connections kept on both sides, `x-forwarded-for` added. */
export async function haproxy(stage: Stage): Promise<Contestant> {
  const port = await freePort();
  const proto = stage.h2 ? ' proto h2' : '';
  const child = await startHaproxy(stage, {
    name: 'haproxy',
    bind: `127.0.0.1:${port}${proto}`,
    server: `127.0.0.1:${stage.backendPort}${proto}`,
  });
  await accepts(port);
  return { name: 'haproxy', port, pids: [child.pid], close: () => kill(child) };
}

/** Two of them with mutual TLS in between, HTTP/1.1 over it, the same certificates as the gateways'. */
export async function haproxyPair(stage: Stage): Promise<Contestant> {
  const { ca, dir } = stage;
  const [front, middle] = [await freePort(), await freePort()];
  const root = join(dir, 'root.pem');
  writeFileSync(root, pemOf(ca.anchor));
  const tls = (cluster: string): string => {
    const { chain, keyPem } = ca.issue(gatewayId(cluster, 'proxy'));
    const pem = join(dir, `haproxy-${cluster}.pem`);
    writeFileSync(pem, chain.map((der) => pemOf(der)).join('') + keyPem, { mode: 0o600 });
    return `ssl crt ${pem} ca-file ${root} verify required ssl-min-ver TLSv1.3`;
  };
  const west = await startHaproxy(stage, {
    name: 'haproxy-west',
    bind: `127.0.0.1:${front}`,
    server: `127.0.0.1:${middle} ${tls('west')}`,
  });
  const east = await startHaproxy(stage, {
    name: 'haproxy-east',
    bind: `127.0.0.1:${middle} ${tls('east')}`,
    server: `127.0.0.1:${stage.backendPort}`,
  });
  await Promise.all([accepts(front), accepts(middle)]);
  const close = async (): Promise<void> => void (await Promise.all([kill(west), kill(east)]));
  return { name: 'haproxy', port: front, pids: [west.pid, east.pid], close };
}

function startHaproxy(
  { dir, core, logs }: Stage,
  side: { readonly name: string; readonly bind: string; readonly server: string },
): Promise<ChildProcess> {
  const name = logs ? `${side.name}-logs` : side.name;
  const config = join(dir, `${name}.cfg`);
  writeFileSync(
    config,
    [
      'global\nnbthread 1\nmaxconn 9500',
      logs ? 'log stdout format raw local0' : '',
      'defaults\nmode http\ntimeout connect 5s\ntimeout client 1h\ntimeout server 15s\noption forwardfor',
      logs ? 'log global\noption httplog' : '',
      `frontend in\nbind ${side.bind}\ndefault_backend out`,
      `backend out\nserver web ${side.server}\n`,
    ].join('\n'),
  );
  return pinned(core, ['haproxy', '-db', '-q', '-f', config], { stdout: join(dir, `${name}.log`) });
}

/** nginx as a proxy: one worker, connections kept on both sides, `x-forwarded-for` added. */
export async function nginxProxy(stage: Stage): Promise<Contestant> {
  const { dir, core, backendPort, h2, logs } = stage;
  const port = await freePort();
  const child = await startNginx(
    { dir, core, name: logs ? 'nginx-logs' : 'nginx', logs },
    `upstream web { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }
  server {
    listen 127.0.0.1:${port} backlog=4096${h2 ? ' http2' : ''};
    location / { ${h2 ? 'grpc_pass grpc://web;' : 'proxy_pass http://web; proxy_http_version 1.1;'}
      ${h2 ? '' : 'proxy_set_header Connection ""; proxy_set_header Host $host;'}
      ${h2 ? 'grpc_set_header' : 'proxy_set_header'} X-Forwarded-For $proxy_add_x_forwarded_for; }
  }`,
  );
  await accepts(port);
  // A frame of the server that crosses the end of a call breaks the next one on that connection (1.22).
  return { name: 'nginx', port, pids: [child.pid], mayFail: h2 ? 0.01 : 0, close: () => kill(child) };
}

export interface Backend {
  readonly h1Port: number;
  readonly h2Port: number;
  close(): Promise<void>;
}

/**
 * nginx that answers by itself: two bytes over HTTP/1.1; over HTTP/2 what a gRPC server answers to a unary call, a
 * message of two bytes and the status as a trailer.
 */
export async function backend(dir: string, core: number): Promise<Backend> {
  const [h1Port, h2Port] = [await freePort(), await freePort()];
  const message = Buffer.from([0, 0, 0, 0, 2, 8, 1]).toString('latin1');
  const child = await startNginx(
    { dir, core, name: 'backend', logs: false },
    `server { listen 127.0.0.1:${h1Port} backlog=4096; location / { default_type text/plain; return 200 "ok"; } }
  server {
    listen 127.0.0.1:${h2Port} backlog=4096 http2;
    location / { default_type application/grpc; add_trailer grpc-status 0; return 200 "${message}"; }
  }`,
  );
  await Promise.all([accepts(h1Port), accepts(h2Port)]);
  return { h1Port, h2Port, close: () => kill(child) };
}

function startNginx(
  where: { readonly dir: string; readonly core: number; readonly name: string; readonly logs: boolean },
  servers: string,
): Promise<ChildProcess> {
  const { dir, core, name, logs } = where;
  const config = join(dir, `${name}.conf`);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${dir}/${name}-${kind};`,
  );
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${dir}/${name}.pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log ${logs ? `${dir}/${name}.log` : 'off'}; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
  ${paths.join(' ')}
  ${servers}
}
`,
    'latin1',
  );
  return pinned(core, ['nginx', '-p', dir, '-c', config, '-e', 'stderr']);
}

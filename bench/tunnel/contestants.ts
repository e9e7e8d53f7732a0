import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseServiceKey } from '../../src/model/names.ts';
import type { Svid } from '../../src/model/trust.ts';
import { pemOf } from '../../src/runtime/io/tls.ts';
import { gatewayId, type TestCa } from '../../test/gateway/support/identities.ts';
import { serviceRoute } from '../../test/gateway/support/mesh.ts';
import { roomy, routeTo, settled, spawnGateway } from '../../test/gateway/support/spawn-gateway.ts';
import { freePort } from '../../test/support/ports.ts';
import { accepts, kill, pinned, rssOf } from '../program.ts';

/** One way from the load to the backend. */
export interface Contestant {
  readonly name: string;
  /** Where clients connect. */
  readonly port: number;
  /** Resident bytes of all its processes. */
  rssBytes(): Promise<number>;
  close(): Promise<void>;
}

export interface Stage {
  readonly ca: TestCa;
  readonly dir: string;
  /** Where contestants lead. */
  readonly backendPort: number;
  readonly core: number;
  /** Arguments of node for the gateways, such as `--cpu-prof`. */
  readonly nodeArguments?: readonly string[];
}

/** Two gateway processes on one core, the real ones, with fixed routes. */
export async function isthmusPair({ ca, backendPort, core, nodeArguments = [] }: Stage): Promise<Contestant> {
  const common = { ca, core, clusters: ['west', 'east'], limits: roomy.limits, nodeArguments };
  const key = parseServiceKey('shop/web');
  const { connection } = roomy;
  const exported = { ...serviceRoute({ self: 'east', service: key, local: [backendPort] }), connection };
  const east = await spawnGateway({ ...common, cluster: 'east', services: [exported] });
  const port = await freePort();
  const remote = serviceRoute({ self: 'west', service: key, importPort: port, remote: ['east'], exported: false });
  const imported = { ...remote, connection };
  const route = routeTo('east', [east.hbonePort]);
  const west = await spawnGateway({ ...common, cluster: 'west', services: [imported], routes: [route] });
  await settled(west, 1, 1);
  return {
    name: 'isthmus',
    port,
    async rssBytes() {
      // Asked, so that garbage is not counted: HAProxy has none.
      const states = await Promise.all([west.state(true), east.state(true)]);
      return states.reduce((sum, { rssBytes }) => sum + rssBytes, 0);
    },
    close: async () => void (await Promise.all([west.end('SIGTERM'), east.end('SIGTERM')])),
  };
}

/**
 * Two HAProxy processes on one core, mTLS between them, TCP mode, the same certificates. `resume`: later connections
 * resume earlier TLS sessions, which spares the verification of certificates that our gateways do for every session.
 */
export async function haproxyPair({ ca, dir, backendPort, core }: Stage, resume: boolean): Promise<Contestant> {
  const name = resume ? 'haproxy-resumed' : 'haproxy';
  const [front, middle] = [await freePort(), await freePort()];
  const root = join(dir, 'root.pem');
  writeFileSync(root, pemOf(ca.anchor));
  const west = await haproxy(dir, core, {
    name: `${name}-west`,
    svid: ca.issue(gatewayId('west', 'proxy')),
    bind: (): string => `bind 127.0.0.1:${front}`,
    server: (pem) =>
      `server east 127.0.0.1:${middle} ssl crt ${pem} ca-file ${root} verify required ssl-min-ver TLSv1.3` +
      (resume ? '' : ' no-ssl-reuse no-tls-tickets'),
  });
  const east = await haproxy(dir, core, {
    name: `${name}-east`,
    svid: ca.issue(gatewayId('east', 'proxy')),
    bind: (pem) =>
      `bind 127.0.0.1:${middle} ssl crt ${pem} ca-file ${root} verify required ssl-min-ver TLSv1.3` +
      (resume ? '' : ' no-tls-tickets'),
    server: () => `server web 127.0.0.1:${backendPort}`,
  });
  await Promise.all([accepts(front), accepts(middle)]);
  const pids = [west, east].map(({ pid }) => pid);
  return {
    name,
    port: front,
    rssBytes: async () => pids.reduce((sum: number, pid) => sum + rssOf(pid ?? 0), 0),
    close: async () => void (await Promise.all([kill(west), kill(east)])),
  };
}

/** The floor: no proxy at all. */
export function direct(backendPort: number): Contestant {
  return { name: 'direct', port: backendPort, rssBytes: async () => 0, close: async () => undefined };
}

interface HaproxySide {
  readonly name: string;
  readonly svid: Svid;
  readonly bind: (pem: string) => string;
  readonly server: (pem: string) => string;
}

async function haproxy(dir: string, core: number, side: HaproxySide): Promise<ChildProcess> {
  const pem = join(dir, `${side.name}.pem`);
  writeFileSync(pem, side.svid.chain.map((der) => pemOf(der)).join('') + side.svid.keyPem, { mode: 0o600 });
  const config = join(dir, `${side.name}.cfg`);
  writeFileSync(
    config,
    [
      'global\nnbthread 1\nmaxconn 9500',
      'defaults\nmode tcp\ntimeout connect 5s\ntimeout client 1h\ntimeout server 1h',
      `frontend in\n${side.bind(pem)}\ndefault_backend out`,
      `backend out\n${side.server(pem)}\n`,
    ].join('\n'),
  );
  return pinned(core, ['haproxy', '-db', '-q', '-f', config]);
}

/** nginx with one worker, on one core if any: `/` answers two bytes, `/bulk` sixteen MiB. */
export async function nginx(dir: string, core?: number): Promise<{ port: number; close(): Promise<void> }> {
  const port = await freePort();
  writeFileSync(join(dir, 'bulk'), Buffer.alloc(16 << 20, 'isthmus '));
  const config = join(dir, 'nginx.conf');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`);
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${dir}/nginx.pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h; ${paths.join(' ')}
  server {
    listen 127.0.0.1:${port} backlog=4096; root ${dir};
    location = / { default_type text/plain; return 200 "ok"; }
  }
}
`,
  );
  const child = await pinned(core, ['nginx', '-p', dir, '-c', config, '-e', 'stderr']);
  await accepts(port);
  return { port, close: () => kill(child) };
}

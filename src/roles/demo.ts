import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { demoRoutes } from '../admin/demo-api.ts';
import { startAdmin } from '../admin/io/server.ts';
import type { DemoOptions, RoleIo } from '../cli/role-io.ts';
import { demoDir } from '../cli/servers.ts';
import { createEmbeddedHub } from '../federation/io/embedded-hub.ts';
import { openRedisHub } from '../federation/io/redis-hub/open-redis-hub.ts';
import { IsthmusError, messageOf } from '../model/error.ts';
import { nameOf, namespaceOf, parseServiceKey } from '../model/names.ts';
import type { Hub } from '../model/ports/hub.ts';
import type { Log } from '../model/ports/log.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { ensurePrivateDir } from '../runtime/io/files.ts';
import { sleep } from '../runtime/sleep.ts';
import { demoApi } from './demo/control.ts';
import { cart, type DemoFederation, east, startDemoFederation, web, west } from './demo/federation.ts';
import { DemoPorts } from './demo/ports.ts';
import { startPrivateRedis } from './demo/private-redis.ts';
import { failoverScenario } from './demo/scenario.ts';
import { coloured, plain, renderLine, renderScreen } from './demo/screen.ts';
import { Show } from './demo/show.ts';
import { LiveBlock } from './demo/terminal.ts';
import { Traffic } from './demo/traffic.ts';
import { isLiveSocket } from './demo/live-socket.ts';
import { roleLog } from './role-log.ts';
import { keepAlive, Started } from './shutdown.ts';

const tickMs = 1000;
const clock = systemClock;

/** `isthmus demo`: three linked clusters in this process, until `io.signal` aborts or the scenario is over. */
export async function runDemo(options: DemoOptions, io: RoleIo): Promise<number> {
  const level = io.env['ISTHMUS_DEMO_LOG'] === 'debug' ? 'debug' : 'silent';
  const log = roleLog('demo', level, io);
  const started = new Started(log);
  const release = keepAlive();
  try {
    const { dir, usual } = await openDir(options, started);
    const { hub, hubName } = await openDemoHub(options, { dir, io, log, started });
    io.stderr.write(`starting three clusters (hub: ${hubName}) …\n`);
    const federation = await startDemoFederation({
      stateDir: dir,
      hub,
      services: options.services,
      portsFrom: options.portsFrom,
      clock,
      log,
    });
    started.add('federation', () => federation.close());
    const run = { options, io, federation, hubName };
    return await (options.scenario ? runScenario(run) : runLive(run, { dir, usual, log, started }));
  } finally {
    await started.end();
    release();
  }
}

interface Run {
  readonly options: DemoOptions;
  readonly io: RoleIo;
  readonly federation: DemoFederation;
  readonly hubName: string;
}

/** The folder that other verbs know, unless it is taken; a scenario is nobody's business and gets one of its own. */
async function openDir(options: DemoOptions, started: Started): Promise<{ dir: string; usual: boolean }> {
  const remove = (dir: string): void => started.add('state', () => rm(dir, { recursive: true, force: true }));
  if (!options.scenario) {
    const dir = demoDir(tmpdir(), process.getuid?.());
    try {
      await ensurePrivateDir(dir);
      if (!(await isLiveSocket(join(dir, 'demo.sock')))) {
        await rm(dir, { recursive: true, force: true });
        await ensurePrivateDir(dir);
        remove(dir);
        return { dir, usual: true };
      }
    } catch (thrown) {
      // Somebody else's folder of that name: a fresh one serves as well.
      if (IsthmusError.from(thrown).code !== 'denied') throw thrown;
    }
  }
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-demo-'));
  remove(dir);
  return { dir, usual: false };
}

interface HubContext {
  readonly dir: string;
  readonly io: RoleIo;
  readonly log: Log;
  readonly started: Started;
}

async function openDemoHub(
  options: DemoOptions,
  { dir, io, log, started }: HubContext,
): Promise<{ hub: Hub; hubName: string }> {
  let url = options.hub === 'memory' ? undefined : options.hub;
  if (url === 'auto') {
    const port = await new DemoPorts(undefined, clock.random()).definite();
    const redis = await startPrivateRedis(join(dir, 'redis'), port, clock);
    if (!redis) io.stderr.write('no redis-server is installed: using the embedded hub\n');
    else started.add('redis-server', () => redis.stop());
    url = redis?.url;
  }
  if (url === undefined) return { hub: createEmbeddedHub(), hubName: 'memory' };
  // A prefix of its own, so that a Redis in use is left as it was found.
  const hub = openRedisHub({ url, prefix: `isthmus-demo-${process.pid}`, clock, log });
  started.add('hub', () => hub.close());
  await firstAnswer(hub);
  return { hub, hubName: 'redis' };
}

const hubTimeoutMs = 5000;

async function firstAnswer(hub: Hub): Promise<void> {
  const deadline = clock.monotonic() + hubTimeoutMs;
  for (;;) {
    try {
      await hub.readHeads(['authority']);
      return;
    } catch (cause) {
      if (clock.monotonic() > deadline) {
        throw new IsthmusError('unavailable', `The hub ${hub.name} did not answer: ${messageOf(cause)}`, { cause });
      }
      await sleep(clock, 50);
    }
  }
}

async function runScenario({ options, io, federation, hubName }: Run): Promise<number> {
  const result = await failoverScenario({
    federation,
    hubName,
    clock,
    signal: io.signal,
    tell: (line) => void io.stderr.write(`${line}\n`),
  });
  const { sent, failed, interrupted } = result.requests;
  if (options.json) io.stdout.write(`${JSON.stringify(result)}\n`);
  else {
    const { detectMs, recoverMs } = result.failover;
    io.stdout.write(
      `${sent} requests sent, ${failed} failed, ${interrupted} interrupted (in flight to a killed instance); noticed within ${detectMs} ms, recovered within ${recoverMs} ms\n`,
    );
  }
  return failed === 0 && result.mtls ? 0 : 1;
}

interface LiveContext {
  readonly dir: string;
  readonly usual: boolean;
  readonly log: Log;
  readonly started: Started;
}

async function runLive(run: Run, { dir, usual, log, started }: LiveContext): Promise<number> {
  const { options, io, federation, hubName } = run;
  const traffic = startTraffic(federation);
  started.add('traffic', async () => {
    await Promise.all(traffic.map((each) => each.stop()));
  });
  const show = new Show({ federation, traffic, hubName, clock });
  const api = demoApi({ federation, traffic, hubName, show, clock });
  const control = await startAdmin({ socketPath: join(dir, 'demo.sock'), routes: demoRoutes(api), log });
  started.add('control socket', () => control.close());
  const viewpoint = federation.cluster(west);
  await symlink(viewpoint.adminSocket, join(dir, 'admin.sock'));

  io.stdout.write(`${hints(run, usual ? '' : ` --server ${dir}`).join('\n')}\n\n`);
  const live = io.stdout.isTTY ? new LiveBlock(io.stdout) : undefined;
  const paint = io.stdout.isTTY && io.env['NO_COLOR'] === undefined ? coloured : plain;
  started.add('screen', () => live?.end());
  while (!io.signal.aborted) {
    await sleep(clock, tickMs, io.signal);
    const screen = show.tick();
    if (live) live.draw(renderScreen(screen, paint));
    else io.stdout.write(`${renderLine(screen)}\n`);
  }
  const counts = api.status().requests;
  if (options.json) io.stdout.write(`${JSON.stringify({ scenario: null, hub: hubName, requests: counts })}\n`);
  else io.stdout.write(`\n${counts.sent} requests sent, ${counts.failed} failed, ${counts.interrupted} interrupted\n`);
  return 0;
}

function startTraffic(federation: DemoFederation): Traffic[] {
  const pairs = [...federation.clusters.values()].flatMap((cluster) =>
    (cluster.name === west ? [web, cart] : [web]).map((service) => ({ cluster, service })),
  );
  return pairs.map(({ cluster, service }) => {
    const port = cluster.importPort(service, 80);
    if (port === undefined) throw new IsthmusError('internal', `${cluster.name} does not listen for ${service}`);
    const traffic = new Traffic({
      from: cluster.name,
      service,
      port,
      concurrency: 4,
      thinkMs: 60,
      requestsPerConnection: 5,
      clock,
    });
    traffic.start();
    return traffic;
  });
}

/** What to try next, with this demo's own ports. */
function hints({ options, federation }: Run, server: string): string[] {
  const here = federation.cluster(west);
  const agent = server === '' ? '' : `${server}/west/agent/admin.sock`;
  const demo = server === '' ? '' : `${server}/demo.sock`;
  const external = options.services.map(({ service, host, port }) => {
    const key = parseServiceKey(service);
    const entry = here.importPort(key, port);
    return `  ${namespaceOf(key)}/${nameOf(key)}: ${host}:${port}, exported by ${east}, is 127.0.0.1:${entry} in ${west}`;
  });
  const lines: (readonly [string, string])[] = [
    [`npx isthmus demo fail west${demo}`, `kill west's instances; 'demo restore west' brings them back`],
    [`npx isthmus services shop/web${agent}`, 'who serves, with what share, and why'],
    [`npx isthmus status${agent}`, `what west's agent knows, and what it waits for`],
    [`npx isthmus links${agent}`, 'round trips between the gateways'],
    [`curl http://127.0.0.1:${here.importPort(cart, 80)}/`, 'shop/cart from west, where no instance of it runs'],
    [`curl http://127.0.0.1:${here.agent.httpPort}/v1/services`, `west's read-only API`],
  ];
  const width = Math.max(...lines.map(([command]) => command.length));
  return [
    'Three linked clusters are up. Try, in another terminal:',
    ...lines.map(([command, what]) => `  ${command.padEnd(width)}  # ${what}`),
    ...external,
    'Ctrl-C ends everything.',
  ];
}

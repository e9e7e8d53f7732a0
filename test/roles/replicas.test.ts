import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExportPreview } from '../../src/model/export-report.ts';
import type { AgentStatus, LeaveReport, ServiceDetail, ServiceRow } from '../../src/model/status.ts';
import { type Isthmus, isthmusIn } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

/** Two replicas of one cluster's agent, each with a state directory of its own, and a gateway that knows both. */

let dir = '';
let redis: TestRedis;
let backend: Server;
let backendPort = 0;
let authorityPort = 0;
const grpcPorts: number[] = [];
const roles = new Map<string, ChildProcess>();
const logs = new Map<string, string>();
const isthmus: Isthmus = isthmusIn(() => dir);

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await isthmus.run(args);
  assert.equal(status, 0, `isthmus ${args.join(' ')}\n${stdout}${stderr}${[...logs].join('\n')}`);
  return stdout;
}

function start(name: string, role: string): void {
  const child = isthmus.start([role, '-f', `${name}.yaml`]);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => logs.set(name, (text += chunk)));
  }
  roles.set(name, child);
}

async function stop(name: string, signal: NodeJS.Signals): Promise<void> {
  const child = roles.get(name);
  roles.delete(name);
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'close');
}

async function until(what: string, happens: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await happens())) {
    if (performance.now() > deadline) assert.fail(`${what}: not within ${timeoutMs} ms\n${[...logs].join('\n')}`);
    await delay(20);
  }
}

async function statusOf(name: string): Promise<AgentStatus> {
  return JSON.parse(await ok('status', '--config', `${name}.yaml`, '-o', 'json')) as AgentStatus;
}

const replicas = ['agent-0', 'agent-1'] as const;

function agentYaml(replica: string, index: number, services: string): string {
  const lock = join(dir, 'leader');
  return `role: agent
stateDir: ${replica}
cluster: west
replica: ${replica}
leaderLock: ${lock}
join: { tokenFile: ${replica}.token }
hub: { url: '${redis.url}' }
listen: { grpc: '127.0.0.1:${grpcPorts[index]}', http: '127.0.0.1:0' }
advertise: ['127.0.0.1:${grpcPorts[0]}', '127.0.0.1:${grpcPorts[1]}']
timings: { lease: 500ms, suspect: 2s, dead: 6s, poll: 200ms }
healthCheck: { interval: 100ms }
services: ${services}
`;
}

function webAnd(more = ''): string {
  return `[{ service: shop/web, ports: [{ port: 80, name: http }], endpoints: ['127.0.0.1:${backendPort}'] }${more}]`;
}

async function writeAgents(services: string): Promise<void> {
  for (const [index, replica] of replicas.entries()) {
    await writeFile(join(dir, `${replica}.yaml`), agentYaml(replica, index, services));
  }
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-replicas-'));
  redis = await startRedis();
  backend = createServer((_request, response) => response.end('hello\n'));
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  backendPort = (backend.address() as { port: number }).port;
  authorityPort = await freePort();
  grpcPorts.push(await freePort(), await freePort());
  await writeFile(
    join(dir, 'authority.yaml'),
    `stateDir: authority\nfederationDomain: mesh.example\nlisten: '127.0.0.1:${authorityPort}'\nadvertise: ['127.0.0.1:${authorityPort}']\nhub: { url: '${redis.url}' }\n`,
  );
  const [hbone, health, metrics] = [await freePort(), await freePort(), await freePort()];
  await writeFile(
    join(dir, 'gateway-0.yaml'),
    `role: gateway\nstateDir: gateway-0\njoin: { tokenFile: gateway.token }\nlisten: { hbone: '127.0.0.1:${hbone}', health: '127.0.0.1:${health}', metrics: '127.0.0.1:${metrics}' }\n`,
  );
  await writeAgents(webAnd());
});

after(async () => {
  await Promise.all([...roles.keys()].map((name) => stop(name, 'SIGKILL')));
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});

suite('two replicas of an agent', () => {
  test('one leads, both serve: the second one knows what the first one gave out', async () => {
    await ok('authority', 'init', '-f', 'authority.yaml');
    start('authority', 'authority');
    await ok('status', '--config', 'authority.yaml', '--wait');
    for (const replica of replicas) {
      await ok('token', 'issue', 'west', '--config', 'authority.yaml', '--out', `${replica}.token`);
      start(replica, 'agent');
      await ok('status', '--config', `${replica}.yaml`, '--wait');
    }
    assert.deepEqual([(await statusOf('agent-0')).leader, (await statusOf('agent-1')).leader], [true, false]);
    const portsOf = async (replica: string): Promise<unknown> =>
      (JSON.parse(await ok('services', '--config', `${replica}.yaml`, '-o', 'json')) as ServiceRow[])[0]?.ports;
    await until('the standby knows the ports', async () => JSON.stringify(await portsOf('agent-1')) !== undefined);
    assert.deepEqual(await portsOf('agent-1'), await portsOf('agent-0'));
  });

  test('a gateway follows one and reports to both, so that the leader knows it whichever that is', async () => {
    await ok('token', 'issue', '--gateway', 'gateway-0', '--config', 'agent-0.yaml', '--out', 'gateway.token');
    start('gateway-0', 'gateway');
    for (const replica of replicas) {
      await until(`${replica} sees the gateway ready`, async () => (await statusOf(replica)).gateways.ready === 1);
    }
  });

  test('trust status shows both agents on either, and the authority knows them too', async () => {
    type Row = { role: string; replica: string; chain: string[] };
    const proved = async (name: string): Promise<string> => {
      const status = JSON.parse(await ok('trust', 'status', '--config', `${name}.yaml`, '-o', 'json')) as {
        replicas: Row[];
      };
      const rows = status.replicas.filter(({ chain }) => chain.length > 0);
      return rows
        .map(({ role, replica }) => `${role}/${replica}`)
        .sort()
        .join(' ');
    };
    const all = 'agent/agent-0 agent/agent-1 gateway/gateway-0';
    for (const replica of replicas) await until(`${replica} shows all`, async () => (await proved(replica)) === all);
    const heard = JSON.parse(
      await ok('authority', 'acknowledgements', '--config', 'authority.yaml', '-o', 'json'),
    ) as Row[];
    assert.deepEqual(
      heard
        .map(({ role, replica }) => `${role}/${replica}`)
        .sort()
        .join(' '),
      all,
    );
  });

  test('a plan shows conflicts and writes nothing; the list is read again at SIGHUP', async () => {
    await writeAgents(webAnd(`, { service: shop/db, ports: [5432] }`));
    const before = await statusOf('agent-0');
    for (const replica of replicas) roles.get(replica)?.kill('SIGHUP');
    const db = ['services', 'shop/db', '--config', 'agent-0.yaml', '-o', 'json'];
    await until('shop/db is there', async () => (await isthmus.run(db)).status === 0);
    await writeFile(
      join(dir, 'plan.yaml'),
      'services: [{ service: shop/db, ports: [5433] }, { service: shop/new, ports: [1] }]\n',
    );
    const plan = await isthmus.run([
      'export',
      '--plan',
      '--services',
      'plan.yaml',
      '--config',
      'agent-0.yaml',
      '-o',
      'json',
    ]);
    assert.equal(plan.status, 0, plan.stderr);
    const { services } = JSON.parse(plan.stdout) as ExportPreview;
    assert.deepEqual(
      services.map(({ service, action }) => [service, action]),
      [
        ['shop/db', 'change'],
        ['shop/new', 'export'],
        ['shop/web', 'withdraw'],
      ],
    );
    const detail = JSON.parse(await ok(...db)) as ServiceDetail;
    assert.deepEqual(
      detail.ports.map(({ port }) => port),
      [5432],
    );
    assert.ok((await statusOf('agent-0')).publisher.revision !== undefined && before.publisher.revision !== undefined);
    const refused = await isthmus.run(['export', '--config', 'agent-0.yaml']);
    assert.deepEqual([refused.status, /--plan/.test(refused.stderr)], [2, true]);
  });

  test('the leader killed: the other leads within a second, the gateway goes on without losing its table', async () => {
    const killedAt = performance.now();
    await stop('agent-0', 'SIGKILL');
    let leadsAt = 0;
    await until('agent-1 leads', async () => {
      leadsAt = /"leading"/.test(logs.get('agent-1') ?? '') ? performance.now() : 0;
      return leadsAt > 0;
    });
    assert.ok(leadsAt - killedAt < 1000, `took ${leadsAt - killedAt} ms`);
    await until('agent-1 writes', async () => (await statusOf('agent-1')).publisher.epoch !== undefined);
    const { status, stdout } = await isthmus.run(['services', '--config', 'agent-1.yaml', '-o', 'json']);
    assert.equal(status, 0);
    const services = JSON.parse(stdout) as ServiceRow[];
    assert.deepEqual(
      services.map(({ service }) => service),
      ['shop/db', 'shop/web'],
    );
    assert.ok(services.every(({ ports }) => ports.every(({ importPort }) => importPort !== undefined)));
    const port = services[1]?.ports[0]?.importPort;
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello\n');
    assert.equal((await statusOf('agent-1')).gateways.ready, 1);
  });

  test('the killed one comes back as the standby', async () => {
    start('agent-0', 'agent');
    await ok('status', '--config', 'agent-0.yaml', '--wait');
    assert.deepEqual([(await statusOf('agent-0')).leader, (await statusOf('agent-1')).leader], [false, true]);
  });

  test('leave: the leader says good-bye, and the standby stops too instead of taking over', async () => {
    const report = JSON.parse(
      await ok('leave', '--yes', '--grace', '200ms', '--config', 'agent-1.yaml', '-o', 'json'),
    ) as LeaveReport;
    assert.deepEqual([report.cluster, report.told], ['west', true]);
    const exits = (): (number | null | undefined)[] => replicas.map((name) => roles.get(name)?.exitCode);
    await until('both have stopped', async () => exits().every((code) => code !== null));
    assert.deepEqual(exits(), [0, 0]);
  });
});

import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { ExportPreview } from '../../src/model/export-report.ts';
import {
  type AgentStatus,
  adminPaths,
  type LeaveReport,
  type ServiceDetail,
  type ServiceRow,
} from '../../src/model/status.ts';
import { freePort } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { Programs } from './support/programs.ts';

/** Two replicas of one cluster's agent, each with a state directory of its own, and a gateway that knows both. */

let programs: Programs;
let dir = '';
let redis: TestRedis;
let backend: Server;
let backendPort = 0;
let authorityPort = 0;
const grpcPorts: number[] = [];
/** Of this test alone: others run beside it, with import ports of their own. */
let importFrom = 0;

function statusOf(name: string): Promise<AgentStatus> {
  return programs.asked<AgentStatus>(name, adminPaths.status);
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
importPorts: { from: ${importFrom}, to: ${importFrom + 50} }
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
  programs = await Programs.open();
  ({ dir } = programs);
  redis = await startRedis();
  backend = createServer((_request, response) => response.end('hello\n'));
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  backendPort = (backend.address() as { port: number }).port;
  authorityPort = await freePort();
  grpcPorts.push(await freePort(), await freePort());
  importFrom = await freePort();
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
  await programs[Symbol.asyncDispose]();
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  await redis.stop();
});

suite('two replicas of an agent', () => {
  test('one leads, both serve: the second one knows what the first one gave out', async () => {
    await programs.ok('authority', 'init', '-f', 'authority.yaml');
    programs.start('authority', 'authority');
    await programs.isUp('authority');
    for (const replica of replicas) {
      await programs.ok('token', 'issue', 'west', '--config', 'authority.yaml', '--out', `${replica}.token`);
      programs.start(replica, 'agent');
      await programs.isUp(replica);
    }
    assert.deepEqual([(await statusOf('agent-0')).leader, (await statusOf('agent-1')).leader], [true, false]);
    const portsOf = async (replica: string): Promise<unknown> =>
      (await programs.asked<ServiceRow[]>(replica, adminPaths.services))[0]?.ports;
    await programs.until(
      'the standby knows the ports',
      async () => JSON.stringify(await portsOf('agent-1')) !== undefined,
    );
    assert.deepEqual(await portsOf('agent-1'), await portsOf('agent-0'));
  });

  test('a gateway follows one and reports to both, so that the leader knows it whichever that is', async () => {
    await programs.ok('token', 'issue', '--gateway', 'gateway-0', '--config', 'agent-0.yaml', '--out', 'gateway.token');
    programs.start('gateway-0', 'gateway');
    for (const replica of replicas) {
      await programs.until(
        `${replica} sees the gateway ready`,
        async () => (await statusOf(replica)).gateways.ready === 1,
      );
    }
  });

  test('trust status shows both agents on either, and the authority knows them too', async () => {
    type Row = { role: string; replica: string; chain: string[] };
    const proved = async (name: string): Promise<string> => {
      const status = JSON.parse(await programs.ok('trust', 'status', '--config', `${name}.yaml`, '-o', 'json')) as {
        replicas: Row[];
      };
      const rows = status.replicas.filter(({ chain }) => chain.length > 0);
      return rows
        .map(({ role, replica }) => `${role}/${replica}`)
        .sort()
        .join(' ');
    };
    const all = 'agent/agent-0 agent/agent-1 gateway/gateway-0';
    for (const replica of replicas)
      await programs.until(`${replica} shows all`, async () => (await proved(replica)) === all);
    const heard = JSON.parse(
      await programs.ok('authority', 'acknowledgements', '--config', 'authority.yaml', '-o', 'json'),
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
    for (const replica of replicas) programs.signal(replica, 'SIGHUP');
    const db = ['services', 'shop/db', '--config', 'agent-0.yaml', '-o', 'json'];
    await programs.until('shop/db is there', async () => (await programs.isthmus.run(db)).status === 0);
    await writeFile(
      join(dir, 'plan.yaml'),
      'services: [{ service: shop/db, ports: [5433] }, { service: shop/new, ports: [1] }]\n',
    );
    const plan = await programs.isthmus.run([
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
    const detail = JSON.parse(await programs.ok(...db)) as ServiceDetail;
    assert.deepEqual(
      detail.ports.map(({ port }) => port),
      [5432],
    );
    assert.ok((await statusOf('agent-0')).publisher.revision !== undefined && before.publisher.revision !== undefined);
    const refused = await programs.isthmus.run(['export', '--config', 'agent-0.yaml']);
    assert.deepEqual([refused.status, /--plan/.test(refused.stderr)], [2, true]);
  });

  test('the leader killed: the other leads and writes, the gateway goes on without losing its table', async () => {
    await programs.stop('agent-0', 'SIGKILL');
    await programs.until('agent-1 leads', async () => (await statusOf('agent-1')).leader);
    await programs.until('agent-1 writes', async () => (await statusOf('agent-1')).publisher.epoch !== undefined);
    const { status, stdout } = await programs.isthmus.run(['services', '--config', 'agent-1.yaml', '-o', 'json']);
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
    programs.start('agent-0', 'agent');
    await programs.isUp('agent-0');
    assert.deepEqual([(await statusOf('agent-0')).leader, (await statusOf('agent-1')).leader], [false, true]);
  });

  test('leave: the leader says good-bye, and the standby stops too instead of taking over', async () => {
    const report = JSON.parse(
      await programs.ok('leave', '--yes', '--grace', '200ms', '--config', 'agent-1.yaml', '-o', 'json'),
    ) as LeaveReport;
    assert.deepEqual([report.cluster, report.told], ['west', true]);
    assert.deepEqual(await Promise.all(replicas.map((name) => programs.ended(name))), [0, 0]);
  });
});

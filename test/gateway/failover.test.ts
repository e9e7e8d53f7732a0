import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Backend, echo, greet, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open, readToEnd } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';

const proxyScript = fileURLToPath(new URL('support/frozen-proxy.ts', import.meta.url));

/** Opens fresh connections one after the other until told to stop; says which answers came and what failed. */
function load(port: number): { readonly answers: Map<string, number>; stop(): Promise<number> } {
  const answers = new Map<string, number>();
  let failed = 0;
  let running = true;
  const worker = async (): Promise<void> => {
    while (running) {
      const { received, end } = await exchange(port, 'hi');
      const answer = received.toString().trim();
      if (end === 'eof' && answer !== '') answers.set(answer, (answers.get(answer) ?? 0) + 1);
      else failed += 1;
      await sleep(2);
    }
  };
  const workers = Array.from({ length: 4 }, worker);
  return {
    answers,
    async stop() {
      running = false;
      await Promise.all(workers);
      return failed;
    },
  };
}

/** Answers like `greet`, but only once the client has ended: a client whose bytes are lost gets no answer. */
function answer(line: string): (socket: Socket) => void {
  return (socket) => {
    let got = '';
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
    socket.on('end', () => (got === 'hi' ? socket.end(`${line}\n`) : socket.resetAndDestroy()));
  };
}

describe('failing over', () => {
  let ca: TestCa;
  let west: Node;
  let east: Node;
  let south: Node;
  let importPort: number;
  let backends: Backend[];

  beforeEach(async () => {
    ca = createTestCa();
    const options = { ca, clusters: ['west', 'east', 'south'] };
    [west, east, south] = await Promise.all([
      startNode('west', options),
      startNode('east', options),
      startNode('south', options),
    ]);
    importPort = await freePort();
    backends = [];
  });

  afterEach(async () => {
    await Promise.all([west, east, south].map((node) => node.gateway.close()));
    await Promise.all(backends.map((backend) => backend.close()));
    ca.close();
  });

  async function backend(serve: (socket: Socket) => void): Promise<Backend> {
    const started = await startBackend(serve);
    backends.push(started);
    return started;
  }

  it('goes to another cluster when the own endpoint refuses, and returns when it is back', async () => {
    const own = await backend(answer('west'));
    const far = await backend(answer('east'));
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [far.port] })], []));
    const imported = serviceRoute({ self: 'west', importPort, local: [own.port], remote: ['east'] });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
    await until('listener', () => west.gateway.importPorts().size === 1);
    const traffic = load(importPort);
    await until('local answers', () => (traffic.answers.get('west') ?? 0) > 10);
    assert.equal(traffic.answers.get('east'), undefined, 'local is preferred');
    // No connection is in flight to it at this moment of the single thread or it is counted by the client as lost.
    await new Promise((resolve) => setImmediate(resolve));
    const interrupted = own.connections.size;
    await own.kill();
    await until('answers from the other cluster', () => (traffic.answers.get('east') ?? 0) > 20);
    const before = traffic.answers.get('west') ?? 0;
    await own.revive();
    await until('local answers again', () => (traffic.answers.get('west') ?? 0) > before + 10);
    const failed = await traffic.stop();
    assert.ok(failed <= interrupted, `${failed} failed, ${interrupted} were in flight`);
  });

  it('goes on when a remote cluster refuses the service, and leaves its gateway in use for others', async () => {
    const far = await backend(answer('south'));
    const other = await backend(answer('other'));
    const otherPort = await freePort();
    east.table.set(
      tableOf(
        east,
        [
          serviceRoute({ self: 'east', local: [await freePort()] }),
          serviceRoute({ self: 'east', service: 'shop/other', local: [other.port] }),
        ],
        [],
      ),
    );
    south.table.set(tableOf(south, [serviceRoute({ self: 'south', local: [far.port] })], []));
    west.table.set(
      tableOf(
        west,
        [
          serviceRoute({ self: 'west', importPort, remote: ['east', 'south'] }),
          serviceRoute({ self: 'west', service: 'shop/other', importPort: otherPort, remote: ['east'] }),
        ],
        [clusterRoute([east]), clusterRoute([south])],
      ),
    );
    await linksUp(west, 2);
    for (let round = 0; round < 20; round += 1) {
      assert.equal((await exchange(importPort, 'hi')).received.toString(), 'south\n');
    }
    const shares = west.gateway.report().services.find(({ service }) => service === 'shop/web')?.targets;
    assert.deepEqual(
      shares?.map(({ cluster, share, reachable }) => [cluster, share, reachable]),
      [
        ['east', 0, true],
        ['south', 1, true],
      ],
    );
    assert.equal((await exchange(otherPort, 'hi')).received.toString(), 'other\n');
    // Its endpoint appears: a probe finds out, no client is needed.
    const late = await backend(answer('east'));
    east.table.set(
      tableOf(
        east,
        [
          serviceRoute({ self: 'east', local: [late.port] }),
          serviceRoute({ self: 'east', service: 'shop/other', local: [other.port] }),
        ],
        [],
      ),
    );
    await until('east to serve again', () => {
      const web = west.gateway.report().services.find(({ service }) => service === 'shop/web');
      return (web?.targets.find(({ cluster }) => cluster === 'east')?.share ?? 0) > 0;
    });
  });

  it('does not wait for a candidate that says nothing', async () => {
    const stuck = await startDeaf();
    const far = await backend(echo);
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [far.port] })], []));
    const imported = serviceRoute({ self: 'west', importPort, local: [stuck.port], remote: ['east'] });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
    const payload = 'x'.repeat(300_000);
    const started = performance.now();
    const { received, end } = await exchange(importPort, payload);
    const tookMs = performance.now() - started;
    assert.equal(end, 'eof');
    assert.equal(received.toString(), payload, 'no byte was lost on the way past the silent candidate');
    assert.ok(tookMs < 1000, `took ${Math.round(tookMs)} ms`);
    await stuck.close();
  });

  it('fails no fresh connection when the remote gateway is killed, and finds it again', async () => {
    const first = await backend(answer('east'));
    const second = await backend(answer('south'));
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [first.port] })], []));
    south.table.set(tableOf(south, [serviceRoute({ self: 'south', local: [second.port] })], []));
    west.table.set(
      tableOf(
        west,
        [serviceRoute({ self: 'west', importPort, remote: ['east', 'south'] })],
        [clusterRoute([east]), clusterRoute([south])],
      ),
    );
    await linksUp(west, 2);
    const traffic = load(importPort);
    await until(
      'answers from both',
      () => (traffic.answers.get('east') ?? 0) > 5 && (traffic.answers.get('south') ?? 0) > 5,
    );
    await east.gateway.close();
    const seen = traffic.answers.get('south') ?? 0;
    await until('answers from the other', () => (traffic.answers.get('south') ?? 0) > seen + 50);
    const failed = await traffic.stop();
    // The client has four connections at most; those on the killed gateway are interrupted, nothing else fails.
    assert.ok(failed <= 4, `${failed} failed`);
    assert.equal((await exchange(importPort, 'hi')).end, 'eof');
  });

  it('notices a frozen gateway while fresh connections go elsewhere', async (t) => {
    const first = await backend(answer('east'));
    const second = await backend(answer('south'));
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [first.port] })], []));
    south.table.set(tableOf(south, [serviceRoute({ self: 'south', local: [second.port] })], []));
    // The gateway itself shares this process; what freezes is a process in between, which looks the same from here.
    const proxy = await startProxy(east.gateway.hbonePort);
    let traffic: ReturnType<typeof load> | undefined;
    try {
      west.table.set(
        tableOf(
          west,
          [serviceRoute({ self: 'west', importPort, remote: ['east', 'south'] })],
          [clusterRoute([east], proxy.port), clusterRoute([south])],
        ),
      );
      await linksUp(west, 2);
      traffic = load(importPort);
      const { answers } = traffic;
      await until('answers from both', () => (answers.get('east') ?? 0) > 5 && (answers.get('south') ?? 0) > 5);
      const held = await open(importPort);
      proxy.child.kill('SIGSTOP');
      const frozenAt = performance.now();
      await until('the link to be down', () => west.gateway.report().links.some((link) => !link.up));
      const tookMs = performance.now() - frozenAt;
      t.diagnostic(`noticed after ${Math.round(tookMs)} ms`);
      assert.ok(tookMs < 1000, `noticed after ${Math.round(tookMs)} ms`);
      await sleep(300);
      const failed = await traffic.stop();
      assert.ok(failed <= 4, `${failed} failed, in flight were at most 4`);
      held.destroy();
      proxy.child.kill('SIGCONT');
      await linksUp(west, 2);
    } finally {
      await traffic?.stop();
      proxy.child.kill('SIGKILL');
      await once(proxy.child, 'exit');
    }
  });

  it('resets a client for which there is nowhere to go, and says why', async () => {
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort, local: [await freePort()] })], []));
    await until('listener', () => west.gateway.importPorts().size === 1);
    assert.equal((await exchange(importPort, 'hi')).end, 'reset');
    await until('an entry', () => west.access.length > 0);
    assert.equal(west.access[0]?.response_flags, 'UF');
    assert.match(west.access[0]?.connection_termination_details ?? '', /cannot be reached: ECONNREFUSED/);
  });

  it('ends quietly when the client leaves while nothing has answered yet', async () => {
    const stuck = await startDeaf();
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort, local: [stuck.port] })], []));
    await until('listener', () => west.gateway.importPorts().size === 1);
    const socket = await open(importPort);
    await sleep(50);
    socket.resetAndDestroy();
    await until('an entry', () => west.access.length > 0);
    assert.equal(west.access[0]?.response_flags, 'DC');
    assert.equal(west.gateway.report().services[0]?.targets[0]?.active, 0);
    await stuck.close();
  });

  it('answers clients whose backend speaks first', async () => {
    const own = await backend(greet('220 ready'));
    west.table.set(tableOf(west, [serviceRoute({ self: 'west', importPort, local: [own.port] })], []));
    await until('listener', () => west.gateway.importPorts().size === 1);
    const socket = await open(importPort);
    assert.equal((await readToEnd(socket)).received.toString(), '220 ready\n');
  });
});

/** A listener whose accept queue is full: further SYNs are dropped, as by a firewall. */
async function startDeaf(): Promise<{ port: number; close(): Promise<void> }> {
  const child = spawn(process.execPath, [proxyScript, '1', '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await portOf(child);
  child.kill('SIGSTOP');
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  await sleep(100);
  return {
    port,
    async close() {
      for (const filler of fillers) filler.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

async function startProxy(to: number): Promise<{ port: number; child: ChildProcess }> {
  const child = spawn(process.execPath, [proxyScript, String(to)], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { port: await portOf(child), child };
}

async function portOf(child: ChildProcess): Promise<number> {
  assert.ok(child.stdout);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return Number(line.toString());
}

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseServiceKey } from '../src/model/names.ts';
import { createTestCa, gatewayId } from '../test/gateway/support/identities.ts';
import { serviceRoute } from '../test/gateway/support/mesh.ts';
import { routeTo, settled, type SpawnedGateway, spawnGateway } from '../test/gateway/support/spawn-gateway.ts';
import { answerOf, startSteadyLoad } from '../test/gateway/support/steady-load.ts';
import { startBackend } from '../test/support/backend.ts';
import { freePort } from '../test/support/ports.ts';
import type { Proof } from './prove.ts';
import { type AttackOrder, attackStreams } from './prove-gateway-attacker.ts';

/** Memory of a gateway while a peer attacks it, and what the clients of another peer notice. */

/** What one peer may make the gateway hold for receivers that do not read. */
const perPeerBytes = 64 << 20;
/**
 * Growth of the process for each byte that it may hold: those that came before it was weighed again, and those that were
 * given up and not collected yet.
 */
const growthPerHeld = 4;
/** For each connection that the attacker opens, and for sockets and garbage of the others. */
const connectionBytes = 25 << 10;
const besideBytes = 96 << 20;
/** What may stay when the attacker has gone, without garbage. */
const leftBytes = 12 << 20;
const spring = Buffer.alloc(4 << 20);

/** Attack → bytes that it may make the gateway hold. */
const attacks: Readonly<Record<string, number>> = {
  'rapid-reset': 0,
  continuation: 0,
  'window-games': perPeerBytes,
  'slow-reader': perPeerBytes,
  'never-reads': perPeerBytes,
  'shut-windows': perPeerBytes,
};

/** Runs it to its end in a process of its own. @returns how many sessions it had */
async function attackWith(order: AttackOrder): Promise<number> {
  const script = fileURLToPath(new URL('prove-gateway-attacker.ts', import.meta.url));
  const child = fork(script, { serialization: 'advanced' });
  const gone = once(child, 'exit');
  try {
    child.send(order);
    const [count] = (await Promise.race([once(child, 'message'), gone.then(() => [0])])) as [number];
    return count;
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
}

/** Bytes that the process has, and the most that it ever had. */
function memoryOf({ child }: SpawnedGateway): { readonly nowBytes: number; readonly mostBytes: number } {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const kb = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0);
  return { nowBytes: kb('VmRSS') * 1024, mostBytes: kb('VmHWM') * 1024 };
}

const mb = (bytes: number): number => Number((bytes / 1e6).toFixed(1));

async function underAttack(attack: string, mayHold: number): Promise<object> {
  const ca = createTestCa();
  const clusters = ['west', 'east'];
  const backend = await startBackend((socket) => void socket.resume().on('end', () => socket.end(answerOf('web'))));
  const source = await startBackend((socket) => void socket.once('data', () => socket.end(spring)));
  const importPort = await freePort();
  const east = await spawnGateway({
    ca,
    clusters,
    cluster: 'east',
    limits: { receiveBudgetPerPeerBytes: perPeerBytes },
    services: [
      serviceRoute({ self: 'east', local: [backend.port] }),
      serviceRoute({ self: 'east', service: parseServiceKey('shop/spring'), local: [source.port] }),
    ],
  });
  const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
  const routes = [routeTo('east', [east.hbonePort])];
  // Attacker, clients and gateways share the cores: one that waits for its turn shall not be taken for dead.
  const limits = { silenceMs: 5000, connectTimeoutMs: 10_000, connectDeadlineMs: 20_000 };
  const west = await spawnGateway({ ca, clusters, cluster: 'west', limits, services: [imported], routes });
  try {
    await settled(west, 1, 1);
    const load = startSteadyLoad(importPort, answerOf('web'));
    await sleep(1500);
    const before = await east.state(true);
    const identity = ca.issue(gatewayId('west', 'attacker'));
    const sessions = await attackWith({ attack, port: east.hbonePort, identity, anchor: ca.anchor });
    const { mostBytes } = memoryOf(east);
    await sleep(2000);
    const after = await east.state(true);
    const clients = await load.stop();
    const grownBytes = mostBytes - before.rssBytes;
    const boundBytes = mayHold * growthPerHeld + attackStreams * connectionBytes + besideBytes;
    const report = {
      sessions,
      rssBeforeMb: mb(before.rssBytes),
      rssMostMb: mb(mostBytes),
      grownMb: mb(grownBytes),
      boundMb: mb(boundBytes),
      heapLeftMb: mb(after.heapUsedBytes - before.heapUsedBytes),
      others: clients,
    };
    assert.ok(grownBytes < boundBytes, `grown beyond its bound: ${JSON.stringify(report)}`);
    assert.ok(after.heapUsedBytes - before.heapUsedBytes < leftBytes, `keeps memory: ${JSON.stringify(report)}`);
    assert.deepEqual([clients.failed, clients.interrupted], [0, 0], `others failed: ${JSON.stringify(report)}`);
    return report;
  } finally {
    await Promise.all([west.end('SIGKILL'), east.end('SIGKILL')]);
    await Promise.all([backend.close(), source.close()]);
    ca.close();
  }
}

/** What each of them does to memory; needs Linux, for `/proc`. */
export const attackProofs: Readonly<Record<string, Proof>> = Object.fromEntries(
  Object.entries(attacks).map(([name, mayHold]): [string, Proof] => [name, () => underAttack(name, mayHold)]),
);

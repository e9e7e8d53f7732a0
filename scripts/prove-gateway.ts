import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdingBackend, holdingClients } from '../bench/tunnel/idle.ts';
import { type Fault, faultUnderLoad, rollingRestart } from '../test/gateway/support/gateway-faults.ts';
import { createTestCa } from '../test/gateway/support/identities.ts';
import { serviceRoute } from '../test/gateway/support/mesh.ts';
import { roomy, routeTo, settled, type SpawnedGateway, spawnGateway } from '../test/gateway/support/spawn-gateway.ts';
import { freePort } from '../test/support/ports.ts';
import { attackProofs } from './prove-gateway-attacks.ts';
import { clientProofs } from './prove-gateway-clients.ts';
import { httpFuzz } from './prove-gateway-fuzz.ts';
import type { Proof } from './prove.ts';

const holdMs = 3000;
const idleConnections = 10_000;
/** What one idle connection may cost both gateways together. */
const idleKb = 25;
const churnConnections = 100_000;
const churnAtOnce = 2000;
/** Growth of both processes over the churn that is no leak: heaps breathe. */
const churnGrowthMb = 24;

interface Pair {
  readonly west: SpawnedGateway;
  readonly east: SpawnedGateway;
  readonly port: number;
  close(): Promise<void>;
}

async function pairOf(backendPort: number): Promise<Pair> {
  const ca = createTestCa();
  const { limits, connection } = roomy;
  const common = { ca, clusters: ['west', 'east'], limits };
  const exported = { ...serviceRoute({ self: 'east', local: [backendPort] }), connection };
  const east = await spawnGateway({ ...common, cluster: 'east', services: [exported] });
  const port = await freePort();
  const route = serviceRoute({ self: 'west', importPort: port, remote: ['east'], exported: false });
  const imported = { ...route, connection };
  const routes = [routeTo('east', [east.hbonePort])];
  const west = await spawnGateway({ ...common, cluster: 'west', services: [imported], routes });
  await settled(west, 1, 1);
  return {
    west,
    east,
    port,
    async close() {
      await Promise.all([west.end('SIGKILL'), east.end('SIGKILL')]);
      ca.close();
    },
  };
}

interface Weight {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly descriptors: number;
}

/** Of both gateways, without garbage. */
async function weigh({ west, east }: Pair): Promise<Weight> {
  const states = await Promise.all([west.state(true), east.state(true)]);
  return {
    rssBytes: states.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
    heapBytes: states.reduce((sum, { heapUsedBytes }) => sum + heapUsedBytes, 0),
    descriptors: states.reduce((sum, { descriptors }) => sum + descriptors, 0),
  };
}

const mb = (bytes: number): number => Number((bytes / 1e6).toFixed(1));

async function idle(): Promise<object> {
  const backend = await holdingBackend(0);
  const pair = await pairOf(backend.port);
  try {
    const warm = await holdingClients(0, pair.port, 100);
    const before = await weigh(pair);
    const clients = await holdingClients(0, pair.port, idleConnections);
    await sleep(2000);
    const after = await weigh(pair);
    await clients.close();
    await warm.close();
    const kbPerConnection = Number(((after.rssBytes - before.rssBytes) / idleConnections / 1024).toFixed(1));
    assert.equal(clients.opened, idleConnections, 'all were opened and answered');
    assert.ok(kbPerConnection <= idleKb, `${kbPerConnection} KiB for a connection, more than ${idleKb}`);
    return { connections: clients.opened, kbPerConnection };
  } finally {
    await pair.close();
    await backend.close();
  }
}

/** A hundred thousand connections come and go; then memory and descriptors are what they were. */
async function leak(): Promise<object> {
  const backend = await holdingBackend(0);
  const pair = await pairOf(backend.port);
  const churn = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= churnAtOnce) {
      const clients = await holdingClients(0, pair.port, Math.min(left, churnAtOnce));
      assert.equal(clients.opened, Math.min(left, churnAtOnce), 'all were opened and answered');
      // Half of them end by the death of their process: as good as a reset.
      await clients.close();
    }
  };
  try {
    await churn(churnConnections / 10);
    await sleep(2000);
    const before = await weigh(pair);
    await churn(churnConnections);
    await sleep(2000);
    const after = await weigh(pair);
    const heapGrowthMb = mb(after.heapBytes - before.heapBytes);
    const descriptorGrowth = after.descriptors - before.descriptors;
    const rssGrowthMb = mb(after.rssBytes - before.rssBytes);
    assert.equal(descriptorGrowth, 0, 'descriptors are given back');
    assert.ok(heapGrowthMb < churnGrowthMb, `the heaps have grown by ${heapGrowthMb} MB`);
    return { connections: churnConnections, heapGrowthMb, rssGrowthMb, descriptorGrowth };
  } finally {
    await pair.close();
    await backend.close();
  }
}

const fault =
  (kind: Fault): Proof =>
  async () => {
    const report = await faultUnderLoad(kind, holdMs);
    assert.equal(report.failed, 0, `fresh connections failed: ${JSON.stringify(report)}`);
    return report;
  };

export const proofs: Readonly<Record<string, Proof>> = {
  ...clientProofs,
  ...attackProofs,
  kill: fault('kill'),
  freeze: fault('freeze'),
  'black-hole': fault('black-hole'),
  'rolling-restart': async () => {
    const report = await rollingRestart(holdMs);
    assert.deepEqual([report.failed, report.interrupted], [0, 0], `connections failed: ${JSON.stringify(report)}`);
    return report;
  },
  idle,
  leak,
  'http-fuzz': httpFuzz,
};

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClientDuplexStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import { type ConfigServer, createConfigServer } from '../../src/federation/io/config-server.ts';
import { type ClusterName, parseReplicaName, parseServiceKey, type ServiceKey } from '../../src/model/names.ts';
import type { ClusterRoute, RouteTable, ServiceRoute } from '../../src/model/route.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { loadService } from '../../src/runtime/io/grpc.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import {
  decodeClusterRoute,
  decodeServiceRoute,
  emptyTable,
  encodeClusterRoute,
  encodeServiceRoute,
  TableDigest,
} from '../../src/wire/route-table.ts';
import type { TrustUpdate } from '../../src/wire/trust-update.ts';
import { east, eventually, quietLog, west } from './support/federation.ts';
import { domainOf } from './support/seals.ts';

interface Update {
  readonly revision: string;
  readonly full: boolean;
  readonly base: string;
  readonly digest: string;
  readonly services: readonly Buffer[];
  readonly removedServices: readonly string[];
  readonly clusters: readonly Buffer[];
  readonly removedClusters: readonly string[];
  readonly more: boolean;
}

interface FromAgent {
  readonly update?: Update;
  readonly trust?: TrustUpdate;
}

const Service = loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayConfig');

function routeOf(name: string, capacity = 1): ServiceRoute {
  return {
    key: parseServiceKey(`shop/${name}`),
    ports: [{ port: 80, importPort: 20_000 }],
    exported: true,
    allow: 'members',
    targets: [{ cluster: east, tier: 0, capacity, health: 1, ports: [80], stale: false }],
    failover: { holdMs: 1000, returnOverMs: 3000, healthyThreshold: 0.7 },
    endpoints: [],
  };
}

function tableOf(...routes: readonly ServiceRoute[]): RouteTable {
  const cluster: ClusterRoute = { name: west, trustDomain: domainOf('west'), gateways: [] };
  return {
    self: east,
    services: new Map(routes.map((route) => [route.key, route])),
    clusters: new Map<ClusterName, ClusterRoute>([[west, cluster]]),
  };
}

function digestOfTable(table: RouteTable): string {
  const digest = new TableDigest();
  for (const [key, route] of table.services) digest.setService(key, encodeServiceRoute(route));
  for (const [name, route] of table.clusters) digest.setCluster(name, encodeClusterRoute(route));
  return digest.whole;
}

/** A gateway that applies updates by the book: nothing but what the protocol says. */
class TestGateway {
  table: RouteTable = emptyTable(east);
  readonly updates: Update[] = [];
  readonly trusts: TrustUpdate[] = [];
  readonly changed: Watchable<number> = new Watchable(0);
  readonly stream: ClientDuplexStream<object, FromAgent>;
  ended: { readonly code?: number } | undefined;
  /** False: updates pile up unacknowledged. */
  answers = true;
  readonly #client: InstanceType<typeof Service>;

  constructor(port: number, instance: string, table: RouteTable = emptyTable(east), digest = '') {
    this.table = table;
    this.#client = new Service(`127.0.0.1:${port}`, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('instance', instance);
    const open = this.#client['Connect'] as (metadata: Metadata) => ClientDuplexStream<object, FromAgent>;
    this.stream = open.call(this.#client, metadata);
    this.stream.on('data', (message: FromAgent) => this.#receive(message));
    this.stream.on('error', (error: { code?: number }) => this.#end(error));
    this.stream.on('end', () => this.#end({}));
    const advert = { addresses: [{ address: '127.0.0.1', port: 15_008 }], version: '0.1.0' };
    this.stream.write({ hello: { digest, advert: Buffer.from(JSON.stringify(advert)) } });
  }

  acknowledge(update: Update, change: { readonly digest?: string; readonly error?: string } = {}): void {
    this.stream.write({ ack: { revision: update.revision, digest: update.digest, error: '', ...change } });
  }

  close(): void {
    this.stream.cancel();
    this.#client.close();
  }

  #receive({ update, trust }: FromAgent): void {
    if (trust) this.trusts.push(trust);
    if (update) {
      this.updates.push(update);
      if (this.answers) {
        this.table = apply(this.table, update);
        this.acknowledge(update, { digest: digestOfTable(this.table) });
      }
    }
    this.changed.set(this.changed.current + 1);
  }

  #end(error: { readonly code?: number }): void {
    this.ended ??= error;
    this.changed.set(this.changed.current + 1);
  }
}

function apply(table: RouteTable, update: Update): RouteTable {
  const services = new Map<ServiceKey, ServiceRoute>(update.full ? [] : table.services);
  const clusters = new Map<ClusterName, ClusterRoute>(update.full ? [] : table.clusters);
  for (const key of update.removedServices) services.delete(parseServiceKey(key));
  for (const name of update.removedClusters) clusters.delete(name as ClusterName);
  for (const bytes of update.services) {
    const route = decodeServiceRoute(bytes);
    services.set(route.key, route);
  }
  for (const bytes of update.clusters) {
    const route = decodeClusterRoute(bytes);
    clusters.set(route.name, route);
  }
  return { self: table.self, services, clusters };
}

interface Agent extends AsyncDisposable {
  readonly port: number;
  readonly server: ConfigServer;
  readonly tables: Watchable<RouteTable | undefined>;
  readonly trust: Watchable<TrustUpdate | undefined>;
  gateway(instance: string, table?: RouteTable, digest?: string): TestGateway;
}

async function startAgent(first: RouteTable | undefined): Promise<Agent> {
  const tables = new Watchable<RouteTable | undefined>(first);
  const trust = new Watchable<TrustUpdate | undefined>(undefined);
  const server = createConfigServer({
    self: east,
    tables,
    trustUpdate: trust,
    // The real one asks the TLS connection; here the caller just says so.
    identify: (call) => {
      const [name] = (call as ServerDuplexStream<object, object>).metadata.get('instance');
      return name === 'stranger' ? undefined : { instance: parseReplicaName(String(name)) };
    },
    clock: systemClock,
    log: quietLog(),
  });
  const grpc = new Server();
  grpc.addService(Service.service, server.handlers);
  const port = await new Promise<number>((resolve, reject) => {
    grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const gateways: TestGateway[] = [];
  return {
    port,
    server,
    tables,
    trust,
    gateway(instance, table, digest): TestGateway {
      const gateway = new TestGateway(port, instance, table, digest);
      gateways.push(gateway);
      return gateway;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await server.close();
      for (const gateway of gateways) gateway.close();
      grpc.forceShutdown();
    },
  };
}

const settled = (agent: Agent, gateway: TestGateway): Promise<unknown> =>
  eventually(agent.server.gateways, (gateways) => {
    const [connected] = [...gateways.values()].filter(
      ({ ackedDigest }) => ackedDigest === digestOfTable(gateway.table),
    );
    return (
      connected !== undefined &&
      agent.tables.current !== undefined &&
      connected.ackedDigest === digestOfTable(agent.tables.current)
    );
  });

test('config server: the full table first, then only what changed', async () => {
  await using agent = await startAgent(tableOf(routeOf('web'), routeOf('db')));
  const gateway = agent.gateway('gw-0');
  await settled(agent, gateway);
  assert.deepEqual(gateway.table, agent.tables.current);
  const { services, clusters } = agent.tables.current as RouteTable;
  const changed = routeOf('web', 5);
  agent.tables.set({
    self: east,
    clusters,
    services: new Map([...services].map(([key, route]) => [key, key === changed.key ? changed : route])),
  });
  await settled(agent, gateway);
  agent.tables.set({ self: east, clusters: new Map(), services: new Map([[changed.key, changed]]) });
  await settled(agent, gateway);
  assert.deepEqual(gateway.table, agent.tables.current);
  assert.deepEqual(
    gateway.updates.map((u) => [u.full, u.services.length, u.removedServices, u.removedClusters]),
    [
      [true, 2, [], []],
      [false, 1, [], []],
      [false, 0, ['shop/db'], ['west']],
    ],
  );
  assert.equal(gateway.updates[1]?.base, gateway.updates[0]?.digest);
});

test('config server: a gateway that comes back with the right table is only told so', async () => {
  const table = tableOf(routeOf('web'));
  await using agent = await startAgent(table);
  const gateway = agent.gateway('gw-0', table, digestOfTable(table));
  await eventually(gateway.changed, () => gateway.updates.length === 1);
  const [update] = gateway.updates;
  assert.deepEqual([update?.full, update?.services.length, update?.base], [false, 0, digestOfTable(table)]);
  agent.tables.set(tableOf(routeOf('web'), routeOf('db')));
  await settled(agent, gateway);
  assert.deepEqual([gateway.updates[1]?.full, gateway.updates[1]?.services.length], [false, 1]);
});

test('config server: a refusal or another digest is answered with the full table, not for ever', async () => {
  await using agent = await startAgent(tableOf(routeOf('web')));
  const gateway = agent.gateway('gw-0');
  gateway.answers = false;
  await eventually(gateway.changed, () => gateway.updates.length === 1);
  gateway.acknowledge(gateway.updates[0] as Update, { error: 'no' });
  await eventually(gateway.changed, () => gateway.updates.length === 2);
  gateway.acknowledge(gateway.updates[1] as Update, { digest: 'something else' });
  await eventually(gateway.changed, () => gateway.updates.length === 3);
  assert.deepEqual(
    gateway.updates.map((update) => update.full),
    [true, true, true],
  );
  for (const update of gateway.updates.slice(2)) gateway.acknowledge(update, { error: 'no' });
  await eventually(gateway.changed, () => gateway.updates.length === 4);
  gateway.acknowledge(gateway.updates[3] as Update, { error: 'no' });
  await eventually(gateway.changed, () => gateway.ended !== undefined);
});

test('config server: a gateway that loses its way in the middle gets the full table again', async () => {
  await using agent = await startAgent(tableOf(routeOf('web'), routeOf('db')));
  const gateway = agent.gateway('gw-0');
  await settled(agent, gateway);
  gateway.answers = false;
  agent.tables.set(tableOf(routeOf('web', 2), routeOf('db')));
  await eventually(gateway.changed, () => gateway.updates.length === 2);
  gateway.answers = true;
  gateway.acknowledge(gateway.updates[1] as Update, { digest: '', error: 'the base is another table' });
  await settled(agent, gateway);
  assert.deepEqual(
    gateway.updates.map((update) => [update.full, update.services.length]),
    [
      [true, 2],
      [false, 1],
      [true, 2],
    ],
  );
});

test('config server: a slow gateway gets the newest table once, whatever it missed', async () => {
  await using agent = await startAgent(tableOf(routeOf('web')));
  const gateway = agent.gateway('gw-0');
  gateway.answers = false;
  await eventually(gateway.changed, () => gateway.updates.length === 1);
  for (let capacity = 1; capacity <= 100; capacity += 1) agent.tables.set(tableOf(routeOf('web', capacity)));
  gateway.answers = true;
  gateway.table = apply(gateway.table, gateway.updates[0] as Update);
  gateway.acknowledge(gateway.updates[0] as Update);
  await settled(agent, gateway);
  assert.equal(gateway.updates.length, 2);
  assert.equal(gateway.table.services.get(parseServiceKey('shop/web'))?.targets[0]?.capacity, 100);
});

test('config server: without a table of its own it sends none; trust goes out at once and on change', async () => {
  await using agent = await startAgent(undefined);
  const gateway = agent.gateway('gw-0');
  await eventually(agent.server.gateways, (gateways) => gateways.size === 1);
  const trust = (text: string): TrustUpdate => ({
    sealedRoster: Buffer.from(text),
    rosterChain: Buffer.from('chain'),
    anchors: [Buffer.from('anchor')],
  });
  agent.trust.set(trust('one'));
  await eventually(gateway.changed, () => gateway.trusts.length === 1);
  agent.trust.set(trust('two'));
  await eventually(gateway.changed, () => gateway.trusts.length === 2);
  assert.equal(Buffer.from(gateway.trusts[1]?.sealedRoster ?? []).toString(), 'two');
  assert.equal(gateway.updates.length, 0);
  agent.tables.set(tableOf(routeOf('web')));
  await settled(agent, gateway);
});

test('config server: gateways with advert and report are listed while connected; a new stream replaces the old one', async () => {
  await using agent = await startAgent(tableOf());
  const gateway = agent.gateway('gw-0');
  await settled(agent, gateway);
  const report = {
    instance: 'gw-0',
    version: '1',
    ready: true,
    draining: false,
    tableDigest: '',
    links: [],
    services: [],
  };
  gateway.stream.write({ report: Buffer.from('not a report') });
  gateway.stream.write({ report: Buffer.from(JSON.stringify(report)) });
  const name = parseReplicaName('gw-0');
  const listed = await eventually(agent.server.gateways, (gateways) => gateways.get(name)?.report !== undefined);
  assert.deepEqual(listed.get(name)?.advert.addresses, [
    { address: '127.0.0.1', port: 15_008, kind: 'instance', instances: 1 },
  ]);
  const again = agent.gateway('gw-0');
  await eventually(gateway.changed, () => gateway.ended !== undefined);
  const replaced = await eventually(agent.server.gateways, (gateways) => gateways.get(name)?.report === undefined);
  assert.equal(replaced.size, 1);
  again.close();
  await eventually(agent.server.gateways, (gateways) => gateways.size === 0);
});

test('config server: strangers and gateways without an advert are turned away', async () => {
  await using agent = await startAgent(tableOf());
  const stranger = agent.gateway('stranger');
  await eventually(stranger.changed, () => stranger.ended !== undefined);
  assert.equal(stranger.ended?.code, 16);
  const mute = agent.gateway('gw-0');
  mute.stream.write({ hello: { digest: '', advert: Buffer.from('?') } });
  await eventually(agent.server.gateways, (gateways) => gateways.size === 1);
});

test('config server: a gateway that follows another agent gets no table until it says so', async () => {
  await using agent = await startAgent(tableOf(routeOf('web')));
  const gateway = agent.gateway('gw-0');
  await settled(agent, gateway);
  const advert = Buffer.from(JSON.stringify({ addresses: [], version: '0.1.0' }));
  const digest = digestOfTable(gateway.table);
  gateway.stream.write({ hello: { digest, advert, standby: true } });
  const name = parseReplicaName('gw-0');
  await eventually(agent.server.gateways, (gateways) => gateways.get(name)?.follows === false);
  agent.tables.set(tableOf(routeOf('web', 7)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(gateway.updates.length, 1);
  gateway.stream.write({ hello: { digest, advert, standby: false } });
  await settled(agent, gateway);
  assert.deepEqual(gateway.table, agent.tables.current);
});

test('config server: a table larger than a message goes in parts, which a gateway that does not read holds up', async () => {
  const routes = Array.from({ length: 12_000 }, (_, index) => routeOf(`s${index}`));
  await using agent = await startAgent(tableOf(...routes));
  const gateway = agent.gateway('gw-0');
  gateway.answers = false;
  await eventually(gateway.changed, () => gateway.updates.at(-1)?.more === false, 20_000);
  const sizes = gateway.updates.map(({ services }) => services.reduce((sum, { length }) => sum + length, 0));
  assert.ok(sizes.length > 2 && sizes.every((size) => size <= 1 << 20), sizes.join(' '));
  assert.equal(gateway.updates.flatMap(({ services }) => services).length, routes.length);
  assert.equal(new Set(gateway.updates.map((update) => update.digest)).size, 1);
});

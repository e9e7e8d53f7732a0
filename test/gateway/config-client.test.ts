import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { credentials, Metadata, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { type ConfigClient, type ConfigClientOptions, connectConfig } from '../../src/gateway/io/config-client.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { ServiceRoute } from '../../src/model/route.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { loadService } from '../../src/runtime/io/grpc.ts';
import { type CarriedLoads, encodeCarriedLoads } from '../../src/wire/carried-loads.ts';
import type { GatewayAdvert, GatewayReport } from '../../src/wire/gateway-report.ts';
import { encodeServiceRoute, TableDigest } from '../../src/wire/route-table.ts';
import type { TrustUpdate } from '../../src/wire/trust-update.ts';
import { freePort } from '../support/ports.ts';
import { type LogLine, recordingLog, serviceRoute, until } from './support/mesh.ts';

interface Heard {
  readonly hello?: { readonly digest: string; readonly advert: Buffer; readonly standby: boolean };
  readonly ack?: { readonly revision: string; readonly digest: string; readonly error: string };
  readonly report?: Buffer;
}

/** The least that an agent's configuration server does: records what it hears, sends what the test says. */
class TestAgent {
  readonly heard: Heard[] = [];
  #calls = new Set<ServerDuplexStream<Heard, object>>();
  #server: Server | undefined;

  async listen(port: number): Promise<void> {
    const server = new Server();
    server.addService(loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayConfig').service, {
      connect: (call: ServerDuplexStream<Heard, object>) => {
        this.#calls.add(call);
        call.sendMetadata(new Metadata());
        call.on('data', (message: Heard) => this.heard.push(message));
        call.on('error', () => undefined).on('end', () => call.end());
        call.on('close', () => this.#calls.delete(call));
      },
    });
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.#server = server;
  }

  send(message: object): void {
    for (const call of this.#calls) call.write(message);
  }

  get hellos(): Heard[] {
    return this.heard.filter(({ hello }) => hello);
  }

  /** What the last greeting said. */
  get follows(): boolean {
    return this.hellos.at(-1)?.hello?.standby === false;
  }

  get acks(): NonNullable<Heard['ack']>[] {
    return this.heard.flatMap(({ ack }) => (ack ? [ack] : []));
  }

  stop(): void {
    this.#server?.forceShutdown();
    this.#calls.clear();
  }
}

function full(revision: number, ...routes: readonly ServiceRoute[]): object {
  const digest = new TableDigest();
  for (const route of routes) digest.setService(route.key, encodeServiceRoute(route));
  return { update: { revision, full: true, digest: digest.whole, services: routes.map(encodeServiceRoute) } };
}

describe('connectConfig', () => {
  let stateDir: string;
  let agent: TestAgent;
  let port: number;
  let clients: ConfigClient[];
  let log: LogLine[];
  const trusts: TrustUpdate[] = [];
  const web = serviceRoute({ self: 'west', service: 'shop/web', local: [1001] });

  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'isthmus-config-client-'));
    agent = new TestAgent();
    port = await freePort();
    clients = [];
    log = [];
    trusts.length = 0;
  });

  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    agent.stop();
    await rm(stateDir, { recursive: true });
  });

  const advert: GatewayAdvert = {
    addresses: [{ address: '127.0.0.1', port: 15008, kind: 'instance', instances: 1 }],
    version: 'test',
  };
  const report: GatewayReport = {
    instance: parseReplicaName('gw0'),
    version: 'test',
    ready: true,
    draining: false,
    tableDigest: '',
    links: [],
    services: [],
  };

  async function connect(change: Partial<ConfigClientOptions> = {}): Promise<ConfigClient> {
    const client = await connectConfig({
      addresses: [`127.0.0.1:${port}`],
      credentials: credentials.createInsecure(),
      stateDir,
      self: parseClusterName('west'),
      advert: () => advert,
      report: () => report,
      onTrust: (update) => void trusts.push(update),
      clock: systemClock,
      log: recordingLog(log),
      ...change,
    });
    clients.push(client);
    return client;
  }

  it('greets, applies, acknowledges and reports', async () => {
    await agent.listen(port);
    const client = await connect();
    assert.match(client.status() ?? '', /^routes: /);
    await until('hello', () => agent.hellos.length === 1);
    assert.equal(agent.hellos[0]?.hello?.digest, '');
    assert.deepEqual(JSON.parse(String(agent.hellos[0]?.hello?.advert)), advert);
    agent.send(full(7, web));
    await until('ack', () => agent.acks.length === 1);
    assert.deepEqual(agent.acks[0], { revision: '7', digest: client.digest(), error: '' });
    assert.equal(client.status(), undefined);
    assert.deepEqual(client.table.current.services.get(web.key), web);
    await until('report', () => agent.heard.some((message) => message.report));
    const sent = agent.heard.find((message) => message.report)?.report;
    assert.deepEqual(JSON.parse(String(sent)), report);
  });

  it('asks for all moves of traffic when an agent may have missed some, else for the latest', async () => {
    await agent.listen(port);
    const asked: number[] = [];
    const client = await connect({
      report: (since) => {
        asked.push(since);
        return report;
      },
    });
    await until('hello', () => agent.hellos.length === 1);
    await until('report', () => agent.heard.some((message) => message.report));
    const first = asked.findIndex((since) => since > Number.NEGATIVE_INFINITY);
    assert.ok(first !== 0, 'at first all');
    await until('then the latest', () => {
      client.reportNow();
      return (asked.at(-1) ?? 0) > Number.NEGATIVE_INFINITY;
    });
    const now = performance.now();
    const last = asked.at(-1) ?? 0;
    assert.ok(last > now - 60_000 && last <= now - 4000, `told again for some seconds: ${now - last} ms`);
    agent.stop();
    await until('gone', () => !client.connected.current);
    const before = asked.length;
    await agent.listen(port);
    await until('all again', () => asked.slice(before).includes(Number.NEGATIVE_INFINITY));
  });

  it('answers what it cannot apply with an error and keeps the table', async () => {
    await agent.listen(port);
    const client = await connect();
    await until('hello', () => agent.hellos.length === 1);
    agent.send(full(1, web));
    await until('ack', () => agent.acks.length === 1);
    const before = client.table.current;
    agent.send({ update: { revision: 2, full: false, base: 'other', digest: 'x' } });
    agent.send({ update: { revision: 3, full: true, digest: 'x', services: [Buffer.from('junk')] } });
    await until('refusals', () => agent.acks.length === 3);
    assert.match(agent.acks[1]?.error ?? '', /applies to table other/);
    assert.match(agent.acks[2]?.error ?? '', /does not decode/);
    assert.equal(agent.acks[2]?.digest, client.digest());
    assert.equal(client.table.current, before);
  });

  it('hands over trust updates, and refuses ones that are too large', async () => {
    await agent.listen(port);
    await connect();
    await until('hello', () => agent.hellos.length === 1);
    agent.send({ trust: { sealedRoster: Buffer.from('r'), rosterChain: Buffer.alloc(1 << 20), anchors: [] } });
    agent.send({
      trust: { sealedRoster: Buffer.from('roster'), rosterChain: Buffer.from('chain'), anchors: [Buffer.from('a')] },
    });
    await until('trust', () => trusts.length > 0);
    assert.equal(trusts.length, 1);
    assert.equal(String(trusts[0]?.sealedRoster), 'roster');
    assert.ok(log.some(({ message }) => message === 'a trust update was refused'));
  });

  it('hands over what other gateways carry, refuses what is none, and goes on', async () => {
    const told: CarriedLoads[] = [];
    await agent.listen(port);
    await connect({ onLoads: (loads) => void told.push(loads) });
    await until('hello', () => agent.hellos.length === 1);
    agent.send({ carriedLoads: Buffer.from('{"shop/web":-1}') });
    agent.send({ carriedLoads: encodeCarriedLoads(new Map([[web.key, 7]])) });
    await until('loads', () => told.length > 0);
    assert.deepEqual(told, [new Map([[web.key, 7]])]);
    assert.ok(log.some(({ message }) => message === 'what other gateways carry was refused'));
  });

  it('starts from the last good table with the agent down, and says so in its greeting later', async () => {
    await agent.listen(port);
    const first = await connect();
    await until('hello', () => agent.hellos.length === 1);
    agent.send(full(1, web));
    await until('ack', () => agent.acks.length === 1);
    await first.close();
    clients.length = 0;
    agent.stop();
    const second = await connect();
    assert.equal(second.status(), undefined);
    assert.deepEqual(second.table.current.services.get(web.key), web);
    agent.heard.length = 0;
    await agent.listen(port);
    await until('hello', () => agent.hellos.length >= 1);
    assert.equal(agent.hellos[0]?.hello?.digest, second.digest());
    assert.notEqual(second.digest(), '');
  });

  it('writes at most once a second, and the newest', async () => {
    await agent.listen(port);
    const client = await connect();
    await until('hello', () => agent.hellos.length === 1);
    const changed = { ...web, exported: false };
    agent.send(full(1, web));
    agent.send(full(2, changed));
    await until('acks', () => agent.acks.length === 2);
    await assert.rejects(readFile(join(stateDir, 'routes.json')), { code: 'ENOENT' });
    await client.close();
    clients.length = 0;
    const stored = (await connect()).table.current.services.get(web.key);
    assert.equal(stored?.exported, false);
  });

  it('comes back after the agent was restarted, logging the loss once', async () => {
    await agent.listen(port);
    const client = await connect();
    await until('hello', () => agent.hellos.length === 1);
    agent.send(full(1, web));
    await until('connected', () => client.connected.current);
    agent.stop();
    await until('the loss', () => !client.connected.current);
    assert.deepEqual(client.table.current.services.get(web.key), web, 'the table stays');
    await agent.listen(port);
    await until('another hello', () => agent.hellos.length === 2);
    agent.send(full(2, web));
    await until('connected again', () => client.connected.current);
    assert.ok(log.filter(({ level }) => level === 'warn').length <= 2);
  });

  it('goes to the next address when one fails', async () => {
    await agent.listen(port);
    await connect({ addresses: [`127.0.0.1:${await freePort()}`, `127.0.0.1:${port}`] });
    await until('hello', () => agent.hellos.some(({ hello }) => hello?.standby === false));
  });

  it('follows one of several agents, reports to all, and follows another within moments without losing the table', async () => {
    const other = new TestAgent();
    const otherPort = await freePort();
    try {
      await agent.listen(port);
      const client = await connect({ addresses: [`127.0.0.1:${port}`, `127.0.0.1:${otherPort}`] });
      await until('followed', () => agent.follows);
      await other.listen(otherPort);
      agent.send(full(1, web));
      await until('ack', () => agent.acks.length === 1);
      await until('reports to both', () => [agent, other].every(({ heard }) => heard.some(({ report: r }) => r)));
      assert.equal(other.follows, false);
      other.send(full(1));
      other.send({ trust: { sealedRoster: Buffer.from('r'), rosterChain: Buffer.from('c'), anchors: [] } });
      await until('trust of the other', () => trusts.length === 1);
      const seen: unknown[] = [];
      client.connected.subscribe((connected) => seen.push(connected));
      agent.stop();
      await until('the other is followed', () => other.follows);
      assert.equal(other.hellos.at(-1)?.hello?.digest, client.digest());
      assert.deepEqual(client.table.current.services.get(web.key), web, 'the table of who is not followed is ignored');
      const changed = { ...web, exported: false };
      other.send(full(2, changed));
      await until('the new table', () => client.table.current.services.get(web.key)?.exported === false);
      assert.deepEqual(seen, [], 'it was connected all the time');
    } finally {
      other.stop();
    }
  });

  it('applies an update that comes in parts only when it is whole', async () => {
    await agent.listen(port);
    const client = await connect();
    await until('hello', () => agent.hellos.length === 1);
    const db = serviceRoute({ self: 'west', service: 'shop/db', local: [1002] });
    const whole = full(1, web, db) as { update: { services: readonly Uint8Array[] } };
    const part = (index: number, more: boolean): object => ({
      update: { ...whole.update, services: [whole.update.services[index]], more },
    });
    agent.send(part(0, true));
    agent.send(part(1, false));
    await until('ack', () => agent.acks.length === 1);
    assert.deepEqual([...client.table.current.services.keys()], ['shop/db', 'shop/web']);
    agent.send(part(0, true));
    agent.stop();
    await until('the loss', () => !client.connected.current);
    await agent.listen(port);
    await until('another hello', () => agent.hellos.length === 2);
    agent.send(part(1, false));
    await until('refusal', () => agent.acks.length === 2);
    assert.match(agent.acks[1]?.error ?? '', /digest/, 'half of one stream and half of another are no table');
  });

  it('does not call the agent before its own address is known', async () => {
    await agent.listen(port);
    const known: { advert?: GatewayAdvert } = {};
    await connect({ advert: () => known.advert });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(agent.hellos.length, 0);
    known.advert = advert;
    await until('hello', () => agent.hellos.length === 1);
  });

  it('refuses to start without an address', async () => {
    await assert.rejects(connect({ addresses: [] }), { code: 'invalid' });
  });
});

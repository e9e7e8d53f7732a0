import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Series } from '../../src/gateway/metrics/series.ts';
import { limitNames } from '../../src/model/gateway-limits.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange, open } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { valueOf } from './support/scrape.ts';

describe('Series', () => {
  it('counts by labels, and what is over its bound together', () => {
    const series = new Series({ name: 'x', help: 'x', labels: ['a'], maxSeries: 2 });
    for (const label of ['one', 'two', 'one', 'three', 'four', 'one']) series.add(series.of(label));
    assert.deepEqual(
      [...series.samples()].map(({ values, value }) => [values[0], value]),
      [
        ['other', 2],
        ['one', 3],
        ['two', 1],
      ],
    );
    assert.equal(series.size, 3);
  });

  it('grows without losing a count', () => {
    const series = new Series({ name: 'x', help: 'x', labels: ['a'], maxSeries: 1000 });
    for (let round = 0; round < 2; round += 1) {
      for (let index = 0; index < 500; index += 1) series.add(series.of(`s${index}`), index);
    }
    for (const { values, value } of series.samples()) assert.equal(value, 2 * Number(values[0]?.slice(1)));
  });

  it('puts observations into the bucket whose bound they do not exceed', () => {
    const series = new Series({ name: 'x', help: 'x', labels: [], bounds: [1, 5], maxSeries: 1 });
    const all = series.of();
    for (const value of [0.5, 1, 1.1, 5, 6]) series.observe(all, value);
    const [sample] = [...series.samples()].filter(({ value }) => value > 0);
    assert.deepEqual([...(sample?.buckets ?? [])], [2, 2, 1]);
    assert.equal(sample?.value, 13.6);
  });
});

describe('the metrics listener', () => {
  let ca: TestCa;
  let backend: Backend;
  let nodes: Node[];

  beforeEach(async () => {
    ca = createTestCa();
    backend = await startBackend(echo);
    nodes = [];
  });

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.gateway.close()));
    await backend.close();
    ca.close();
  });

  async function start(cluster: string, limits = {}): Promise<Node> {
    const node = await startNode(cluster, { ca, clusters: ['west', 'east'], limits, metrics: true });
    nodes.push(node);
    return node;
  }

  async function get(node: Node, path: string, host?: string): Promise<{ status: number; type: string; text: string }> {
    const sent = request({ host: '127.0.0.1', port: node.gateway.metricsPort, path, agent: false });
    if (host !== undefined) sent.setHeader('host', host);
    const [response] = (await once(sent.end(), 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
    return { status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text };
  }

  async function pair(limits = {}): Promise<{ west: Node; east: Node; importPort: number }> {
    const [west, east] = [await start('west', limits), await start('east')];
    const importPort = await freePort();
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    west.table.set(
      tableOf(west, [serviceRoute({ self: 'west', importPort, remote: ['east'] })], [clusterRoute([east])]),
    );
    await linksUp(west, 1);
    await until('the port', () => west.gateway.importPorts().size === 1);
    return { west, east, importPort };
  }

  it('counts connections, bytes and durations at both gateways, in the form Prometheus reads', async () => {
    const { west, east, importPort } = await pair();
    for (let round = 0; round < 5; round += 1) await exchange(importPort, 'abc');
    await until('entries', () => west.access.length === 5 && east.access.length === 5);
    const { status, type, text } = await get(west, '/metrics');
    assert.equal(status, 200);
    assert.match(type, /^text\/plain; version=0\.0\.4/);
    const labels = { destination_service: 'web', destination_service_namespace: 'shop', destination_cluster: 'east' };
    const total = { ...labels, response_flags: '-', direction: 'outbound', source_cluster: 'west' };
    assert.equal(valueOf(text, 'isthmus_connections_total', total), 5);
    assert.equal(valueOf(text, 'isthmus_bytes_received_total', labels), 15);
    assert.equal(valueOf(text, 'isthmus_bytes_sent_total', labels), 15);
    assert.equal(valueOf(text, 'isthmus_connect_duration_seconds_count', { destination_cluster: 'east' }), 5);
    assert.equal(valueOf(text, 'isthmus_connect_duration_seconds_bucket', { le: '\\+Inf'.slice(1) }), 5);
    assert.equal(valueOf(text, 'isthmus_link_up', { destination_cluster: 'east' }), 1);
    assert.ok((valueOf(text, 'isthmus_link_rtt_seconds', { quantile: '0.5' }) ?? 9) < 1);
    assert.equal(valueOf(text, 'isthmus_failover_state', { destination_service: 'web' }), 0);
    assert.ok((valueOf(text, 'isthmus_cert_expiry_timestamp_seconds', { kind: 'svid' }) ?? 0) > Date.now() / 1000);
    assert.equal(valueOf(text, 'isthmus_build_info'), 1);
    const inbound = await get(east, '/metrics');
    const secured = { direction: 'inbound', connection_security_policy: 'mutual_tls', source_cluster: 'west' };
    assert.equal(valueOf(inbound.text, 'isthmus_connections_total', secured), 5);
    assert.equal(valueOf(inbound.text, 'isthmus_endpoints', { state: 'up' }), 1);
    for (const line of text.split('\n')) {
      assert.match(line, /^(#.*|[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? [-+0-9.e]+(Inf)?)?$/i, line);
    }
  });

  it('counts the bytes of a connection that goes on, and each once', async () => {
    const { west, importPort } = await pair();
    const held = await open(importPort);
    held.write('abcdef');
    await once(held, 'data');
    const bytes = async (): Promise<readonly (number | undefined)[]> => {
      const { text } = await get(west, '/metrics');
      return [valueOf(text, 'isthmus_bytes_received_total'), valueOf(text, 'isthmus_bytes_sent_total')];
    };
    const deadline = performance.now() + 10_000;
    while ((await bytes())[1] !== 6 && performance.now() < deadline) await sleep(50);
    assert.deepEqual(await bytes(), [6, 6], 'while it is open');
    held.write('gh');
    await once(held, 'data');
    held.end();
    await until('its end', () => west.access.length === 1);
    assert.deepEqual(await bytes(), [8, 8], 'after its end');
  });

  for (const [what, head] of [
    ['a response', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n'],
    ['an upgraded connection', 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc'],
  ] as const) {
    it(`counts the bytes of ${what} of HTTP that goes on, and each once`, async () => {
      const talker = await startBackend((socket) => void socket.once('data', () => socket.write(head)));
      const [west, importPort] = [await start('west'), await freePort()];
      try {
        const route = serviceRoute({ self: 'west', importPort, local: [talker.port] });
        const ports = route.ports.map((port) => ({ ...port, appProtocol: 'http' }));
        west.table.set(tableOf(west, [{ ...route, ports }], []));
        await until('import port', () => west.gateway.importPorts().size === 1);
        const client = await open(importPort);
        client.resume().write('GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n');
        const sent = async (): Promise<number | undefined> =>
          valueOf((await get(west, '/metrics')).text, 'isthmus_bytes_sent_total');
        const deadline = performance.now() + 20_000;
        while ((await sent()) !== 3 && performance.now() < deadline) await sleep(50);
        assert.equal(await sent(), 3, 'while it is open');
        assert.equal(west.access.length, 0);
        client.resetAndDestroy();
        await until('its end', () => west.access.length === 1);
        assert.equal(await sent(), 3, 'after its end');
        assert.equal(west.access[0]?.bytes_sent, 3);
      } finally {
        await talker.close();
      }
    });
  }

  it('shows every limit, its use, and who was turned away by it', async () => {
    const { west, importPort } = await pair({ connections: 2 });
    const held = [await open(importPort), await open(importPort)];
    await until('two', () => valueOfStats(west).connections === 2);
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    const { text } = await get(west, '/metrics');
    for (const limit of limitNames) assert.notEqual(valueOf(text, 'isthmus_limit', { limit }), undefined, limit);
    assert.equal(valueOf(text, 'isthmus_limit', { limit: 'connections' }), 2);
    assert.equal(valueOf(text, 'isthmus_limit_used', { limit: 'connections' }), 2);
    assert.equal(valueOf(text, 'isthmus_refusals_total', { reason: 'limit-connections' }), 1);
    assert.equal(valueOf(text, 'isthmus_connections_total', { response_flags: 'UO' }), 1);
    for (const socket of held) socket.destroy();
  });

  function valueOfStats(node: Node): { connections: number } {
    const active = node.gateway.report().services.flatMap(({ targets }) => targets.map((target) => target.active));
    return { connections: active.reduce((sum, each) => sum + each, 0) };
  }

  it('shows configuration, routes and statistics to this machine only', async () => {
    const { west } = await pair();
    const config = JSON.parse((await get(west, '/config')).text) as {
      cluster: string;
      limits: { connections: number };
    };
    assert.deepEqual([config.cluster, config.limits.connections], ['west', 8192]);
    const routes = JSON.parse((await get(west, '/routes')).text) as { services: { key: string; standing: string }[] };
    assert.deepEqual([routes.services[0]?.key, routes.services[0]?.standing], ['shop/web', 'Active']);
    assert.match((await get(west, '/stats')).text, /"connections"/);
    for (const page of ['/config', '/routes', '/stats']) {
      assert.equal((await get(west, page, 'attacker.example')).status, 403, 'a name that leads here by DNS');
      assert.equal((await get(west, page, 'localhost:15090')).status, 200);
    }
    assert.equal((await get(west, '/metrics', 'attacker.example')).status, 200);
    assert.equal((await get(west, '/')).status, 404);
  });
});

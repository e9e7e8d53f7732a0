import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { planExports } from '../../src/federation/export/plan-exports.ts';
import { checkEndpoint } from '../../src/federation/io/endpoint-check.ts';
import { type CheckedService as StaticService, createStaticSource } from '../../src/federation/io/static-source.ts';
import { parseServiceKey } from '../../src/model/names.ts';
import type { ExportRecord } from '../../src/model/record.ts';
import type { Clock } from '../../src/model/ports/clock.ts';
import type { LocalServices } from '../../src/model/ports/service-source.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { freePort } from '../support/ports.ts';
import { eventually, quietLog } from './support/federation.ts';
import { startListener } from './support/listener.ts';

const web = parseServiceKey('shop/web');
const options = { clock: systemClock, log: quietLog(), healthCheck: { intervalMs: 20, timeoutMs: 200 } };

function webAt(...ports: readonly number[]): StaticService {
  return {
    service: 'shop/web',
    ports: [{ port: 80, name: 'http' }],
    exported: true,
    allow: 'members',
    endpoints: ports.map((port) => ({ address: '127.0.0.1', port })),
  };
}

function readyOf(local: LocalServices): readonly boolean[] {
  return local.services.get(web)?.endpoints.map((endpoint) => endpoint.ready) ?? [];
}

test('createStaticSource: the first checks decide before it is synced', async () => {
  const backend = await startListener();
  const closed = await freePort();
  const source = createStaticSource({ ...options, services: [webAt(backend.port, closed)] });
  const seen: LocalServices[] = [];
  source.subscribe((value) => seen.push(value));
  try {
    assert.deepEqual([source.current.synced, readyOf(source.current)], [false, [false, false]]);
    const synced = await eventually(source, (value) => value.synced);
    assert.deepEqual(readyOf(synced), [true, false]);
    assert.ok(seen.filter((value) => value.synced).every((value) => readyOf(value)[0]));
    assert.equal(synced.services.get(web)?.endpoints[0]?.ports.get(80), backend.port);
  } finally {
    await source.close();
    await backend.stop();
  }
});

test('createStaticSource: an endpoint that dies is down after two checks, and up again after one', async () => {
  const backend = await startListener();
  const source = createStaticSource({ ...options, services: [webAt(backend.port)] });
  try {
    await eventually(source, (value) => value.synced && readyOf(value)[0] === true);
    await backend.stop();
    await eventually(source, (value) => readyOf(value)[0] === false);
    await backend.restart();
    await eventually(source, (value) => readyOf(value)[0] === true);
  } finally {
    await source.close();
    await backend.stop();
  }
});

test('createStaticSource: one failed check is not enough to be down', async () => {
  const backend = await startListener();
  const due: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    schedule: (_delayMs, task) => {
      due.push(task);
      return { cancel: () => undefined };
    },
  };
  const checked = async (): Promise<void> => {
    for (let turn = 0; turn < 500 && due.length === 0; turn += 1) await delay(2);
  };
  const source = createStaticSource({ ...options, clock, services: [webAt(backend.port)] });
  try {
    await checked();
    await backend.stop();
    due.shift()?.();
    await checked();
    assert.deepEqual(readyOf(source.current), [true]);
    due.shift()?.();
    await checked();
    assert.deepEqual(readyOf(source.current), [false]);
    await backend.restart();
    due.shift()?.();
    await checked();
    assert.deepEqual(readyOf(source.current), [true]);
  } finally {
    await source.close();
    await backend.stop();
  }
});

test('createStaticSource: update keeps what stays, checks what is new, drops what goes', async () => {
  const [one, two] = await Promise.all([startListener(), startListener()]);
  const source = createStaticSource({ ...options, services: [webAt(one.port)] });
  try {
    const before = await eventually(source, (value) => value.synced);
    source.update({ services: [webAt(one.port), { ...webAt(two.port), service: 'shop/db' }] });
    assert.equal(source.current.synced, true);
    assert.equal(source.current.services.get(web), before.services.get(web));
    await eventually(source, (value) => value.services.get(parseServiceKey('shop/db'))?.endpoints[0]?.ready === true);
    source.update({ services: [] });
    assert.equal(source.current.services.size, 0);
    assert.throws(() => source.update({ services: [webAt(0)] }), { code: 'invalid' });
    assert.throws(() => source.update({ services: [webAt(1), webAt(2)] }), { code: 'invalid' });
    assert.equal(source.current.services.size, 0);
  } finally {
    await source.close();
    await Promise.all([one.stop(), two.stop()]);
  }
});

test('createStaticSource: ports of an endpoint: mapped, one for all, or the same', async () => {
  const ports = [{ port: 80 }, { port: 443 }];
  const endpoints = [
    { id: 'a', address: '127.0.0.1', ports: { 80: 8080 } },
    { address: '127.0.0.2', port: 9000 },
  ];
  const source = createStaticSource({ ...options, services: [{ ...webAt(), ports, endpoints }] });
  const [a, b] = source.current.services.get(web)?.endpoints ?? [];
  assert.deepEqual(
    [a?.id, [...(a?.ports ?? [])]],
    [
      'a',
      [
        [80, 8080],
        [443, 443],
      ],
    ],
  );
  assert.deepEqual(
    [b?.id, [...(b?.ports ?? [])]],
    [
      '127.0.0.2:9000',
      [
        [80, 9000],
        [443, 9000],
      ],
    ],
  );
  await source.close();
});

test('createStaticSource: a service without endpoints is synced at once', async () => {
  const source = createStaticSource({ ...options, services: [webAt()] });
  assert.equal(source.current.synced, true);
  await source.close();
});

test('createStaticSource: an HTTP check goes by the status code, and says why an endpoint is down', async () => {
  const lines: { readonly fields: object; readonly message: string }[] = [];
  const log = { ...quietLog(), info: (fields: object, message: string) => void lines.push({ fields, message }) };
  let answer: number | 'never' = 200;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (answer !== 'never') response.writeHead(answer).end('x'.repeat(100_000));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const http = {
    path: '/healthz?deep=1',
    expect: [
      { from: 200, to: 299 },
      { from: 418, to: 418 },
    ],
  };
  const healthCheck = { intervalMs: 15, timeoutMs: 150, failures: 1, http };
  const source = createStaticSource({ ...options, log, services: [{ ...webAt(port), healthCheck }] });
  try {
    await eventually(source, (value) => readyOf(value)[0] === true);
    assert.equal(asked[0], 'GET /healthz?deep=1');
    for (const [bad, reason] of [
      [500, /answered with 500/],
      [301, /answered with 301/],
      ['never', /not answered within 150 ms/],
    ] as const) {
      answer = bad;
      await eventually(source, (value) => readyOf(value)[0] === false);
      assert.match(JSON.stringify(lines.at(-1)?.fields), reason);
      answer = 418;
      await eventually(source, (value) => readyOf(value)[0] === true);
    }
  } finally {
    await source.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test('createStaticSource: each service is checked its own way, on the port it says, as often as it says', async () => {
  const backend = await startListener();
  const closed = await freePort();
  const ports = [{ port: 80 }, { port: 9000 }];
  const endpoints = [{ address: 'localhost', ports: { 80: closed, 9000: backend.port } }];
  const source = createStaticSource({
    ...options,
    healthCheck: { ...options.healthCheck, http: { path: '/', expect: [{ from: 200, to: 200 }] } },
    services: [
      { ...webAt(), ports, endpoints, healthCheck: { http: false, port: 9000, failures: 3 } },
      { ...webAt(backend.port), service: 'shop/http' },
    ],
  });
  try {
    await eventually(source, (value) => value.synced);
    const other = source.current.services.get(parseServiceKey('shop/http'));
    assert.deepEqual([readyOf(source.current), other?.endpoints[0]?.ready], [[true], false]);
    source.update({
      services: [{ ...webAt(), ports, endpoints, healthCheck: { intervalMs: 10, timeoutMs: 100, failures: 1 } }],
    });
    await eventually(source, (value) => readyOf(value)[0] === false);
  } finally {
    await source.close();
    await backend.stop();
  }
});

test('createStaticSource: a change of one endpoint leaves all other services the same objects', async () => {
  const [one, two] = await Promise.all([startListener(), startListener()]);
  const source = createStaticSource({
    ...options,
    services: [webAt(one.port), { ...webAt(two.port), service: 'shop/db' }],
  });
  try {
    const before = await eventually(source, (value) => value.synced);
    await one.stop();
    const after = await eventually(source, (value) => readyOf(value)[0] === false);
    const db = parseServiceKey('shop/db');
    assert.equal(after.services.get(db), before.services.get(db));
    const [first, second] = [planExports(before, new Map(), 1), planExports(after, new Map(), 1)];
    assert.equal(second.get('export/shop/db'), first.get('export/shop/db'));
    assert.notEqual(second.get('export/shop/web'), first.get('export/shop/web'));
  } finally {
    await source.close();
    await Promise.all([one.stop(), two.stop()]);
  }
});

test('planExports: counts by zone, where zones are known', async () => {
  const at = (zone: string | undefined, id: string): object => ({
    id,
    address: '127.0.0.1',
    port: 1,
    ...(zone && { zone }),
  });
  const endpoints = [at('a', '1'), at('b', '2'), at('a', '3'), at(undefined, '4')] as StaticService['endpoints'];
  const service = { ...webAt(), endpoints, passthrough: true, annotations: { owner: 'x' } };
  const source = createStaticSource({ ...options, services: [service] });
  const record = planExports(source.current, new Map(), 1).get('export/shop/web') as ExportRecord;
  assert.deepEqual(record.zones, { a: { total: 2, ready: 0 }, b: { total: 1, ready: 0 } });
  assert.deepEqual([record.endpoints.total, record.passthrough, record.annotations], [4, true, { owner: 'x' }]);
  await source.close();
});

test('planExports: exported services only, with counts, sorted ports and the age known before', async () => {
  const backend = await startListener();
  const closed = await freePort();
  const hidden = { ...webAt(), service: 'shop/hidden', exported: false };
  const spec = { ...webAt(backend.port, closed), ports: [{ port: 443 }, { port: 80 }], labels: { tier: 'gold' } };
  const source = createStaticSource({ ...options, services: [spec, hidden] });
  try {
    const local = await eventually(source, (value) => value.synced);
    const first = planExports(local, new Map(), 1000);
    assert.deepEqual([...first.keys()], ['export/shop/web']);
    const record = first.get('export/shop/web');
    assert.deepEqual(record, {
      kind: 'export',
      service: web,
      type: 'ClusterSetIP',
      ports: [
        { port: 80, protocol: 'TCP' },
        { port: 443, protocol: 'TCP' },
      ],
      allow: 'members',
      endpoints: { total: 2, ready: 1 },
      createdAt: 1000,
      labels: { tier: 'gold' },
    });
    assert.deepEqual(planExports(local, first, 9000), first);
  } finally {
    await source.close();
    await backend.stop();
  }
});

test('checkEndpoint: a process that was held up does not call down what is up', async () => {
  const server = createServer((_request, response) => response.end('fine'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const target = { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const http = { path: '/', expect: [{ from: 200, to: 200 }] };
  try {
    for (const check of [{ timeoutMs: 100 }, { timeoutMs: 100, http }]) {
      const result = checkEndpoint(target, check);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      assert.deepEqual(await result, { up: true });
    }
  } finally {
    server.close();
  }
});

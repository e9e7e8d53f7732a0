import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { planExports } from '../../src/federation/export/plan-exports.ts';
import { createStaticSource, type StaticService } from '../../src/federation/io/static-source.ts';
import { parseServiceKey } from '../../src/model/names.ts';
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
    source.update([webAt(one.port), { ...webAt(two.port), service: 'shop/db' }]);
    assert.equal(source.current.synced, true);
    assert.equal(source.current.services.get(web), before.services.get(web));
    await eventually(source, (value) => value.services.get(parseServiceKey('shop/db'))?.endpoints[0]?.ready === true);
    source.update([]);
    assert.equal(source.current.services.size, 0);
    assert.throws(() => source.update([webAt(0)]), { code: 'invalid' });
    assert.throws(() => source.update([webAt(1), webAt(2)]), { code: 'invalid' });
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

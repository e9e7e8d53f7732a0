import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import { parseServiceKey } from '../../src/model/names.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { RouteTable } from '../../src/model/route.ts';
import { type DemoFederation, east, startDemoFederation, west } from '../../src/roles/demo/federation.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { importPortsFrom } from '../support/ports.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

/** A change in one cluster is routable in the others within tens of milliseconds. */

const log = createLog('test', 'silent');
const changes = 40;
let redis: TestRedis | undefined;

after(() => redis?.stop());

const hubs: readonly (readonly [string, () => Promise<Hub>])[] = [
  ['the embedded hub', async () => createEmbeddedHub()],
  [
    'a real Redis',
    async () => {
      redis = await startRedis();
      return openRedisHub({ url: redis.url, clock, log });
    },
  ],
];

/** Resolves when `table` has the service (or has it no longer). */
function routable(federation: DemoFederation, name: string, there: boolean): Promise<void> {
  const { table } = federation.cluster(west).gateway.config;
  const key = parseServiceKey(name);
  const holds = ({ services }: RouteTable): boolean => services.has(key) === there;
  return new Promise((resolve) => {
    if (holds(table.current)) return resolve();
    const end = table.subscribe((value) => {
      if (!holds(value)) return;
      end();
      resolve();
    });
  });
}

suite('an export in east is routable in west, and its withdrawal too', () => {
  for (const [what, open] of hubs) {
    test(`over ${what}`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'isthmus-propagation-'));
      const hub = await open();
      let federation: DemoFederation | undefined;
      try {
        federation = await startDemoFederation({
          stateDir: join(dir, 'demo'),
          hub,
          services: [],
          portsFrom: undefined,
          importPortsFrom: importPortsFrom(),
          clock,
          log,
        });
        const { source } = federation.cluster(east).parts;
        const [endpoint] = [...source.current.services.values()].flatMap((service) => service.endpoints);
        assert.ok(endpoint);
        const present = [...source.current.services.values()].map(({ key, ports, endpoints }) => ({
          service: key,
          ports,
          exported: true,
          allow: 'members' as const,
          endpoints: endpoints.map(({ address, ports: map }) => ({ address, ports: Object.fromEntries(map) })),
        }));
        // An endpoint that is known to be up already: the health check is not what is measured.
        const [instance] = present.flatMap((service) => service.endpoints);
        assert.ok(instance);
        const added = {
          service: 'shop/new',
          ports: [{ port: 80 }],
          exported: true,
          allow: 'members' as const,
          endpoints: [instance],
        };
        const took: number[] = [];
        for (let i = 0; i < changes; i += 1) {
          const there = i % 2 === 0;
          const began = performance.now();
          source.update({ services: there ? [...present, added] : present });
          await routable(federation, 'shop/new', there);
          took.push(performance.now() - began);
        }
        took.sort((a, b) => a - b);
        const median = took[changes >> 1] ?? Number.NaN;
        // Polling alone would take 1000. How fast it is, the benchmark measures on a machine that does nothing else.
        assert.ok(median < 500, `median ${median} ms of ${took.map((ms) => ms.toFixed(1)).join(' ')}`);
      } finally {
        await federation?.close();
        await hub.close();
        await rm(dir, { recursive: true, force: true });
      }
    });
  }
});

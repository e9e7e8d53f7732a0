import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, suite, test } from 'node:test';
import { Agent, request } from 'undici';
import { type FailoverEvent, policyPaths } from '../../src/model/policy-report.ts';
import { cart, east, web, west } from '../../src/roles/demo/federation.ts';
import { type AddedGateway, policy, RunningFederation, until } from './support/running-federation.ts';
import { type StandIn, standIn } from './support/stand-in.ts';

/** Load moves traffic, and brings it back: three clusters, two gateways in west, real requests that take their time. */

const timeout = 60_000;

suite('spill by load, over time', () => {
  let running: RunningFederation;
  let second: AddedGateway;
  let slow: StandIn | undefined;
  /** Requests that west's instance has not answered yet. */
  const waiting: ServerResponse[] = [];

  before(
    async () => {
      running = await RunningFederation.start();
      second = await running.addGateway(west, 'gateway-1', '127.0.0.2');
    },
    { timeout },
  );

  after(async () => {
    await slow?.close();
    await running?.close();
  });

  /** Of west's traffic for shop/web what stays in west, as each of west's gateways has it. */
  function shares(): readonly number[] {
    const gateways = [running.demo.cluster(west).gateway.gateway, second.role.gateway];
    return gateways.map((gateway) => {
      const service = gateway.report().services.find((each) => each.service === web);
      return service?.targets.find(({ cluster }) => cluster === west)?.share ?? 0;
    });
  }

  test('each gateway counts what the other one carries; fresh requests go elsewhere, and come back', {
    timeout,
  }, async () => {
    const [workload] = running.demo.cluster(west).workloads;
    assert.ok(workload);
    slow = await standIn(workload, (asked, response) => {
      if (asked.url === '/held') waiting.push(response);
      else response.end('now');
    });
    await running.apply(
      west,
      policy('TrafficPolicy', 'web', {
        target: { service: 'web' },
        failover: { spillAt: '10%', hold: '1s', returnOver: '4s' },
      }),
    );
    await until('west serves all', shares, (both) => both.every((share) => share === 1));
    const port = running.importPort(west, web);
    const agent = new Agent({ connections: 100 });
    const statuses = new Set<number>();
    const hold = async (host: string): Promise<void> => {
      const { statusCode, body } = await request(`http://${host}:${port}/held`, { dispatcher: agent });
      await body.dump();
      statuses.add(statusCode);
    };
    const held: Promise<void>[] = [];
    try {
      // Neither gateway alone carries more than a tenth of the hundred that west is rated for. What is served elsewhere,
      // because both know of both already, is asked again.
      for (const host of [second.host, '127.0.0.1']) {
        for (const goal = waiting.length + 9; waiting.length < goal; ) {
          const before = waiting.length;
          let answered = false;
          held.push(hold(host).finally(() => (answered = true)));
          await until(
            'held in west, or answered elsewhere',
            () => waiting.length > before || answered,
            (known) => known,
          );
        }
      }
      // 18 of 100, from 10 on: (100 - 18) / (100 - 10) of the traffic stays.
      await until('both know of both', shares, (both) => both.every((share) => Math.abs(share - 82 / 90) < 0.001));
      const servedBy = new Set<string>();
      await until(
        'some is served elsewhere',
        async () => servedBy.add((await running.servedBy(west, web)) ?? 'nobody'),
        (names) => names.has('west') && (names.has('east') || names.has('south')),
      );
      assert.ok(!servedBy.has('nobody'), [...servedBy].join(' '));

      for (const response of waiting.splice(0)) response.end('late');
      await Promise.all(held);
      assert.deepEqual(statuses, new Set([200]));
      await until('it comes back', shares, (both) => both.every((share) => share === 1));
      const path = `${policyPaths.failovers}?service=shop/web`;
      await until(
        'history tells it',
        () => running.ask(west, (client) => client.get<FailoverEvent[]>(path)),
        (events) => events[0]?.to === 'Active' && events.some(({ to }) => to === 'Spill'),
      );
    } finally {
      await agent.destroy();
      await running.remove(west, 'TrafficPolicy/shop/web');
    }
  });

  test('a cluster that was lost gets its traffic back step by step, and never less than before', {
    timeout,
  }, async () => {
    const [workload] = running.demo.cluster(west).workloads;
    assert.ok(workload);
    await slow?.close();
    slow = undefined;
    await workload.start();
    await running.apply(
      west,
      policy('TrafficPolicy', 'web', { target: { service: 'web' }, failover: { hold: '500ms', returnOver: '5s' } }),
    );
    await until('west serves all', shares, (both) => both.every((share) => share === 1));
    workload.kill();
    await until(
      'all of it elsewhere',
      async () => [await running.servedBy(west, web), ...shares()],
      ([by, ...both]) => {
        return by !== 'west' && by !== undefined && both.every((share) => share === 0);
      },
    );
    await workload.start();
    const seen: (readonly number[])[] = [];
    await until(
      'all of it back',
      () => {
        seen.push(shares());
        return shares();
      },
      (both) => both.every((share) => share === 1),
    );
    for (const gateway of [0, 1]) {
      const parts = seen.map((both) => both[gateway] ?? 0);
      assert.deepEqual(
        parts,
        parts.toSorted((a, b) => a - b),
        `gateway ${gateway} swings`,
      );
      const between = new Set(parts.filter((part) => part > 0 && part < 1));
      assert.ok(between.size >= 3, `gateway ${gateway} returned in ${between.size} steps: ${parts.join(' ')}`);
    }
    await running.remove(west, 'TrafficPolicy/shop/web');
  });

  test('what another cluster carries counts as well: above spillAt the next tier takes part', { timeout }, async () => {
    const workload = running.demo.cluster(east).workloads.find(({ service }) => service === cart);
    assert.ok(workload);
    const kept: ServerResponse[] = [];
    const busy = await standIn(workload, (asked, response) => {
      if (asked.url === '/held') kept.push(response);
      else response.end('now');
    });
    const agent = new Agent({ connections: 100 });
    const tiers = [{ match: { clusters: ['east'] } }, { match: { clusters: ['south'] } }];
    const failover = { spillAt: '10%', hold: '0s', returnOver: '1s' };
    const held: Promise<void>[] = [];
    try {
      await running.apply(
        west,
        policy('TrafficPolicy', 'cart', { target: { service: 'cart' }, locality: { tiers }, failover }),
      );
      const toEast = (): number => running.share(west, cart, east);
      await until('east serves all', toEast, (share) => share === 1);
      const url = `http://127.0.0.1:${running.importPort(west, cart)}/held`;
      while (kept.length < 18) {
        const before = kept.length;
        let answered = false;
        const holding = request(url, { dispatcher: agent }).then(({ body }) => body.dump());
        held.push(holding.finally(() => (answered = true)));
        await until(
          'held in east, or answered in south',
          () => kept.length > before || answered,
          (known) => known,
        );
      }
      await until('south takes part', toEast, (share) => Math.abs(share - 82 / 90) < 0.001);
      for (const response of kept.splice(0)) response.end('late');
      await Promise.all(held);
      await until('east serves all again', toEast, (share) => share === 1);
    } finally {
      await agent.destroy();
      await busy.close();
      await workload.start();
      await running.remove(west, 'TrafficPolicy/shop/cart');
    }
  });
});

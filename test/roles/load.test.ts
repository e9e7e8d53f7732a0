import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { type FailoverEvent, policyPaths } from '../../src/model/policy-report.ts';
import { web, west } from '../../src/roles/demo/federation.ts';
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
    const hold = async (host: string): Promise<number> => {
      const { statusCode, body } = await request(`http://${host}:${port}/held`, { dispatcher: agent });
      await body.dump();
      return statusCode;
    };
    try {
      // Neither gateway alone carries more than a tenth of the hundred that west is rated for.
      const answers = [second.host, '127.0.0.1'].flatMap((host) => Array.from({ length: 9 }, () => hold(host)));
      await until(
        'all held in west',
        () => waiting.length,
        (held) => held === 18,
      );
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
      assert.deepEqual(new Set(await Promise.all(answers)), new Set([200]));
      const back: number[] = [];
      await until(
        'it comes back',
        async () => {
          back.push(...shares());
          await delay(0);
          return shares();
        },
        (both) => both.every((share) => share === 1),
      );
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
});

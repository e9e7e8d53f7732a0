import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type ClusterName, parseClusterName } from '../../src/model/names.ts';
import type { SimulationReport } from '../../src/model/policy-report.ts';
import { cart, east, web, west } from '../../src/roles/demo/federation.ts';
import { policy, RunningFederation, until } from './support/running-federation.ts';

/** What `isthmus simulate` says beforehand is what the gateways do afterwards, in each cluster that is asked. */

const timeout = 60_000;
const south = parseClusterName('south');
const askers: readonly ClusterName[] = [west, south];

suite('simulate, then do it', () => {
  let running: RunningFederation;
  let dir = '';

  before(
    async () => {
      dir = await mkdtemp(join(tmpdir(), 'isthmus-simulate-'));
      running = await RunningFederation.start();
    },
    { timeout },
  );

  after(async () => {
    await running?.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function said(...args: readonly string[]): Promise<ReadonlyMap<ClusterName, SimulationReport>> {
    const reports = new Map<ClusterName, SimulationReport>();
    for (const asker of askers) {
      const { status, stdout, stderr } = await running.run(asker, 'simulate', ...args, '-o', 'json');
      assert.equal(status, 0, stderr);
      reports.set(asker, JSON.parse(stdout) as SimulationReport);
    }
    return reports;
  }

  /** Shares that are not what was said of them. */
  function others(reports: ReadonlyMap<ClusterName, SimulationReport>): readonly string[] {
    const found: string[] = [];
    let compared = 0;
    for (const [asker, { services }] of reports) {
      const now = running.demo.cluster(asker).gateway.gateway.report().services;
      for (const { service, targets } of services) {
        const known = now.find((each) => each.service === service)?.targets ?? [];
        for (const { cluster, after: expected } of targets) {
          compared += 1;
          const share = known.find((target) => target.cluster === cluster)?.share ?? 0;
          if (Math.abs(share - expected) > 0.001)
            found.push(`${asker}: ${service} in ${cluster} ${share}, not ${expected}`);
        }
      }
    }
    assert.ok(compared >= 8, `${compared} compared`);
    return found;
  }

  async function agree(reports: ReadonlyMap<ClusterName, SimulationReport>): Promise<void> {
    await until(
      'gateways do what was said',
      () => others(reports),
      ({ length }) => length === 0,
    );
  }

  /** A simulation goes by what gateways report once a second: all of it must be as they have settled. */
  async function settled(): Promise<void> {
    await until(
      'the present told as it is',
      async () => [...others(await said()), ...unsettled()],
      ({ length }) => length === 0,
    );
  }

  /** Without policies and losses the own cluster serves web, and two share cart. */
  function unsettled(): readonly string[] {
    const parts = [
      running.share(west, web, west),
      2 * running.share(west, cart, east),
      running.share(south, web, south),
    ];
    return parts.every((part) => Math.abs(part - 1) < 1e-9) ? [] : [`shares are ${parts.join(' ')}`];
  }

  test('a policy that is not applied yet', { timeout }, async () => {
    const locality = {
      preferLocal: false,
      tiers: [{ match: { clusters: ['east', 'south'] }, weights: { east: 70, south: 30 } }],
    };
    await settled();
    const file = join(dir, 'web.yaml');
    await writeFile(file, JSON.stringify(policy('TrafficPolicy', 'web', { target: { service: 'web' }, locality })));
    const reports = await said('--policy', file);
    assert.ok(running.share(west, web, west) === 1, 'nothing has changed');
    assert.equal((await running.run(west, 'policy', 'apply', '-f', file)).status, 0);
    await agree(reports);
    await running.remove(west, 'TrafficPolicy/shop/web');
  });

  test('a drain', { timeout }, async () => {
    await settled();
    const reports = await said('--drain', 'east');
    assert.equal((await running.run(west, 'drain', 'east', '--over', '0s', '--yes')).status, 0);
    await agree(reports);
    assert.equal((await running.run(west, 'undrain', 'east', '--over', '0s', '--yes')).status, 0);
  });

  test('the loss of a cluster', { timeout }, async () => {
    await settled();
    const reports = await said('--lose', 'east');
    await running.demo.cluster(east).gateway.close();
    await agree(reports);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { parseClusterName } from '../../src/model/names.ts';
import {
  type DrainRow,
  type EffectiveReport,
  type FailoverEvent,
  type PolicyChanges,
  policyPaths,
} from '../../src/model/policy-report.ts';
import { adminPaths, type Explanation } from '../../src/model/status.ts';
import { cart, type DemoFederation, east, web, west } from '../../src/roles/demo/federation.ts';
import { Traffic } from '../../src/roles/demo/traffic.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { policy, RunningFederation, until } from './support/running-federation.ts';

/** Policies and operations on a running federation: three agents and gateways, real TLS, real requests. */

const south = parseClusterName('south');
const timeout = 60_000;
let dir = '';
let running: RunningFederation;
let federation: DemoFederation;

before(
  async () => {
    dir = await mkdtemp(join(tmpdir(), 'isthmus-policy-'));
    running = await RunningFederation.start();
    federation = running.demo;
  },
  { timeout },
);

after(async () => {
  await running?.close();
  await rm(dir, { recursive: true, force: true });
});

const ask: RunningFederation['ask'] = (cluster, call) => running.ask(cluster, call);
const apply: RunningFederation['apply'] = (cluster, ...policies) => running.apply(cluster, ...policies);
const remove: RunningFederation['remove'] = (cluster, name) => running.remove(cluster, name);
const list: RunningFederation['policies'] = (cluster) => running.policies(cluster);
const servedBy: RunningFederation['servedBy'] = (from, service) => running.servedBy(from, service);
const share: RunningFederation['share'] = (from, service, to) => running.share(from, service, to);

suite('policies on a running federation', () => {
  test('a policy applied in one cluster is in force in all, and each says so', { timeout }, async () => {
    const locality = { preferLocal: false, tiers: [{ match: { clusters: ['south'] } }] };
    const { changes } = await apply(east, policy('TrafficPolicy', 'web', { target: { service: 'web' }, locality }));
    assert.equal(changes[0]?.action, 'created');
    const [row] = await until(
      'applied everywhere',
      () => list(west),
      ([first]) => first?.applied.every(({ current }) => current) === true,
    );
    assert.deepEqual(
      [row?.policy, row?.publisher, row?.state, row?.applied.length],
      ['TrafficPolicy/shop/web', 'east', 'Accepted', 3],
    );
    await until(
      'all traffic of west goes south',
      () => share(west, web, south),
      (part) => part === 1,
    );
    assert.equal(await servedBy(west, web), 'south');
    const effective = await ask(west, (client) =>
      client.get<EffectiveReport>(`${policyPaths.effective}?service=shop/web`),
    );
    assert.deepEqual(
      effective.fields.find(({ field }) => field === 'locality.preferLocal'),
      { field: 'locality.preferLocal', value: 'false', origin: 'TrafficPolicy shop/web of east' },
    );
    // Gateways report once a second.
    const last = async (): Promise<string | undefined> => {
      const path = `${policyPaths.failovers}?service=shop/web`;
      return (await ask(west, (client) => client.get<FailoverEvent[]>(path)))[0]?.shares;
    };
    await until('history tells it', last, (shares) => shares === 'south 100%');
    await remove(east, 'TrafficPolicy/shop/web');
    await until(
      'traffic is back',
      () => share(west, web, west),
      (part) => part === 1,
    );
    await until('history tells it', last, (shares) => shares === 'west 100%');
  });

  test('bad policies are refused with everything that is wrong, and change nothing', { timeout }, async () => {
    const good = policy('TrafficPolicy', 'good', { failover: { hold: '1s' } });
    const bad = policy('TrafficPolicy', 'bad', { failover: { hold: 'soon', spill: 1 } });
    await assert.rejects(apply(west, good, bad), (error: Error) =>
      /failover\.hold.*failover\.spill/s.test(error.message),
    );
    assert.deepEqual(await list(west), []);
    await assert.rejects(remove(west, 'TrafficPolicy/shop/none'), { code: 'not-found' });
  });

  test('two policies for one target: the older wins, the other is shown as overridden; a missing target is pending', {
    timeout,
  }, async () => {
    await apply(west, policy('TrafficPolicy', 'first', { failover: { hold: '2s' } }));
    await apply(west, policy('TrafficPolicy', 'second', { failover: { hold: '3s' } }));
    await apply(west, policy('TrafficPolicy', 'ghost', { target: { service: 'ghost' } }));
    const rows = await until(
      'all three',
      () => list(west),
      ({ length }) => length === 3,
    );
    assert.deepEqual(
      rows.map(({ policy: name, state }) => [name, state]),
      [
        ['TrafficPolicy/shop/first', 'Accepted'],
        ['TrafficPolicy/shop/ghost', 'Pending'],
        ['TrafficPolicy/shop/second', 'Overridden'],
      ],
    );
    assert.match(rows[2]?.message ?? '', /failover\.hold by TrafficPolicy shop\/first of west/);
    for (const { policy: name } of rows) await remove(west, name);
  });

  test('access is judged where the service is: denied callers get nothing, and explain says by which rule', {
    timeout,
  }, async () => {
    assert.ok(await servedBy(west, cart));
    await apply(east, policy('AccessPolicy', 'cart', { from: [{ clusters: ['south'] }], to: { services: ['cart'] } }));
    await until(
      'west is denied',
      () => servedBy(west, cart),
      (by) => by === undefined,
    );
    const asked = (query: Record<string, string>) =>
      ask(west, (client) => client.get<Explanation>(`${adminPaths.explain}?${new URLSearchParams(query).toString()}`));
    const denied = await until(
      'explained',
      () => asked({ to: 'shop/cart:80' }),
      ({ steps }) => steps.some(({ title }) => title.startsWith('access')),
    );
    assert.equal(denied.ok, false);
    assert.match(
      denied.steps.map(({ detail }) => detail).join('\n'),
      /denied by AccessPolicy shop\/cart of east targets it/,
    );
    assert.ok(await servedBy(south, cart), 'south is served');
    await remove(east, 'AccessPolicy/shop/cart');
    await until(
      'west is served again',
      () => servedBy(west, cart),
      (by) => by !== undefined,
    );
  });

  test('drain and undrain under load, by the command line: no failed request', { timeout }, async () => {
    const port = federation.cluster(west).importPort(cart, 80);
    assert.ok(port !== undefined);
    const traffic = new Traffic({
      from: west,
      service: cart,
      port,
      concurrency: 4,
      thinkMs: 5,
      requestsPerConnection: 10,
      clock: systemClock,
    });
    traffic.start();
    try {
      const preview = await running.run(west, 'drain', 'east', '--over', '1s');
      assert.deepEqual(
        [preview.status, /Preview: nothing was changed/.test(preview.stdout)],
        [0, true],
        preview.stderr,
      );
      assert.ok(share(west, cart, east) > 0.4, 'a preview changes nothing');
      const drained = await running.run(west, 'drain', 'east', '--over', '1s', '--yes', '--wait');
      assert.equal(drained.status, 0, drained.stderr);
      assert.match(drained.stderr, /Undo with:\nisthmus undrain east --yes\n[^]*east: Drained, 0% left/);
      await until(
        'nothing goes to east',
        () => share(west, cart, east),
        (part) => part === 0,
      );
      // Connections that were open when the drain ended finish what they are at.
      await until(
        'south alone serves',
        async () => {
          traffic.takeServed();
          await new Promise((resolve) => setTimeout(resolve, 200));
          return [...traffic.takeServed().keys()];
        },
        (clusters) => clusters.length === 1 && clusters[0] === 'south',
      );
      const [row] = await ask(south, (client) => client.get<DrainRow[]>(policyPaths.drains));
      assert.deepEqual([row?.target, row?.state, row?.publisher], ['east', 'Drained', 'west']);
      const undrained = await running.run(west, 'undrain', 'east', '--over', '1s', '--yes', '--wait');
      assert.equal(undrained.status, 0, undrained.stderr);
      await until(
        'east serves again',
        () => share(west, cart, east),
        (part) => part > 0.4,
      );
    } finally {
      await traffic.stop();
    }
    const { sent, failed, interrupted } = traffic.counts;
    assert.ok(sent > 200, `${sent} sent`);
    assert.deepEqual([failed, interrupted], [0, 0]);
  });

  test('the verbs answer and refuse with the right status', { timeout }, async () => {
    const file = join(dir, 'web.yaml');
    await writeFile(file, JSON.stringify(policy('TrafficPolicy', 'web', { failover: { hold: '2s' } })));
    const differs = await running.run(west, 'policy', 'diff', '-f', file);
    assert.deepEqual([differs.status, /^\+ kind: TrafficPolicy$/m.test(differs.stdout)], [1, true]);
    const applied = await running.run(west, 'policy', 'apply', '-f', file, '-o', 'json');
    assert.equal((JSON.parse(applied.stdout) as PolicyChanges).changes[0]?.action, 'created');
    assert.match(applied.stderr, /isthmus policy delete TrafficPolicy\/shop\/web/);
    assert.equal((await running.run(west, 'policy', 'diff', '-f', file)).status, 0);
    const got = await running.run(west, 'policy', 'get', 'TrafficPolicy/shop/web', '-o', 'yaml');
    assert.match(got.stdout, /kind: TrafficPolicy/);
    await writeFile(file, 'kind: Nonsense');
    const refused = await running.run(west, 'policy', 'apply', '-f', file);
    assert.deepEqual([refused.status, /apiVersion: is required/.test(refused.stderr)], [2, true], refused.stderr);
    const statuses = await Promise.all(
      [
        ['policy', 'get', 'TrafficPolicy/shop/none'],
        ['drain', 'north'],
        ['simulate', '--lose', 'east', '--lose', 'south', '--lose', 'west'],
        ['simulate', '--load', 'much'],
        ['failover', 'history', 'shop/web', '-o', 'json'],
      ].map(async (args) => (await running.run(west, ...args)).status),
    );
    assert.deepEqual(statuses, [1, 1, 1, 2, 0]);
    await remove(west, 'TrafficPolicy/shop/web');
  });

  test('a cluster that may not publish is refused, and what it had published counts no more', { timeout }, async () => {
    await apply(south, policy('TrafficPolicy', 'south', { failover: { hold: '9s' } }));
    await until(
      'in force',
      () => list(west),
      ([row]) => row?.state === 'Accepted',
    );
    await federation.authority.authority.admit(south, { mayPublishPolicy: false, mayOperate: false }, 'test');
    const [row] = await until(
      'ignored',
      () => list(west),
      ([first]) => first?.state === 'Ignored' || first === undefined,
    );
    if (row) assert.match(row.message ?? '', /south may not publish policies for the federation/);
    await until(
      'known in south',
      () =>
        apply(south, policy('TrafficPolicy', 'more', {})).then(
          () => 'accepted',
          (error: Error) => error.message,
        ),
      (message) => /may publish only AccessPolicies/.test(message),
    );
    await assert.rejects(
      ask(south, (client) => client.post(policyPaths.drain, { target: 'east', state: 'drained' })),
      { code: 'denied' },
    );
    await apply(
      south,
      policy('AccessPolicy', 'own', { from: [{ clusters: ['east'] }], to: { services: ['nothing'] } }),
    );
    await until(
      'elsewhere',
      () => list(west),
      (rows) => rows.some(({ state }) => state === 'Elsewhere'),
    );
  });
});

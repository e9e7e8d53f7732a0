import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { ClusterName } from '../../src/model/names.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { recordOf } from '../../src/policy/policy.ts';
import { east, west } from '../../src/roles/demo/federation.ts';
import type { Ended } from '../cli/ended.ts';
import { policy, RunningFederation, until } from './support/running-federation.ts';

/** What an author of policies sees at the command line when a policy is not right. */

const timeout = 60_000;
const south = parseClusterName('south');

suite('bad policies, at the command line', () => {
  let running: RunningFederation;
  let dir = '';

  before(
    async () => {
      dir = await mkdtemp(join(tmpdir(), 'isthmus-bad-policies-'));
      running = await RunningFederation.start();
    },
    { timeout },
  );

  after(async () => {
    await running?.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function apply(from: ClusterName, name: string, spec: object): Promise<Ended> {
    const file = join(dir, `${name}.yaml`);
    await writeFile(file, JSON.stringify(policy('TrafficPolicy', name, spec)));
    return running.run(from, 'policy', 'apply', '-f', file);
  }

  async function listed(): Promise<readonly string[]> {
    const { status, stdout, stderr } = await running.run(west, 'policy', 'list', '--no-headers');
    assert.equal(status, 0, stderr);
    return stdout.split('\n').filter((line) => line !== '');
  }

  const refused: readonly (readonly [string, object, RegExp])[] = [
    [
      'an unknown field',
      { failover: { healthyTreshold: '50%' } },
      /spec\.failover\.healthyTreshold: .*did you mean 'healthyThreshold'/i,
    ],
    [
      'impossible weights',
      { locality: { tiers: [{ match: { clusters: ['west', 'east'] }, weights: { west: 0, east: 0 } }] } },
      /spec\.locality\.tiers\[0\]\.weights: /,
    ],
    [
      'a weight below zero',
      { locality: { tiers: [{ match: { clusters: ['west'] }, weights: { west: -1 } }] } },
      /spec\.locality\.tiers\[0\]\.weights\.west: .*-1/,
    ],
    [
      'a threshold out of range',
      { failover: { healthyThreshold: '130%' } },
      /spec\.failover\.healthyThreshold: .*130%/,
    ],
    [
      'thresholds that cross',
      { failover: { healthyThreshold: '40%', panicThreshold: '60%' } },
      /spec\.failover\.panicThreshold: must not be above healthyThreshold, which is 40%: current value is 60%/,
    ],
  ];
  for (const [what, spec, message] of refused) {
    test(`${what} is refused with path, value and what would be right; status 2, nothing published`, {
      timeout,
    }, async () => {
      const { status, stdout, stderr } = await apply(west, 'bad', spec);
      assert.match(stderr, message);
      assert.deepEqual([status, stdout], [2, '']);
      assert.deepEqual(await listed(), ['Nobody publishes a policy: defaults hold.']);
    });
  }

  test('two policies for one target: the elder counts, the list says which field of the other does not', {
    timeout,
  }, async () => {
    assert.equal((await apply(west, 'first', { failover: { hold: '2s' } })).status, 0);
    assert.equal((await apply(west, 'second', { failover: { hold: '3s', returnOver: '5s' } })).status, 0);
    const [first, second] = await until('both', listed, ({ length }) => length === 2);
    assert.match(first ?? '', /^TrafficPolicy\/shop\/first +west +shop\/\* +Accepted /);
    assert.match(
      second ?? '',
      /^TrafficPolicy\/shop\/second +west +shop\/\* +Overridden .*failover\.hold by TrafficPolicy shop\/first of west/,
    );
    for (const name of ['first', 'second']) await running.remove(west, `TrafficPolicy/shop/${name}`);
  });

  test('a target that does not exist: accepted, and pending until somebody exports it', { timeout }, async () => {
    const { status, stderr } = await apply(west, 'ghost', { target: { service: 'ghost' } });
    assert.equal(status, 0, stderr);
    const [row] = await until('listed', listed, ([line]) => line?.startsWith('TrafficPolicy') === true);
    assert.match(
      row ?? '',
      /^TrafficPolicy\/shop\/ghost +west +shop\/ghost +Pending .*no cluster exports shop\/ghost yet/,
    );
    await running.remove(west, 'TrafficPolicy/shop/ghost');
  });

  test('a cluster that may not publish: refused there; what it publishes all the same is ignored, evented, listed', {
    timeout,
  }, async () => {
    await running.demo.authority.authority.admit(south, { mayPublishPolicy: false, mayOperate: false }, 'test');
    const turnedDown = await until(
      'south knows',
      () => apply(south, 'own', { failover: { hold: '9s' } }),
      ({ status }) => status !== 0,
    );
    assert.deepEqual(
      [turnedDown.status, /Refused: south may publish only AccessPolicies/.test(turnedDown.stderr)],
      [1, true],
      turnedDown.stderr,
    );
    // An agent that does not keep to the rules.
    const { desk } = running.demo.cluster(south).parts;
    const parsed = parsePolicy(policy('FederationPolicy', 'takeover', { locality: { fallback: 'none' } }));
    assert.ok(parsed.ok);
    const [records, now] = [desk.records.bind(desk), Date.now()];
    const hostile = recordOf(parsed.policy, now, now);
    desk.records = () => [...records(), hostile];
    desk.changes.set(desk.changes.current + 1);
    const row = await until(
      'ignored in west',
      async () => (await listed()).find((line) => line.startsWith('FederationPolicy/-/takeover')),
      (line) => line !== undefined,
    );
    assert.match(
      row ?? '',
      / south +\* +Ignored .*south may not publish policies for the federation \(mayPublishPolicy\)/,
    );
    const { stdout } = await running.run(west, 'events');
    assert.match(stdout, /south +policy-ignored .*FederationPolicy\/-\/takeover: south may not publish/);
    const effective = await running.run(east, 'policy', 'effective', 'shop/web');
    assert.match(effective.stdout, /locality\.fallback +any +configuration or default/);
  });
});

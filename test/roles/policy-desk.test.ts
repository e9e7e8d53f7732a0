import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { parseTrustDomain } from '../../src/model/identity.ts';
import type { ClusterName } from '../../src/model/names.ts';
import { type ClusterRecord, recordKeyOf } from '../../src/model/record.ts';
import type { Roster } from '../../src/model/trust.ts';
import { recordOf } from '../../src/policy/policy.ts';
import { PolicyDesk } from '../../src/roles/agent/policy/desk.ts';
import { PolicyFiles } from '../../src/roles/agent/policy/files.ts';
import type { PolicyFile } from '../../src/roles/agent/policy/own-records.ts';
import { filePolicyStore } from '../../src/roles/agent/policy/store.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { east, policy, web, west } from '../policy/support/federation.ts';

const log = createLog('test', 'silent');
const clock = systemClock;
let dir = '';
let events: string[] = [];

function onEvent(publisher: ClusterName, kind: string, detail: string): void {
  events.push(`${publisher} ${kind} ${detail}`);
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'isthmus-desk-'));
  events = [];
});

afterEach(() => rm(dir, { recursive: true, force: true }));

function roster(may: Readonly<Record<string, boolean>>): Roster {
  const domain = parseTrustDomain('mesh.example');
  const entry = (cluster: ClusterName) =>
    [
      cluster,
      {
        cluster,
        trustDomain: parseTrustDomain(`${cluster}.mesh.example`),
        state: 'active' as const,
        caKeyIds: [],
        labels: {},
        exportable: ['*/*'],
        mayPublishPolicy: may[cluster] === true,
        mayOperate: may[cluster] === true,
      },
    ] as const;
  return {
    federationDomain: domain,
    sequence: 1,
    issuedAt: 1,
    clusters: new Map([entry(east), entry(west)]),
    deniedKeyIds: [],
  };
}

function partition(...records: readonly ClusterRecord[]): PartitionView {
  return {
    epoch: 1,
    revision: 1,
    records: new Map(records.map((record) => [recordKeyOf(record), record])),
    freshness: 'live',
    heardAt: 1,
  } as PartitionView;
}

async function leading(files: readonly PolicyFile[] = []): Promise<PolicyDesk> {
  const desk = new PolicyDesk({ self: west, store: filePolicyStore(dir, log), clock, log, onEvent });
  await desk.setFiles(files);
  await desk.lead(undefined);
  return desk;
}

const both = roster({ east: true, west: true });
const hold = (seconds: number) => policy('TrafficPolicy', { failover: { hold: `${seconds}s` } });

function held(
  desk: PolicyDesk,
  partitions: ReadonlyMap<ClusterName, PartitionView> = new Map(),
  by: Roster = both,
): number | undefined {
  return desk.review(partitions, by).policies.stated(web).fields['failover.hold'];
}

suite('PolicyDesk', () => {
  test('what was applied is in force at once, and after a restart without any hub', async () => {
    const desk = await leading();
    await desk.apply([hold(3)], false);
    assert.equal(held(desk), 3000);
    assert.equal(held(await leading()), 3000);
  });

  test('a preview changes nothing', async () => {
    const desk = await leading();
    const { changes } = await desk.apply([hold(3)], true);
    assert.equal(changes[0]?.action, 'created');
    assert.equal(held(desk), undefined);
  });

  test('nothing changed gives the very same objects', async () => {
    const desk = await leading();
    await desk.apply([hold(3)], false);
    const partitions = new Map([[east, partition(recordOf(hold(5), 2, 2))]]);
    const first = desk.review(partitions, both);
    assert.equal(desk.review(new Map(partitions), both), first);
    assert.equal(desk.review(partitions, { ...both, sequence: 2 }).policies, first.policies);
  });

  test('reports which versions are in force, and publishes only what it may', async () => {
    const desk = await leading();
    await desk.apply([hold(3)], false);
    held(desk, new Map([[east, partition(recordOf(hold(5), 2, 2))]]));
    const applied = [...desk.records()].find((record) => record.kind === 'applied');
    assert.deepEqual(
      Object.keys(applied?.policies ?? {}).sort((a, b) => (a < b ? -1 : 1)),
      ['east/TrafficPolicy/shop/web', 'west/TrafficPolicy/shop/web'],
    );
    held(desk, new Map(), roster({ east: true }));
    assert.deepEqual(
      [...desk.records()].filter((record) => record.kind === 'policy'),
      [],
    );
  });

  test('a replica that does not lead refuses to change anything', async () => {
    const desk = await leading();
    desk.follow();
    await assert.rejects(async () => desk.apply([hold(1)], false), { code: 'unavailable' });
  });

  test('a bad version from another cluster leaves the good one in force', async () => {
    const desk = await leading();
    const good = recordOf(hold(5), 2, 2);
    assert.equal(held(desk, new Map([[east, partition(good)]])), 5000);
    const bad = { ...good, issuedAt: 3, spec: { failover: { hold: 'soon' } } };
    assert.equal(held(desk, new Map([[east, partition(bad)]])), 5000);
    assert.equal(desk.reviews[0]?.outcome, 'Rejected');
  });
});

suite('PolicyDesk, what does not count', () => {
  test('a policy of a cluster that may not publish is ignored, listed as such, and evented once for each version', async () => {
    const desk = await leading();
    const said = recordOf(hold(5), 2, 2);
    const rules = roster({ west: true });
    for (const partitions of [1, 2].map(() => new Map([[east, partition(said)]]))) {
      assert.equal(held(desk, partitions, rules), undefined);
    }
    assert.deepEqual(
      desk.reviews.map(({ outcome, message }) => [outcome, message]),
      [['Ignored', 'east may not publish policies for the federation (mayPublishPolicy)']],
    );
    const event = `east policy-ignored TrafficPolicy/shop/web: ${desk.reviews[0]?.message}`;
    assert.deepEqual(events, [event]);
    held(desk, new Map([[east, partition({ ...said, issuedAt: 3 })]]), rules);
    assert.deepEqual(events, [event, event]);
  });

  test('a policy that cannot be understood, and a drain that may not be ordered, are evented', async () => {
    const desk = await leading();
    const bad = { ...recordOf(hold(5), 2, 2), spec: { failover: { hold: 'soon' } } };
    held(desk, new Map([[east, partition(bad)]]));
    const word: ClusterRecord = {
      kind: 'drain',
      target: { cluster: west },
      state: 'drained',
      overMs: 0,
      issuedAt: 1,
      by: 'somebody',
    };
    held(desk, new Map([[east, partition(word)]]), roster({ west: true }));
    assert.equal(desk.current.drains.clusters.size, 0);
    assert.match(events.join('\n'), /^east policy-rejected TrafficPolicy\/shop\/web: spec\.failover\.hold: [^]*'soon'/);
    assert.match(events.at(-1) ?? '', /^east drain-refused west: east may not operate on other clusters/);
  });
});

suite('PolicyFiles', () => {
  const yaml = (seconds: number): string =>
    `apiVersion: isthmus.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: web, namespace: shop }\nspec: { failover: { hold: ${seconds}s } }\n`;

  async function following(paths: readonly string[]): Promise<{ files: PolicyFiles; seen: (readonly PolicyFile[])[] }> {
    const seen: (readonly PolicyFile[])[] = [];
    const onFiles = async (read: readonly PolicyFile[]): Promise<void> => void seen.push(read);
    const files = new PolicyFiles({ paths, onFiles, clock, log });
    await files.start();
    return { files, seen };
  }

  test('reads files and folders, and everything that is wrong with them', async () => {
    await mkdir(join(dir, 'more'));
    await writeFile(join(dir, 'web.yaml'), yaml(3));
    await writeFile(join(dir, 'more', 'a.yml'), yaml(3).replace('name: web', 'name: other'));
    await writeFile(join(dir, 'more', 'b.yaml'), 'kind: Nonsense');
    await writeFile(join(dir, 'more', 'ignored.txt'), 'x');
    const { files, seen } = await following([join(dir, 'web.yaml'), join(dir, 'more'), join(dir, 'absent')]);
    await files.close();
    assert.deepEqual(
      seen[0]?.map(({ file, policies }) => [file, policies?.length]),
      [
        ['web.yaml', 1],
        ['a.yml', 1],
        ['b.yaml', undefined],
        ['absent', undefined],
      ],
    );
    assert.equal(files.problems.length, 2);
    assert.match(files.problems.join('\n'), /absent cannot be read[^]*b\.yaml: document 1: apiVersion: is required/);
  });

  test('a file that becomes wrong keeps what it said; one that goes takes it along', async () => {
    const desk = await leading();
    const file = join(dir, 'web.yaml');
    const look = async (): Promise<number | undefined> => {
      const { files, seen } = await following([file]);
      await files.close();
      await desk.setFiles(seen[0] ?? []);
      return held(desk);
    };
    await writeFile(file, yaml(3));
    assert.equal(await look(), 3000);
    await writeFile(file, yaml(3).replace('3s', 'soon'));
    assert.equal(await look(), 3000);
    const broken = [{ file: 'web.yaml', policies: undefined }];
    assert.equal(held(await leading(broken)), 3000, 'after a restart too');
    await writeFile(file, yaml(4));
    assert.equal(await look(), 4000);
    await assert.rejects(desk.apply([hold(9)], false), /comes from the file web\.yaml/);
    await desk.setFiles([]);
    assert.equal(held(desk), undefined);
  });

  test('follows a file by itself', async () => {
    const file = join(dir, 'web.yaml');
    await writeFile(file, yaml(3));
    const { files, seen } = await following([file]);
    await writeFile(file, yaml(4));
    const deadline = performance.now() + 5000;
    while (seen.length < 2 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    await files.close();
    assert.equal(seen.length, 2);
  });
});

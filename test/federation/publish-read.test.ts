import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { IsthmusError } from '../../src/model/error.ts';
import type { ClusterName } from '../../src/model/names.ts';
import type { Commit, CommitResult, Hub } from '../../src/model/ports/hub.ts';
import type { Sealer } from '../../src/model/ports/seal.ts';
import type { ExportRecord } from '../../src/model/record.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { decodeHead } from '../../src/wire/partition.ts';
import { encodeRecord } from '../../src/wire/record.ts';
import { decodeSeal } from '../../src/wire/seal.ts';
import { east, entryOf, eventually, exportOf, gatewayOf, keyed, south, trustOf, west } from './support/federation.ts';
import { altered } from './support/altered.ts';
import { forge } from './support/forge.ts';
import { Site } from './support/site.ts';

type Partitions = ReadonlyMap<ClusterName, PartitionView>;

const web = 'export/shop/web';
const db = 'export/shop/db';

function kindAt(partitions: Partitions, key: string, cluster: ClusterName = east): string | undefined {
  return partitions.get(cluster)?.records.get(key)?.kind;
}

function readyAt(partitions: Partitions, key: string): number | undefined {
  const record = partitions.get(east)?.records.get(key);
  return record?.kind === 'export' ? record.endpoints.ready : undefined;
}

function withReady(ready: number): ExportRecord {
  return exportOf('shop/web', { endpoints: { total: 1000, ready } });
}

async function headOf(hub: Hub, cluster: ClusterName = east): Promise<ReturnType<typeof decodeHead>> {
  const [sealed] = await hub.readHeads([cluster]);
  assert.ok(sealed, 'the hub holds no head');
  return decodeHead(decodeSeal(sealed).payload);
}

test('an export of one cluster is seen by the others, with its gateway, verified and live', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web'), gatewayOf('gw-0')), { synced: true });
  const seen = await eventually(
    reader.partitions,
    (p) => p.get(east)?.freshness === 'live' && kindAt(p, web) === 'export',
  );
  assert.deepEqual(new Map(seen.get(east)?.records), new Map(publisher.own.current.records));
  assert.equal(seen.get(east)?.epoch, publisher.status.current.epoch);
  assert.equal(kindAt(seen, 'gateway/gw-0'), 'gateway');
  assert.equal(seen.has(west), false);
  assert.equal(reader.hubStatus.current.connected, true);
  assert.deepEqual(reader.refusals(), []);
  await eventually(publisher.status, (status) => status.settled && status.state === 'publishing');
});

test('publish: what did not change is not written again, and keeps its object for readers', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const commits: Commit[] = [];
  const hub = altered(site.hub, {
    commit(this: Hub, partition, commit): Promise<CommitResult> {
      commits.push(commit);
      return site.hub.commit(partition, commit);
    },
  });
  const reader = await site.reader(west);
  const publisher = await site.publisher(east, { hub });
  publisher.publish(keyed(exportOf('shop/web'), exportOf('shop/db')), { synced: true });
  const first = await eventually(reader.partitions, (p) => kindAt(p, db) === 'export');
  publisher.publish(keyed(exportOf('shop/web'), exportOf('shop/db')), { synced: true });
  publisher.publish(keyed(withReady(7), exportOf('shop/db')), { synced: true });
  const second = await eventually(reader.partitions, (p) => readyAt(p, web) === 7);
  assert.deepEqual(
    commits.map((commit) => [...commit.records.keys()]),
    [[web, db], [web]],
  );
  assert.ok((commits[1]?.delta?.length ?? 0) < 1000);
  assert.equal(second.get(east)?.records.get(db), first.get(east)?.records.get(db));
});

test('publish: an export that is not desired any more becomes a tombstone; a gateway just goes', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web'), exportOf('shop/db'), gatewayOf('gw-0')), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, 'gateway/gw-0') === 'gateway');
  publisher.publish(keyed(exportOf('shop/db')), { synced: true });
  const seen = await eventually(reader.partitions, (p) => kindAt(p, web) === 'tombstone');
  assert.deepEqual([...(seen.get(east)?.records.keys() ?? [])].toSorted(), [db, web]);
});

test('publish: a source that is not synced yet deletes nothing, also right after a restart with nothing on disk', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const before = await site.publisher(east);
  before.publish(keyed(exportOf('shop/web'), gatewayOf('gw-0')), { synced: true });
  await eventually(before.status, (status) => status.settled);
  await before.close();
  const after = await site.publisher(east, { stateDir: await site.dir('fresh') });
  after.publish(new Map(), { synced: false });
  const { epoch } = await eventually(after.status, (status) => status.settled);
  const seen = await eventually(reader.partitions, (p) => p.get(east)?.epoch === epoch);
  assert.equal(kindAt(seen, web), 'export');
  assert.equal(kindAt(seen, 'gateway/gw-0'), 'gateway');
  after.publish(new Map(), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'tombstone' && kindAt(p, 'gateway/gw-0') === undefined);
});

test('publish: an old tombstone is not told again before the sources are read, wherever the hub has gone', {
  timeout: 60_000,
}, async () => {
  const hub = createEmbeddedHub();
  await using site = await Site.on(hub);
  const first = await site.publisher(east);
  first.publish(keyed(exportOf('shop/web'), exportOf('shop/db')), { synced: true });
  first.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(first.status, ({ settled }) => settled);
  await first.close();
  await using elsewhere = await Site.on(createEmbeddedHub());
  const reader = await elsewhere.reader(west, { verifier: site.seals.verifier() });
  const again = await site.publisher(east, { hub: elsewhere.hub });
  again.publish(keyed(exportOf('shop/web')), { synced: false });
  const seen = await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
  assert.equal(kindAt(seen, db), undefined, 'the service may be back since');
  again.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, db) === 'tombstone');
  await again.close();
});

test('publish: a restart begins a higher epoch and keeps the age of its exports', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const first = await site.publisher(east);
  first.publish(keyed(exportOf('shop/web', { createdAt: 1000 })), { synced: true });
  const { epoch } = await eventually(first.status, (status) => status.settled);
  await first.close();
  const stored = Number(await readFile(`${await site.dir('east-agent')}/epoch`, 'utf8'));
  assert.equal(stored, epoch);
  const second = await site.publisher(east);
  assert.equal(kindAt(new Map([[east, second.own.current]]), web), 'export', 'own records are there before the hub is');
  second.publish(keyed(exportOf('shop/web', { createdAt: 9000 })), { synced: true });
  const status = await eventually(second.status, (now) => now.settled);
  assert.ok(status.epoch > epoch);
  const record = second.own.current.records.get(web);
  assert.equal(record?.kind === 'export' && record.createdAt, 1000);
});

test('publish: a new epoch is above what this cluster signed in the hub, even when disk and clock know nothing of it', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.sealerOf(east);
  const ahead = Date.now() + 10_000_000;
  await forge(site.hub, sealer.current as Sealer, { epoch: ahead, revision: 9, values: new Map() });
  const publisher = await site.publisher(east, { sealer });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  const { epoch, revision } = await eventually(publisher.status, (status) => status.settled);
  assert.deepEqual([epoch, revision], [ahead + 1, 1]);
});

test('publish: a new epoch is above the stored one, even when hub and clock know nothing of it', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const stateDir = await site.dir('east-agent');
  const ahead = Date.now() + 10_000_000;
  await writeFile(`${stateDir}/epoch`, `${ahead}\n`);
  const publisher = await site.publisher(east, { stateDir });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  const { epoch } = await eventually(publisher.status, (status) => status.settled);
  assert.equal(epoch, ahead + 1);
  assert.equal(Number(await readFile(`${stateDir}/epoch`, 'utf8')), ahead + 1);
});

test('two writers: the one with the newer epoch wins, the other stops and says so', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.sealerOf(east);
  const first = await site.publisher(east, { sealer });
  first.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(first.status, (status) => status.settled);
  const second = await site.publisher(east, { sealer, stateDir: await site.dir('other') });
  second.publish(keyed(exportOf('shop/db')), { synced: true });
  const { epoch } = await eventually(second.status, (status) => status.settled);
  const stopped = await eventually(first.status, (status) => status.state === 'superseded');
  assert.match(stopped.lastError ?? '', new RegExp(`epoch ${epoch}`));
  first.publish(keyed(exportOf('shop/late')), { synced: true });
  await delay(120);
  assert.equal((await headOf(site.hub)).epoch, epoch);
  assert.equal((await site.hub.readSnapshot(east)).records.has('export/shop/late'), false);
});

test('a write whose result is unknown is sent again with the same bytes, and counts once', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const commits: Commit[] = [];
  const hub = altered(site.hub, {
    async commit(this: Hub, partition, commit): Promise<CommitResult> {
      commits.push(commit);
      const result = await site.hub.commit(partition, commit);
      if (commits.length % 2 === 1) throw new IsthmusError('timeout', 'no answer');
      return result;
    },
  });
  const reader = await site.reader(west);
  const publisher = await site.publisher(east, { hub });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  publisher.publish(keyed(withReady(5)), { synced: true });
  const { revision, repairs } = await eventually(publisher.status, (status) => status.settled && status.revision > 1);
  assert.deepEqual([revision, repairs, commits.length], [2, 0, 4]);
  assert.equal(commits[0]?.head, commits[1]?.head);
  assert.equal(commits[2]?.delta, commits[3]?.delta);
  await eventually(reader.partitions, (p) => readyAt(p, web) === 5);
  assert.deepEqual(reader.refusals(), []);
});

test('without hub or identity nothing is thrown: status says what is missing, the own view is there', async () => {
  await using site = await Site.on(createEmbeddedHub());
  let down = true;
  const fail = async (): Promise<never> => {
    throw new IsthmusError('unavailable', 'hub is down');
  };
  const hub = new Proxy(site.hub, {
    get: (target, name: keyof Hub) => {
      const member = target[name];
      if (typeof member !== 'function') return member;
      return down && name !== 'subscribe' ? fail : member.bind(target);
    },
  });
  const sealer = new Watchable<Sealer | undefined>(undefined);
  const publisher = await site.publisher(east, { hub, sealer });
  assert.equal(publisher.status.current.waitingFor, 'the first list of services');
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(publisher.status, (status) => status.waitingFor === 'an identity to seal with');
  sealer.set(site.seals.sealer(east));
  const status = await eventually(publisher.status, (now) => now.state === 'unreachable');
  assert.equal(status.lastError, 'hub is down');
  assert.equal(status.waitingFor, undefined);
  assert.equal(publisher.own.current.records.get(web)?.kind, 'export');
  const reader = await site.reader(west, { hub });
  await eventually(reader.hubStatus, (now) => now.lastError === 'hub is down');
  down = false;
  await eventually(publisher.status, (now) => now.settled);
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
});

test('a new signer seals the head again, so that newcomers can verify it', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.sealerOf(east);
  const old = sealer.current as Sealer;
  const publisher = await site.publisher(east, { sealer });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(publisher.status, (status) => status.settled);
  sealer.set(site.seals.sealer(east));
  await eventually(publisher.status, (status) => status.revision === 2);
  site.seals.distrust(old);
  const reader = await site.reader(west);
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
});

test('lost hints: polling heals', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west, { hub: altered(site.hub, { subscribe: () => () => undefined }) });
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
  publisher.publish(keyed(withReady(3)), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p, web) === 3);
  await publisher.close();
  const next = await site.publisher(east);
  next.publish(keyed(withReady(4)), { synced: true });
  await eventually(reader.partitions, (p) => readyAt(p, web) === 4);
});

test('an export that vanishes without a tombstone stays', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const sealer = site.seals.sealer(east);
  const both = new Map([web, db].map((key) => [key, encodeRecord(exportOf(key.slice(7)))]));
  await forge(site.hub, sealer, { epoch: 1, revision: 1, values: both });
  await eventually(reader.partitions, (p) => kindAt(p, db) === 'export');
  await forge(site.hub, sealer, { epoch: 2, revision: 1, values: new Map() });
  const seen = await eventually(reader.partitions, (p) => p.get(east)?.epoch === 2);
  assert.equal(kindAt(seen, web), 'export');
});

test('loss of contact is not deletion, also over a restart', async () => {
  const hub = createEmbeddedHub();
  await using site = await Site.on(hub);
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
  await publisher.close();
  await reader.close();
  const empty = createEmbeddedHub();
  const again = await site.reader(west, { hub: empty });
  assert.equal(kindAt(again.partitions.current, web), 'export');
  assert.equal(again.partitions.current.get(east)?.heardAt, undefined);
  await eventually(again.partitions, (p) => /holds nothing/.test(p.get(east)?.problem ?? ''));
  assert.equal(kindAt(again.partitions.current, web), 'export');
  await again.close();
  await empty.close();
});

test('a signer that is trusted no more: said as soon as the roster is there, though the hub has nothing new', {
  timeout: 60_000,
}, async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.seals.sealer(east);
  await forge(site.hub, sealer, { epoch: 5, revision: 5, values: new Map([[web, encodeRecord(withReady(7))]]) });
  const reader = await site.reader(west);
  await eventually(reader.partitions, (p) => readyAt(p, web) === 7);
  site.seals.distrust(sealer);
  site.trust.set(trustOf(entryOf(east), entryOf(west), entryOf(south)));
  const seen = await eventually(reader.partitions, (p) => p.get(east)?.problem !== undefined);
  assert.match(seen.get(east)?.problem ?? '', /^distrusted: head of east on hub memory: /);
  assert.equal(readyAt(seen, web), 7, 'until its owner says it anew, or the roster drops the owner');
  await forge(site.hub, site.seals.sealer(east), {
    epoch: 6,
    revision: 1,
    values: new Map([[web, encodeRecord(withReady(8))]]),
  });
  await eventually(reader.partitions, (p) => readyAt(p, web) === 8 && p.get(east)?.problem === undefined);
});

test('a signer that has run out: what it said is taken by whoever has nothing, and is stale', {
  timeout: 60_000,
}, async () => {
  await using site = await Site.on(createEmbeddedHub());
  const sealer = site.seals.sealer(east);
  await forge(site.hub, sealer, { epoch: 5, revision: 5, values: new Map([[web, encodeRecord(withReady(7))]]) });
  site.seals.expire(sealer);
  const expired = /head of east on hub memory: the certificate of the signer has run out/;
  for (const start of ['the first', 'one with the state on disk']) {
    const reader = await site.reader(west);
    const seen = await eventually(reader.partitions, (p) => expired.test(p.get(east)?.problem ?? ''));
    assert.equal(readyAt(seen, web), 7, start);
    assert.deepEqual([seen.get(east)?.freshness, seen.get(east)?.heardAt], ['unknown', undefined], start);
    await reader.close();
  }
});

test('a cluster that is revoked or suspended goes at once; suspended comes back from disk, revoked is forgotten', async () => {
  await using site = await Site.on(createEmbeddedHub());
  const reader = await site.reader(west);
  const publisher = await site.publisher(east);
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
  const files = async (): Promise<string[]> => readdir(`${await site.dir('west-agent')}/partitions`);
  for (let turn = 0; turn < 2000 && !(await files()).includes('east.json'); turn += 1) await delay(20);
  const roster = (state: 'active' | 'suspended' | 'revoked'): void =>
    site.trust.set(trustOf(entryOf(east, { state }), entryOf(west), entryOf(south)));
  roster('suspended');
  assert.equal(reader.partitions.current.has(east), false);
  await publisher.close();
  roster('active');
  await eventually(reader.partitions, (p) => kindAt(p, web) === 'export');
  assert.ok((await files()).includes('east.json'));
  roster('revoked');
  assert.equal(reader.partitions.current.has(east), false);
  for (let turn = 0; turn < 2000 && (await files()).includes('east.json'); turn += 1) await delay(10);
  assert.equal((await files()).includes('east.json'), false);
});

test('freshness: live while the lease moves, then suspect, then dead; never dead while the hub is away', async () => {
  await using site = await Site.on(createEmbeddedHub());
  let down = false;
  const hub = new Proxy(site.hub, {
    get: (target, name: keyof Hub) => {
      const member = target[name];
      if (typeof member !== 'function' || name === 'subscribe')
        return typeof member === 'function' ? member.bind(target) : member;
      return down ? () => Promise.reject(new IsthmusError('unavailable', 'down')) : member.bind(target);
    },
  });
  const timings = { pollMs: 20, liveness: { suspectMs: 1000, deadMs: 2000 } };
  const reader = await site.reader(west, timings);
  const cutOff = await site.reader(south, { ...timings, hub });
  const publisher = await site.publisher(east, { leaseMs: 20 });
  publisher.publish(keyed(exportOf('shop/web')), { synced: true });
  for (const one of [reader, cutOff]) await eventually(one.partitions, (p) => p.get(east)?.freshness === 'live');
  const { heardAt = 0 } = reader.partitions.current.get(east) ?? {};
  // Only the lease moves.
  await eventually(reader.partitions, (p) => {
    const seen = p.get(east);
    return seen?.freshness === 'live' && (seen.heardAt ?? 0) > heardAt + 1200;
  });
  down = true;
  await publisher.close();
  await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'suspect');
  const dead = await eventually(reader.partitions, (p) => p.get(east)?.freshness === 'dead');
  assert.equal(kindAt(dead, web), 'export');
  await delay(300);
  assert.equal(cutOff.partitions.current.get(east)?.freshness, 'suspect');
});

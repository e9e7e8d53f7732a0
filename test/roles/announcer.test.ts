import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createStaticSource } from '../../src/federation/io/static-source.ts';
import type { ConnectedGateway } from '../../src/federation/io/config-server.ts';
import type { Publisher } from '../../src/federation/io/publisher.ts';
import type { PartitionView } from '../../src/federation/partition-view.ts';
import { parseReplicaName, type ReplicaName } from '../../src/model/names.ts';
import type { Log } from '../../src/model/ports/log.ts';
import { type ClusterRecord, type GatewayRecord, type RecordKey, recordKeyOf } from '../../src/model/record.ts';
import { Announcer } from '../../src/roles/agent/announcer.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { Watchable } from '../../src/runtime/watchable.ts';

const ignore = (): void => undefined;
const quiet: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore, child: () => quiet };

function advert(name: string): GatewayRecord {
  const addresses = [{ address: '127.0.0.1', port: 1, kind: 'instance' as const, instances: 1 }];
  const instance = parseReplicaName(name);
  return { kind: 'gateway', instance, addresses, reachable: true, draining: false, version: '1' };
}

function partition(version: { epoch: number; revision: number }, records: readonly ClusterRecord[]): PartitionView {
  const held = new Map(records.map((record) => [recordKeyOf(record), record]));
  return { ...version, records: held, freshness: 'live', heardAt: 0 };
}

/** The first thing a new leader says, before any gateway has come back to it. */
async function firstWords(kept: PartitionView, before: PartitionView | undefined): Promise<RecordKey[]> {
  const said: RecordKey[] = [];
  const publisher: Pick<Publisher, 'own' | 'publish'> = {
    own: new Watchable(kept),
    publish: (desired) => void said.push(...desired.keys()),
  };
  const source = createStaticSource({ services: [], clock: systemClock, log: quiet });
  const announcer = new Announcer({
    publisher: publisher as Publisher,
    source,
    gateways: new Watchable<ReadonlyMap<ReplicaName, ConnectedGateway>>(new Map()),
    before,
    more: () => [],
    clock: systemClock,
  });
  announcer.start();
  announcer.close();
  await source.close();
  return said;
}

suite('a new leader keeps the adverts of gateways that have not come back yet', () => {
  const ours = advert('gw-0');
  const theirs = advert('gw-1');

  test('its own last ones, where the hub has lost everything', async () => {
    const empty = partition({ epoch: 0, revision: 0 }, []);
    assert.deepEqual(await firstWords(partition({ epoch: 5, revision: 2 }, [ours]), empty), [recordKeyOf(ours)]);
  });

  test('those of the leader before it, where that one has said more since', async () => {
    const old = partition({ epoch: 5, revision: 2 }, [ours]);
    assert.deepEqual(await firstWords(old, partition({ epoch: 6, revision: 1 }, [theirs])), [recordKeyOf(theirs)]);
    assert.deepEqual(await firstWords(old, undefined), [recordKeyOf(ours)]);
  });
});

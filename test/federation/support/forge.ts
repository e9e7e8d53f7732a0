import type { ClusterName } from '../../../src/model/names.ts';
import type { Hub } from '../../../src/model/ports/hub.ts';
import type { Sealer } from '../../../src/model/ports/seal.ts';
import type { RecordKey } from '../../../src/model/record.ts';
import { MapDigest } from '../../../src/wire/digest.ts';
import { encodeHead } from '../../../src/wire/partition.ts';
import { east } from './federation.ts';

export interface Forgery {
  readonly partition?: ClusterName;
  readonly cluster?: ClusterName;
  readonly epoch: number;
  readonly revision: number;
  /** What is signed… */
  readonly values: ReadonlyMap<RecordKey, Uint8Array>;
  /** …and what is stored, if that is something else. */
  readonly stored?: ReadonlyMap<RecordKey, Uint8Array>;
}

/** Writes what a legitimate or illegitimate writer might, at any version. */
export async function forge(hub: Hub, sealer: Sealer, forgery: Forgery): Promise<void> {
  const { partition = east, cluster = east, epoch, revision, values, stored = values } = forgery;
  const digest = new MapDigest();
  for (const [key, value] of values) digest.set(key, value);
  const head = sealer.seal(
    'head',
    encodeHead({ cluster, epoch, revision, count: values.size, digest: digest.whole, schema: 1, writtenAt: 0 }),
  );
  await hub.writeChain(partition, sealer.chainId, sealer.chain);
  const [expectedHead] = await hub.readHeads([partition]);
  await hub.commit(partition, {
    expectedHead,
    head,
    records: stored,
    buckets: digest.buckets(),
    snapshot: true,
    delta: undefined,
    hint: `${partition} ${epoch} ${revision}`,
  });
}

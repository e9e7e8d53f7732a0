import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Log } from '../../model/ports/log.ts';
import type { ClusterRecord, RecordKey } from '../../model/record.ts';
import { SortedMap } from '../../runtime/sorted-map.ts';
import { MapDigest } from '../../wire/digest.ts';
import { brokenRule } from '../../wire/json-decoding.ts';
import { decodeRecord, encodeRecord } from '../../wire/record.ts';
import { type Belief, believe, type KeptRecord, nothing, valuesOf } from '../log/belief.ts';
import type { PartitionState } from '../log/partition-state.ts';
import type { StateFiles } from './state-files.ts';

/** What a reader keeps of another cluster over a restart: its last good state, and how far its lease had come. */
export interface StoredPartition {
  readonly state: PartitionState;
  /** Where the log was read to. */
  readonly lastId: string | undefined;
  readonly lease: { readonly epoch: number; readonly sequence: number } | undefined;
}

const whole = z.number().int().min(0);

const schema = z.object({
  v: z.literal(1),
  cluster: z.string(),
  epoch: whole,
  revision: whole,
  lastId: z.string().optional(),
  lease: z.object({ epoch: whole, sequence: whole }).optional(),
  values: z.array(z.tuple([z.string(), z.base64()])),
  kept: z.array(
    z.object({ key: z.string(), bytes: z.base64(), why: z.enum(['refused', 'absent', 'held']), since: z.number() }),
  ),
});

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

export function encodePartition({ state, lastId, lease }: StoredPartition): string {
  const { cluster, epoch, revision, records } = state;
  const values = Array.from(valuesOf(state), ([key, value]) => [key, base64(value)]);
  const kept = [...state.kept].flatMap(([key, { why, since }]) => {
    const record = records.get(key);
    return record ? [{ key, bytes: base64(encodeRecord(record)), why, since }] : [];
  });
  return JSON.stringify({ v: 1, cluster, epoch, revision, lastId, lease, values, kept });
}

/** The last good states of other clusters, one file each, in a private directory. */
export class PartitionStore {
  readonly #dir: string;
  readonly #files: StateFiles;
  readonly #log: Log;

  constructor(dir: string, files: StateFiles, log: Log) {
    this.#dir = dir;
    this.#files = files;
    this.#log = log;
  }

  /** @throws IsthmusError `denied` or `invalid` for a directory that is not private */
  async open(): Promise<void> {
    await this.#files.ensureDir(this.#dir);
  }

  path(cluster: ClusterName): string {
    return join(this.#dir, `${cluster}.json`);
  }

  /** Undefined when nothing usable is stored; a damaged file is logged and left for the next write to replace. */
  async load(cluster: ClusterName): Promise<StoredPartition | undefined> {
    try {
      const bytes = await this.#files.read(this.path(cluster));
      return bytes && decodePartition(cluster, bytes);
    } catch (thrown) {
      const reason = brokenRule(thrown);
      this.#log.warn({ path: this.path(cluster), cluster, reason }, 'stored partition is unusable; ignored');
      return undefined;
    }
  }

  /** For a cluster that is no member any more. */
  async forget(cluster: ClusterName): Promise<void> {
    try {
      await this.#files.remove(this.path(cluster));
    } catch (thrown) {
      this.#log.warn({ cluster, reason: messageOf(thrown) }, 'stored partition could not be removed');
    }
  }
}

/** @throws when it is not what `encodePartition` wrote for this cluster */
export function decodePartition(cluster: ClusterName, bytes: Uint8Array): StoredPartition {
  const stored = schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  if (stored.cluster !== cluster) throw new TypeError(`it is of cluster '${stored.cluster}'`);
  const values = new Map<RecordKey, Uint8Array>(stored.values.map(([key, text]) => [key, Buffer.from(text, 'base64')]));
  const digest = new MapDigest();
  for (const [key, value] of values) digest.set(key, value);
  const plain = believe(nothing, digest, { touched: values, now: 0 });
  const records = new Map<RecordKey, ClusterRecord>();
  const verbatim = new Map<RecordKey, Uint8Array | undefined>();
  const kept = new Map<RecordKey, KeptRecord>();
  for (const { key, bytes: text, why, since } of stored.kept) {
    const decoded = decodeRecord(key, Buffer.from(text, 'base64'));
    if (!decoded.ok) continue;
    records.set(key, decoded.record);
    verbatim.set(key, values.get(key));
    kept.set(key, { why, since });
  }
  const { epoch, revision, lastId, lease } = stored;
  const belief: Belief = {
    ...plain,
    records: plain.records.with(records),
    verbatim: plain.verbatim.with(verbatim),
    kept: SortedMap.from(kept),
  };
  return { state: { cluster, epoch, revision, ...belief }, lastId, lease };
}

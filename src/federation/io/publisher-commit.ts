import { IsthmusError } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Commit } from '../../model/ports/hub.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { RecordKey } from '../../model/record.ts';
import { bucketOf, MapDigest } from '../../wire/digest.ts';
import {
  encodeDelta,
  encodeHead,
  maxDeltaBytes,
  maxDeltaOps,
  maxPartitionBytes,
  maxPartitionRecords,
} from '../../wire/partition.ts';
import { formatHint } from '../hint.ts';
import { type Holdings, operations } from '../log/writer-plan.ts';

/** What the writer believes the hub to hold. */
export interface Committed {
  readonly epoch: number;
  readonly revision: number;
  /** The exact bytes of the head; undefined = none. */
  readonly head: Uint8Array | undefined;
  readonly values: ReadonlyMap<RecordKey, Uint8Array>;
  readonly digest: MapDigest;
  /** Of the head's signer; undefined = the head is not of this writer's making. */
  readonly chain: { readonly id: string; readonly bytes: Uint8Array } | undefined;
}

/** A commit that was sealed, and what the hub holds once it is carried out. */
export interface Pending {
  readonly commit: Commit;
  readonly next: Committed;
}

export interface Sealing {
  readonly cluster: ClusterName;
  readonly sealer: Sealer;
  /** Wall clock in ms. */
  readonly now: number;
}

/** An epoch begins on whatever head was found, with everything still to be written. */
export function beginning(epoch: number, head: Uint8Array | undefined): Committed {
  return { epoch, revision: 0, head, values: new Map(), digest: new MapDigest(), chain: undefined };
}

/**
 * Seals the step from what the hub holds to `holdings`: one delta, or a snapshot for the first revision of an epoch and
 * for steps too large for a delta. Undefined when there is no step to take.
 * @throws IsthmusError `exhausted` when the partition would be larger than readers accept
 */
export function sealStep(from: Committed, holdings: Holdings, sealing: Sealing): Pending | undefined {
  const sealed = sealRevision(from, holdings, sealing);
  if (!sealed) return undefined;
  const { next, ops } = sealed;
  const { cluster, sealer } = sealing;
  const { epoch, revision, head, digest } = next;
  if (from.revision > 0 && ops.size <= maxDeltaOps) {
    const payload = encodeDelta({ cluster, epoch, previous: from.revision, revision, ops, digest: digest.whole });
    if (payload.length <= maxDeltaBytes) {
      const delta = sealer.seal('delta', payload);
      const touched = new Set([...ops.keys()].map(bucketOf));
      const buckets = new Map([...touched].map((index) => [index, digest.bucket(index)] as const));
      const hint = hintOf(cluster, next);
      return { commit: { expectedHead: from.head, head, records: ops, buckets, snapshot: false, delta, hint }, next };
    }
  }
  return { commit: whole(cluster, next, from.head), next };
}

/**
 * Brings a hub that holds something else under `found` to `state`: with the very head that was sealed for it, or with
 * the next revision when more is wanted by now. What was sealed long ago must not replace what readers know since.
 * @throws IsthmusError `exhausted` when the partition would be larger than readers accept
 */
export function repair(
  state: Sealed,
  found: Uint8Array | undefined,
  wanted: { readonly holdings: Holdings; readonly sealing: Sealing },
): Pending {
  const next = sealRevision(state, wanted.holdings, wanted.sealing)?.next ?? state;
  return { commit: whole(wanted.sealing.cluster, next, found), next };
}

/** A state with a head of this writer's making. */
export type Sealed = Committed & { readonly head: Uint8Array };

interface SealedRevision {
  readonly next: Sealed;
  readonly ops: ReadonlyMap<RecordKey, Uint8Array | undefined>;
}

function sealRevision(from: Committed, holdings: Holdings, sealing: Sealing): SealedRevision | undefined {
  const { cluster, sealer, now } = sealing;
  const ops = operations(from.values, holdings);
  if (ops.size === 0 && from.chain?.id === sealer.chainId) return undefined;
  requireRoom(holdings);
  const { epoch } = from;
  const revision = from.revision + 1;
  const digest = from.digest.clone();
  for (const [key, value] of ops) {
    if (value) digest.set(key, value);
    else digest.delete(key);
  }
  const count = holdings.size;
  const head = sealer.seal(
    'head',
    encodeHead({ cluster, epoch, revision, count, digest: digest.whole, schema: 1, writtenAt: now }),
  );
  const values = new Map([...holdings].map(([key, { bytes }]) => [key, bytes] as const));
  const chain = { id: sealer.chainId, bytes: sealer.chain };
  return { next: { epoch, revision, head, values, digest, chain }, ops };
}

function hintOf(cluster: ClusterName, { epoch, revision }: Committed): string {
  return formatHint({ partition: cluster, epoch, revision });
}

/** @throws IsthmusError `exhausted` */
function requireRoom(holdings: Holdings): void {
  let bytes = 0;
  for (const [key, holding] of holdings) bytes += key.length + holding.bytes.length;
  if (holdings.size <= maxPartitionRecords && bytes <= maxPartitionBytes) return;
  throw new IsthmusError(
    'exhausted',
    `A cluster may publish ${maxPartitionRecords} records of ${maxPartitionBytes} bytes in all: ` +
      `there are ${holdings.size} of ${bytes}`,
  );
}

/** Replaces all that the partition holds under the head `found`. */
function whole(cluster: ClusterName, state: Sealed, found: Uint8Array | undefined): Commit {
  const { head, values, digest } = state;
  const hint = hintOf(cluster, state);
  const buckets = digest.buckets();
  return { expectedHead: found, head, records: values, buckets, snapshot: true, delta: undefined, hint };
}

import { z } from 'zod';
import type { RecordKey } from '../model/record.ts';
import { canonicalJson } from './canonical-json.ts';
import { decodeJson } from './json-decoding.ts';
import { maxRecordBytes, maxRecordKeyLength } from './record.ts';

/**
 * What is sealed for a partition of the hub (wire.md, "Hub layout"): head, delta and lease as canonical JSON with
 * `v: 1`. Unknown members are tolerated, so that a newer writer may add some.
 */

/** A partition with more records than this is refused by readers. */
export const maxPartitionRecords = 20_000;
/** Keys and values of a partition together; a larger one is not read from the hub. */
export const maxPartitionBytes: number = 64 << 20;
/** Operations of one delta; a writer with more to say writes a snapshot. */
export const maxDeltaOps = 1000;
/** Encoded size of one delta; a writer with more to say writes a snapshot. */
export const maxDeltaBytes: number = 1 << 20;
/** Heads and leases are far smaller. */
const maxSmallBytes = 4096;

const version = 1;

/** The state of a whole partition at one revision. */
export interface PartitionHead {
  /** The cluster it speaks for: a seal must not be carried into another partition. */
  readonly cluster: string;
  readonly epoch: number;
  readonly revision: number;
  /** Number of records, tombstones included. */
  readonly count: number;
  /** `MapDigest.whole` over the records. */
  readonly digest: string;
  /** Newest version of the record format that occurs. */
  readonly schema: number;
  /** Writer's wall clock in ms. */
  readonly writtenAt: number;
}

/** One step from revision `previous` to `revision` of the same epoch. */
export interface PartitionDelta {
  readonly cluster: string;
  readonly epoch: number;
  readonly previous: number;
  readonly revision: number;
  /** Key → new value; undefined removes the record. */
  readonly ops: ReadonlyMap<RecordKey, Uint8Array | undefined>;
  /** Digest of the partition after the step. */
  readonly digest: string;
}

/** A sign of life of a partition's writer. */
export interface PartitionLease {
  readonly cluster: string;
  readonly epoch: number;
  /** Grows by one with each renewal of this epoch. */
  readonly sequence: number;
  /** Writer's wall clock in ms. */
  readonly at: number;
  /** The writer leaves the federation: no further renewal is to be expected. */
  readonly released?: true;
}

const cluster = z.string().min(1).max(63);
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const digest = z.string().regex(/^[0-9a-f]{64}$/);

const headSchema = z.object({
  v: z.literal(version),
  cluster,
  epoch: whole,
  revision: whole,
  count: z.number().int().min(0).max(maxPartitionRecords),
  digest,
  schema: whole,
  writtenAt: whole,
});

const deltaSchema = z.object({
  v: z.literal(version),
  cluster,
  epoch: whole,
  previous: whole,
  revision: whole,
  ops: z
    .array(z.tuple([z.string().max(maxRecordKeyLength), z.string().max(maxRecordBytes).nullable()]))
    .max(maxDeltaOps),
  digest,
});

const leaseSchema = z.object({
  v: z.literal(version),
  cluster,
  epoch: whole,
  sequence: whole,
  at: whole,
  released: z.literal(true).exactOptional(),
});

export function encodeHead(head: PartitionHead): Uint8Array {
  return Buffer.from(canonicalJson({ v: version, ...head }));
}

export function encodeLease(lease: PartitionLease): Uint8Array {
  return Buffer.from(canonicalJson({ v: version, ...lease }));
}

/** Values are records, so UTF-8; they stand in the delta as text. */
export function encodeDelta(delta: PartitionDelta): Uint8Array {
  const ops = [...delta.ops].map(([key, value]) => [key, value ? Buffer.from(value).toString('utf8') : null]);
  return Buffer.from(canonicalJson({ v: version, ...delta, ops }));
}

/** @throws IsthmusError `corrupt` */
export function decodeHead(bytes: Uint8Array): PartitionHead {
  const { v: _, ...head } = decodeJson("A partition's head", headSchema, { bytes, limit: maxSmallBytes });
  return head;
}

/** @throws IsthmusError `corrupt` */
export function decodeLease(bytes: Uint8Array): PartitionLease {
  const { v: _, ...lease } = decodeJson("A partition's lease", leaseSchema, { bytes, limit: maxSmallBytes });
  return lease;
}

/** @throws IsthmusError `corrupt` */
export function decodeDelta(bytes: Uint8Array): PartitionDelta {
  const { v: _, ops, ...delta } = decodeJson("A partition's delta", deltaSchema, { bytes, limit: maxDeltaBytes });
  return {
    ...delta,
    ops: new Map(ops.map(([key, text]) => [key, text === null ? undefined : Buffer.from(text, 'utf8')])),
  };
}

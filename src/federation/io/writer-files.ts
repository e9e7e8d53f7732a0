import { join } from 'node:path';
import { z } from 'zod';
import type { Log } from '../../model/ports/log.ts';
import type { Version } from '../log/partition-state.ts';
import { type HeldBack, type Holdings, holdingsOf } from '../log/writer-plan.ts';
import { brokenRule } from '../../wire/json-decoding.ts';
import type { StateFiles } from './state-files.ts';

/** What a writer keeps in its state directory: the epoch it must never fall back behind, and its own records. */

export interface WriterFiles {
  readonly stateDir: string;
  readonly files: StateFiles;
  readonly log: Log;
}

/** The stored epoch; 0 when there is none or it is unreadable, which the wall clock then makes up for. */
export async function readEpoch({ stateDir, files, log }: WriterFiles): Promise<number> {
  const path = epochPath(stateDir);
  const bytes = await files.read(path);
  if (!bytes) return 0;
  const epoch = Number(textOf(bytes).trim());
  if (Number.isSafeInteger(epoch) && epoch >= 0) return epoch;
  log.warn({ path }, 'stored epoch is not a number; going on from the clock');
  return 0;
}

/** Durable when it resolves: only then may the epoch be used. @throws IsthmusError `unavailable` */
export async function writeEpoch({ stateDir, files }: WriterFiles, epoch: number): Promise<void> {
  await files.write(epochPath(stateDir), `${epoch}\n`);
}

export interface OwnState extends Version {
  readonly holdings: Holdings;
  readonly heldBack: HeldBack;
}

const schema = z.object({
  v: z.literal(1),
  epoch: z.number().int().min(0),
  revision: z.number().int().min(0),
  records: z.array(z.tuple([z.string(), z.base64()])),
  heldBack: z.array(z.tuple([z.string(), z.number()])).default([]),
});

export function ownStatePath(stateDir: string): string {
  return join(stateDir, 'own-partition.json');
}

export function encodeOwnState(state: OwnState): string {
  const records = [...state.holdings].map(([key, { bytes }]) => [key, Buffer.from(bytes).toString('base64')]);
  const { epoch, revision, heldBack } = state;
  return JSON.stringify({ v: 1, epoch, revision, records, heldBack: [...heldBack] });
}

/** Undefined when there is none, or it does not decode: the hub or the sources will know. */
export async function readOwnState({ stateDir, files, log }: WriterFiles): Promise<OwnState | undefined> {
  const path = ownStatePath(stateDir);
  const bytes = await files.read(path);
  if (!bytes) return undefined;
  try {
    const { epoch, revision, records, heldBack } = schema.parse(JSON.parse(textOf(bytes)));
    const values = records.map(([key, value]) => [key, Buffer.from(value, 'base64')] as const);
    return { epoch, revision, holdings: holdingsOf(values), heldBack: new Map(heldBack) };
  } catch (thrown) {
    log.warn({ path, reason: brokenRule(thrown) }, 'own records on disk do not decode; ignored');
    return undefined;
  }
}

function epochPath(stateDir: string): string {
  return join(stateDir, 'epoch');
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

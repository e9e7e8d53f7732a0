import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { readFileIfPresent, writeFileDurably } from '../../runtime/io/files.ts';
import type { Version } from '../log/partition-state.ts';
import { type Holdings, holdingsOf } from '../log/writer-plan.ts';

/** What a writer keeps in its state directory: the epoch it must never fall back behind, and its own records. */

/** The stored epoch; 0 when there is none or it is unreadable, which the wall clock then makes up for. */
export async function readEpoch(stateDir: string, log: Log): Promise<number> {
  const path = epochPath(stateDir);
  const bytes = await readFileIfPresent(path);
  if (!bytes) return 0;
  const epoch = Number(bytes.toString('utf8').trim());
  if (Number.isSafeInteger(epoch) && epoch >= 0) return epoch;
  log.warn({ path }, 'stored epoch is not a number; going on from the clock');
  return 0;
}

/** Durable when it resolves: only then may the epoch be used. @throws IsthmusError `unavailable` */
export async function writeEpoch(stateDir: string, epoch: number): Promise<void> {
  await writeFileDurably(epochPath(stateDir), `${epoch}\n`);
}

export interface OwnState extends Version {
  readonly holdings: Holdings;
}

const schema = z.object({
  v: z.literal(1),
  epoch: z.number().int().min(0),
  revision: z.number().int().min(0),
  records: z.array(z.tuple([z.string(), z.base64()])),
});

export function ownStatePath(stateDir: string): string {
  return join(stateDir, 'own-partition.json');
}

export function encodeOwnState(state: OwnState): string {
  const records = [...state.holdings].map(([key, { bytes }]) => [key, Buffer.from(bytes).toString('base64')]);
  return JSON.stringify({ v: 1, epoch: state.epoch, revision: state.revision, records });
}

/** Undefined when there is none, or it does not decode: the hub or the sources will know. */
export async function readOwnState(stateDir: string, log: Log): Promise<OwnState | undefined> {
  const path = ownStatePath(stateDir);
  const bytes = await readFileIfPresent(path);
  if (!bytes) return undefined;
  try {
    const { epoch, revision, records } = schema.parse(JSON.parse(bytes.toString('utf8')));
    const values = records.map(([key, value]) => [key, Buffer.from(value, 'base64')] as const);
    return { epoch, revision, holdings: holdingsOf(values) };
  } catch (thrown) {
    log.warn({ path, reason: messageOf(thrown).slice(0, 200) }, 'own records on disk do not decode; ignored');
    return undefined;
  }
}

function epochPath(stateDir: string): string {
  return join(stateDir, 'epoch');
}

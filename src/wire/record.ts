import { z } from 'zod';
import { IsthmusError, messageOf } from '../model/error.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../model/names.ts';
import { type ClusterRecord, type RecordKey, recordKeyOf } from '../model/record.ts';
import { canonicalJson } from './canonical-json.ts';

/**
 * Records as they lie in a partition of the hub: canonical JSON with `v: 1`. Members that this version does not know
 * are kept on the object, so that an older agent which rewrites a record loses nothing.
 */

/** A record larger than this is refused, by its writer and by every reader. */
export const maxRecordBytes = 65_536;
/** `export/` and two labels with a slash are 134 characters. */
export const maxRecordKeyLength = 256;

const version = 1;
const port = z.number().int().min(1).max(65_535);
const time = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().min(0).max(1_000_000);

const exportSchema = z.looseObject({
  kind: z.literal('export'),
  service: z.string().transform(parseServiceKey),
  type: z.enum(['ClusterSetIP', 'Headless']),
  ports: z
    .array(
      z.looseObject({
        port,
        name: z.string().max(253).optional(),
        protocol: z.literal('TCP'),
        appProtocol: z.string().max(253).optional(),
      }),
    )
    .max(100),
  allow: z.enum(['members', 'policy']),
  endpoints: z.looseObject({ total: count, ready: count }).refine((counts) => counts.ready <= counts.total, {
    message: 'ready must not be more than total',
  }),
  capacity: z.looseObject({ concurrent: z.number().min(0).optional(), rps: z.number().min(0).optional() }).optional(),
  createdAt: time,
  labels: z.record(z.string().max(317), z.string().max(4096)).optional(),
});

const tombstoneSchema = z.looseObject({
  kind: z.literal('tombstone'),
  service: z.string().transform(parseServiceKey),
  deletedAt: time,
});

const gatewaySchema = z.looseObject({
  kind: z.literal('gateway'),
  instance: z.string().transform(parseReplicaName),
  addresses: z
    .array(
      z.looseObject({
        address: z.string().min(1).max(253),
        port,
        kind: z.enum(['instance', 'balanced']),
        instances: z.number().int().min(1).max(10_000),
      }),
    )
    .max(16),
  reachable: z.boolean(),
  draining: z.boolean(),
  version: z.string().max(100),
});

const linkSchema = z.looseObject({
  kind: z.literal('link'),
  to: z.string().transform(parseClusterName),
  up: z.boolean(),
  rttMs: z.number().min(0).optional(),
  since: time,
  reason: z.string().max(500).optional(),
});

const recordSchema = z.discriminatedUnion('kind', [exportSchema, tombstoneSchema, gatewaySchema, linkSchema]);
const versionSchema = z.looseObject({ v: z.literal(version), kind: z.string() });

/** One record decoded, or why it could not be: a bad one must not hold up those beside it. */
export type RecordDecoding =
  | { readonly ok: true; readonly record: ClusterRecord }
  | { readonly ok: false; readonly detail: string };

/** Equal records give equal bytes. @throws IsthmusError `invalid`: the record is too large or cannot be written. */
export function encodeRecord(record: ClusterRecord): Uint8Array {
  const bytes = Buffer.from(canonicalJson({ v: version, ...record }));
  if (bytes.length > maxRecordBytes) {
    throw new IsthmusError(
      'invalid',
      `Record ${recordKeyOf(record)} must be at most ${maxRecordBytes} bytes: it has ${bytes.length}`,
    );
  }
  return bytes;
}

/** Decodes what lies under `key`. Never throws. */
export function decodeRecord(key: RecordKey, bytes: Uint8Array): RecordDecoding {
  if (key.length > maxRecordKeyLength)
    return refused(`a key of ${key.length} characters is over ${maxRecordKeyLength}`);
  if (bytes.length > maxRecordBytes) return refused(`${bytes.length} bytes are over the limit of ${maxRecordBytes}`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const { v: _, ...members } = versionSchema.parse(JSON.parse(text));
    const parsed = recordSchema.safeParse(members);
    if (!parsed.success) return refused(issueOf(parsed.error));
    const record = parsed.data as ClusterRecord;
    const home = recordKeyOf(record);
    return home === key ? { ok: true, record } : refused(`it belongs under '${home.slice(0, maxRecordKeyLength)}'`);
  } catch (thrown) {
    return refused(thrown instanceof z.ZodError ? issueOf(thrown) : messageOf(thrown).slice(0, 200));
  }
}

function refused(detail: string): RecordDecoding {
  return { ok: false, detail };
}

function issueOf(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue
    ? `${issue.path.join('.').slice(0, 100) || 'record'}: ${issue.message.slice(0, 200)}`
    : 'does not decode';
}

import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { parseSpiffeId } from '../model/identity.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../model/names.ts';
import { type ClusterRecord, type RecordKey, recordKeyOf } from '../model/record.ts';
import { acknowledgementShape, keyId } from './acknowledgement.ts';
import { canonicalJson } from './canonical-json.ts';
import { brokenRule, parseUtf8 } from './json-decoding.ts';

/**
 * Records as they lie in a partition of the hub: canonical JSON with `v: 1`. New members are optional, so that the
 * version before reads what this one writes and the other way round; members that this version does not know are kept
 * on the object, so that an agent which rewrites a record loses nothing. Kinds that it does not know are passed over.
 */

/** A record larger than this is refused, by its writer and by every reader. */
export const maxRecordBytes = 65_536;
/** `export/` and two labels with a slash are 134 characters. */
export const maxRecordKeyLength = 256;

const version = 1;
const port = z.number().int().min(1).max(65_535);
const time = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().min(0).max(1_000_000);

const text = z.string().max(253);
const flag = z.boolean().optional();

const endpointCounts = z
  .looseObject({ total: count, ready: count, serving: count.optional(), terminating: count.optional() })
  .refine(({ total, ready, serving = 0, terminating = 0 }) => Math.max(ready, serving, terminating) <= total, {
    message: 'ready, serving and terminating must not be more than total',
  });

const exportSchema = z.looseObject({
  kind: z.literal('export'),
  service: z.string().transform(parseServiceKey),
  type: z.enum(['ClusterSetIP', 'Headless']),
  ports: z
    .array(z.looseObject({ port, name: text.optional(), protocol: z.literal('TCP'), appProtocol: text.optional() }))
    .max(100),
  allow: z.enum(['members', 'policy']),
  endpoints: endpointCounts,
  zones: z.record(text, endpointCounts).optional(),
  passthrough: flag,
  identity: z.string().transform(parseSpiffeId).optional(),
  hostnames: z.array(z.string().min(1).max(63)).max(1000).optional(),
  sessionAffinity: z.enum(['None', 'ClientIP']).optional(),
  sessionAffinityTimeoutS: z.number().int().min(1).max(86_400).optional(),
  internalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
  trafficDistribution: text.optional(),
  ipFamilies: z
    .array(z.enum(['IPv4', 'IPv6']))
    .max(2)
    .optional(),
  capacity: z.looseObject({ concurrent: z.number().min(0).optional(), rps: z.number().min(0).optional() }).optional(),
  createdAt: time,
  labels: z.record(z.string().max(317), z.string().max(4096)).optional(),
  annotations: z.record(z.string().max(317), z.string().max(16_384)).optional(),
});

const tombstoneSchema = z.looseObject({
  kind: z.literal('tombstone'),
  service: z.string().transform(parseServiceKey),
  deletedAt: time,
  bulk: flag,
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

const drainSchema = z.looseObject({
  kind: z.literal('drain'),
  target: z.looseObject({
    cluster: z.string().transform(parseClusterName),
    gateway: z.string().transform(parseReplicaName).optional(),
  }),
  state: z.enum(['drained', 'active']),
  overMs: z.number().int().min(0).max(86_400_000),
  issuedAt: time,
  from: z.number().min(0).max(1).optional(),
  by: text,
});

/** Part of a key, so nothing that could be taken for another part. */
const keyPart = z.string().regex(/^[A-Za-z0-9]([-A-Za-z0-9.]{0,61}[A-Za-z0-9])?$/);

const policySchema = z.looseObject({
  kind: z.literal('policy'),
  type: keyPart,
  namespace: keyPart.optional(),
  name: keyPart,
  spec: z.record(z.string(), z.unknown()),
  issuedAt: time,
  createdAt: time.optional(),
  file: z.string().max(255).optional(),
});

const appliedSchema = z.looseObject({
  kind: z.literal('applied'),
  policies: z.record(z.string().max(maxRecordKeyLength), time),
});

const importSchema = z.looseObject({
  kind: z.literal('import'),
  service: z.string().transform(parseServiceKey),
  ports: z
    .record(z.string().regex(/^[1-9]\d{0,4}$/), port)
    .refine((ports) => Object.keys(ports).length <= 100, { message: 'must be at most 100 ports' }),
});

const issuedSchema = z.looseObject({
  keyId,
  live: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  lastNotAfter: time,
});

const ackSchema = z.looseObject({
  kind: z.literal('ack'),
  role: z.enum(['agent', 'gateway']),
  replica: z.string().transform(parseReplicaName),
  ...acknowledgementShape,
  clockSkewMs: z.number().optional(),
  issued: z.array(issuedSchema).max(64).optional(),
  journalHead: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

const schemas = [
  exportSchema,
  tombstoneSchema,
  gatewaySchema,
  linkSchema,
  drainSchema,
  policySchema,
  appliedSchema,
  importSchema,
  ackSchema,
] as const;
const recordSchema = z.discriminatedUnion('kind', schemas);
const knownKinds: ReadonlySet<string> = new Set(schemas.map((schema) => schema.shape.kind.value));
const versionSchema = z.looseObject({ v: z.number().int().min(version), kind: z.string().max(63) });

/** One record decoded, or why it could not be: a bad one must not hold up those beside it. */
export type RecordDecoding =
  | { readonly ok: true; readonly record: ClusterRecord }
  /** `unknown`: a newer writer's record of a kind or version that this one does not know: nothing is wrong with it. */
  | { readonly ok: false; readonly unknown?: true; readonly detail: string };

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

/** Whether encoding the record gives exactly these bytes: they may come from another version, or from anybody. */
export function encodesTo(record: ClusterRecord, bytes: Uint8Array): boolean {
  try {
    return Buffer.compare(encodeRecord(record), bytes) === 0;
  } catch {
    // It says more than we would ever write.
    return false;
  }
}

/** Decodes what lies under `key`. Never throws. */
export function decodeRecord(key: RecordKey, bytes: Uint8Array): RecordDecoding {
  if (key.length > maxRecordKeyLength)
    return refused(`a key of ${key.length} characters is over ${maxRecordKeyLength}`);
  if (bytes.length > maxRecordBytes) return refused(`${bytes.length} bytes are over the limit of ${maxRecordBytes}`);
  try {
    const { v, ...members } = versionSchema.parse(parseUtf8(bytes));
    if (v > version || !knownKinds.has(members.kind)) {
      return { ok: false, unknown: true, detail: `kind '${members.kind}' of version ${v} is not known here` };
    }
    const parsed = recordSchema.safeParse(members);
    if (!parsed.success) return refused(brokenRule(parsed.error));
    const record = parsed.data as ClusterRecord;
    const home = recordKeyOf(record);
    return home === key ? { ok: true, record } : refused(`it belongs under '${home.slice(0, maxRecordKeyLength)}'`);
  } catch (thrown) {
    return refused(brokenRule(thrown));
  }
}

function refused(detail: string): RecordDecoding {
  return { ok: false, detail };
}

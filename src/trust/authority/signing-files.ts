import { createHash } from 'node:crypto';
import { z } from 'zod';
import { IsthmusError } from '../../model/error.ts';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';

/**
 * The two files between an authority and its offline root: what is to be signed, and what was. Neither holds a secret;
 * both are checked by whoever reads them as if a stranger had written them.
 */

/** One certificate that is asked for. What it will say follows from its kind, never from the request inside. */
export type SigningItem =
  | { readonly kind: 'authority' | 'seal'; readonly csr: Uint8Array }
  | {
      readonly kind: 'intermediate';
      readonly cluster: ClusterName;
      readonly replica: ReplicaName;
      readonly csr: Uint8Array;
    };

export interface SigningRequest {
  readonly federationDomain: TrustDomain;
  /** Lower-case hex SHA-256 of the anchor that has to sign. */
  readonly anchorSha256: string;
  /** Whether intermediates are to be bound to their trust domain by name constraints. */
  readonly nameConstraints: boolean;
  /** Wall clock in ms. */
  readonly createdAt: number;
  readonly items: readonly SigningItem[];
}

export interface SigningResponse {
  readonly federationDomain: TrustDomain;
  readonly anchorSha256: string;
  /** Of the request file that it answers. */
  readonly requestSha256: string;
  /** DER, in the order of the items. */
  readonly certificates: readonly Uint8Array[];
}

/** Room for a federation of the largest size. */
const maxFileBytes = 32 << 20;
const maxItems = 10_000;
const requestTitle = 'isthmus-sign-request-v1';
const responseTitle = 'isthmus-sign-response-v1';

const bytes = z
  .base64()
  .max(32_000)
  .transform((text): Uint8Array => Buffer.from(text, 'base64'));
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const domain = z.string().transform(parseTrustDomain);

const itemSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['authority', 'seal']), csr: bytes }),
  z.strictObject({
    kind: z.literal('intermediate'),
    cluster: z.string().transform(parseClusterName),
    replica: z.string().transform(parseReplicaName),
    csr: bytes,
  }),
]);

const requestSchema = z.strictObject({
  title: z.literal(requestTitle),
  federationDomain: domain,
  anchorSha256: sha256,
  nameConstraints: z.boolean(),
  createdAt: z.number(),
  items: z.array(itemSchema).min(1).max(maxItems),
});

const responseSchema = z.strictObject({
  title: z.literal(responseTitle),
  federationDomain: domain,
  anchorSha256: sha256,
  requestSha256: sha256,
  certificates: z.array(bytes).min(1).max(maxItems),
});

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString('base64');
}

function json(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`);
}

function parse<T>(what: string, schema: z.ZodType<T>, file: Uint8Array): T {
  if (file.length > maxFileBytes) {
    throw new IsthmusError('invalid', `${what} of ${file.length} bytes is over the limit of ${maxFileBytes}`);
  }
  try {
    return schema.parse(JSON.parse(Buffer.from(file).toString('utf8')));
  } catch (cause) {
    throw new IsthmusError('invalid', `${what} does not decode`, { cause });
  }
}

export function encodeSigningRequest(request: SigningRequest): Uint8Array {
  const items = request.items.map((item) => ({ ...item, csr: base64(item.csr) }));
  return json({ title: requestTitle, ...request, items });
}

/** @throws IsthmusError `invalid` */
export function decodeSigningRequest(file: Uint8Array): SigningRequest {
  const { title: _title, ...request } = parse('A signing request', requestSchema, file);
  return request;
}

export function encodeSigningResponse(response: SigningResponse): Uint8Array {
  return json({ title: responseTitle, ...response, certificates: response.certificates.map(base64) });
}

/** @throws IsthmusError `invalid` */
export function decodeSigningResponse(file: Uint8Array): SigningResponse {
  const { title: _title, ...response } = parse('A signing response', responseSchema, file);
  return response;
}

/** How people compare a file on both sides: lower-case hex SHA-256. */
export function signingFileHash(file: Uint8Array): string {
  return createHash('sha256').update(file).digest('hex');
}

import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { parseTrustDomain, type TrustDomain } from '../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../model/names.ts';
import { requireHostPort } from '../model/address.ts';

interface TokenParts {
  readonly cluster: ClusterName;
  readonly federationDomain: TrustDomain;
  /** `host:port` of whoever redeems it, in order of preference. */
  readonly addresses: readonly string[];
  /** Lower-case hex SHA-256 of the root certificate's DER: the newcomer trusts nothing else. */
  readonly rootSha256: string;
  /** At least 128 random bits. The issuer keeps its SHA-256 only. */
  readonly secret: Uint8Array;
  /** Wall clock of the issuer in ms. */
  readonly expiresAt: number;
}

/** Lets one replica of a cluster's agent ask the authority for its first intermediate. */
export interface ClusterToken extends TokenParts {
  readonly kind: 'cluster';
}

/** Lets one gateway ask its cluster's agent for its first SVID. */
export interface GatewayToken extends TokenParts {
  readonly kind: 'gateway';
  readonly gateway: ReplicaName;
}

/** A single-use invitation: everything a newcomer needs, in one string. */
export type JoinToken = ClusterToken | GatewayToken;

/** Marks the string, so that secret scanners and people recognise it. */
const prefix = 'isthmus-join-v1.';
const maxTokenChars = 4096;

const base = {
  c: z.string().transform(parseClusterName),
  d: z.string().transform(parseTrustDomain),
  a: z
    .array(
      z.string().transform((text) => {
        requireHostPort(text);
        return text;
      }),
    )
    .min(1)
    .max(16),
  r: z.string().regex(/^[0-9a-f]{64}$/),
  s: z.base64url().transform((text) => Buffer.from(text, 'base64url')),
  e: z.number().int().min(0).max(8.64e15),
};

const schema = z.discriminatedUnion('k', [
  z.strictObject({ k: z.literal('cluster'), ...base }),
  z.strictObject({ k: z.literal('gateway'), g: z.string().transform(parseReplicaName), ...base }),
]);

/** The printable form: one word without quotes, spaces or shell characters. */
export function encodeJoinToken(token: JoinToken): string {
  const fields = {
    k: token.kind,
    ...(token.kind === 'gateway' && { g: token.gateway }),
    c: token.cluster,
    d: token.federationDomain,
    a: token.addresses,
    r: token.rootSha256,
    s: Buffer.from(token.secret).toString('base64url'),
    e: token.expiresAt,
  };
  return prefix + Buffer.from(JSON.stringify(fields)).toString('base64url');
}

/** Reads the printable form; surrounding white space is ignored. The secret never appears in an error. @throws IsthmusError `invalid` */
export function decodeJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (trimmed.length > maxTokenChars || !trimmed.startsWith(prefix)) {
    throw new IsthmusError('invalid', `A join token must start with '${prefix}' and be at most ${maxTokenChars} long`);
  }
  const parsed = parseFields(trimmed.slice(prefix.length));
  if (parsed.s.length < 16) throw new IsthmusError('invalid', 'The secret of a join token must have 128 bits or more');
  const parts = {
    cluster: parsed.c,
    federationDomain: parsed.d,
    addresses: parsed.a,
    rootSha256: parsed.r,
    secret: parsed.s,
    expiresAt: parsed.e,
  };
  return parsed.k === 'gateway' ? { kind: 'gateway', gateway: parsed.g, ...parts } : { kind: 'cluster', ...parts };
}

function parseFields(encoded: string): z.infer<typeof schema> {
  try {
    return schema.parse(JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8')));
  } catch {
    // The cause could quote parts of the secret.
    throw new IsthmusError('invalid', 'A join token does not decode: it may be cut short', {
      hint: 'Copy the whole token again, or issue a new one.',
    });
  }
}

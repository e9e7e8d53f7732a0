import { join } from 'node:path';
import { z } from 'zod';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { MemberHub } from '../../model/trust.ts';
import { base64Bytes, StateFile } from './state-file.ts';

/** Who this replica is; written last at a join, so that without it nothing was joined. */
export interface Membership {
  readonly version: 1;
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly federationDomain: TrustDomain;
  readonly authorityAddresses: readonly string[];
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  /** Where the hub is, as the authority said; undefined: it said nothing. */
  readonly hub?: MemberHub;
}

/** A join under way: asking again with its key is no second redemption of its token. */
export interface StoredJoin {
  readonly version: 1;
  /** Lower-case hex SHA-256 of the token's secret. */
  readonly tokenSha256: string;
  /** PKCS#8 PEM. */
  readonly keyPem: string;
}

/** A CA certificate (DER) and its key (PKCS#8 PEM). */
export interface KeyedCertificate {
  readonly certificate: Uint8Array;
  readonly keyPem: string;
}

export interface Intermediates {
  readonly version: 1;
  readonly active: KeyedCertificate;
  /** Signed already; used from `activateAt` (wall clock in ms) on, when every member may be expected to know it. */
  readonly pending?: (KeyedCertificate & { readonly activateAt: number }) | undefined;
  /** Key of the next one, from before it is asked for until it comes: an offline root may take days. PKCS#8 PEM. */
  readonly requestedKeyPem?: string | undefined;
}

/** The seal leaf: its chain without the anchor, and its key. */
export interface StoredSeal {
  readonly version: 1;
  readonly chain: readonly Uint8Array[];
  readonly keyPem: string;
}

export interface StoredRoster {
  readonly version: 1;
  readonly sealed: Uint8Array;
  /** PEM. */
  readonly chain: Uint8Array;
}

export interface GatewayTokenEntry {
  /** Hex SHA-256 of the secret. */
  readonly hash: string;
  readonly gateway: ReplicaName;
  /** Wall clock in ms. */
  readonly expiresAt: number;
  readonly used: boolean;
}

export interface StoredGatewayTokens {
  readonly version: 1;
  readonly tokens: readonly GatewayTokenEntry[];
}

const membership: z.ZodType<Membership> = z.strictObject({
  version: z.literal(1),
  cluster: z.string().transform(parseClusterName),
  replica: z.string().transform(parseReplicaName),
  federationDomain: z.string().transform(parseTrustDomain),
  authorityAddresses: z.array(z.string()).min(1),
  anchors: z.array(base64Bytes).min(1),
  hub: z.exactOptional(
    z.strictObject({
      url: z.string(),
      prefix: z.string(),
      username: z.exactOptional(z.string()),
      password: z.exactOptional(z.string()),
    }),
  ),
});

const joining: z.ZodType<StoredJoin> = z.strictObject({
  version: z.literal(1),
  tokenSha256: z.string(),
  keyPem: z.string(),
});

const keyedFields = { certificate: base64Bytes, keyPem: z.string() };

const intermediates: z.ZodType<Intermediates> = z.strictObject({
  version: z.literal(1),
  active: z.strictObject(keyedFields),
  pending: z.strictObject({ ...keyedFields, activateAt: z.number() }).optional(),
  requestedKeyPem: z.string().optional(),
});

const sealLeaf: z.ZodType<StoredSeal> = z.strictObject({
  version: z.literal(1),
  chain: z.array(base64Bytes).min(1),
  keyPem: z.string(),
});

const sealedRoster: z.ZodType<StoredRoster> = z.strictObject({
  version: z.literal(1),
  sealed: base64Bytes,
  chain: base64Bytes,
});

const gatewayTokens: z.ZodType<StoredGatewayTokens> = z.strictObject({
  version: z.literal(1),
  tokens: z
    .array(
      z.strictObject({
        hash: z.string(),
        gateway: z.string().transform(parseReplicaName),
        expiresAt: z.number(),
        used: z.boolean(),
      }),
    )
    .max(10_000),
});

/** The files of an agent's state directory that are about trust. */
export interface AgentFiles {
  readonly membership: StateFile<Membership>;
  readonly joining: StateFile<StoredJoin>;
  readonly intermediates: StateFile<Intermediates>;
  readonly seal: StateFile<StoredSeal>;
  readonly roster: StateFile<StoredRoster>;
  readonly gatewayTokens: StateFile<StoredGatewayTokens>;
}

/** Names the files; reads and writes nothing. */
export function agentFiles(stateDir: string): AgentFiles {
  return {
    membership: new StateFile(join(stateDir, 'membership.json'), membership),
    joining: new StateFile(join(stateDir, 'joining.json'), joining),
    intermediates: new StateFile(join(stateDir, 'intermediates.json'), intermediates),
    seal: new StateFile(join(stateDir, 'seal.json'), sealLeaf),
    roster: new StateFile(join(stateDir, 'roster.json'), sealedRoster),
    gatewayTokens: new StateFile(join(stateDir, 'gateway-tokens.json'), gatewayTokens),
  };
}

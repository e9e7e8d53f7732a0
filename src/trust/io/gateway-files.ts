import { join } from 'node:path';
import { z } from 'zod';
import { parseTrustDomain, type TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { StoredRoster } from './agent-files.ts';
import { base64Bytes, StateFile, toBase64 } from './state-file.ts';

/** Who this gateway is, and its present SVID. One file, so that key and chain never part. */
export interface GatewayState {
  readonly version: 1;
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly federationDomain: TrustDomain;
  /** Where the agents were when the identity was issued: the token that said so is used up. */
  readonly agentAddresses: readonly string[];
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  /** DER, leaf first, without the anchor. */
  readonly chain: readonly Uint8Array[];
  readonly keyPem: string;
}

const state: z.ZodType<GatewayState> = z.strictObject({
  version: z.literal(1),
  cluster: z.string().transform(parseClusterName),
  instance: z.string().transform(parseReplicaName),
  federationDomain: z.string().transform(parseTrustDomain),
  agentAddresses: z.array(z.string().max(300)).max(16),
  anchors: z.array(base64Bytes).min(1),
  chain: z.array(base64Bytes).min(2),
  keyPem: z.string(),
});

const roster: z.ZodType<StoredRoster> = z.strictObject({
  version: z.literal(1),
  sealed: base64Bytes,
  chain: base64Bytes,
});

/** The files of a gateway's state directory that are about trust. */
export interface GatewayFiles {
  readonly state: StateFile<GatewayState>;
  readonly roster: StateFile<StoredRoster>;
}

/** Names the files; reads and writes nothing. */
export function gatewayFiles(stateDir: string): GatewayFiles {
  return {
    state: new StateFile(join(stateDir, 'identity.json'), state),
    roster: new StateFile(join(stateDir, 'roster.json'), roster),
  };
}

/** As the state file spells it. */
export function encodeGatewayState(value: GatewayState): object {
  return { ...value, anchors: value.anchors.map(toBase64), chain: value.chain.map(toBase64) };
}

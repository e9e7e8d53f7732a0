import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  clusterTrustDomain,
  parseTrustDomain,
  roleId,
  type SpiffeId,
  type TrustDomain,
} from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../src/model/names.ts';
import type { Log } from '../../src/model/ports/log.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { AuthorityIssuance } from '../../src/trust/io/authority-issuance.ts';
import { AuthorityLedger } from '../../src/trust/io/authority-ledger.ts';
import { Refusals } from '../../src/trust/io/authority-refusals.ts';
import { AuthorityTokens } from '../../src/trust/io/authority-tokens.ts';
import { type Issuer, issueRoot } from '../../src/trust/io/issuer.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { decodeJoinToken } from '../../src/wire/join-token.ts';

export const federationDomain: TrustDomain = parseTrustDomain('mesh.example');
/** Renewals for which one replica has room. */
export const renewalsPerReplica = 7;
/** More than is measured: what is refused would be fast. */
const generous = { perSecond: 1_000_000, burst: 1_000_000 };
/** Joins at a time: each waits for the roster that lists it, and they share rosters. */
const joinsAtOnce = 500;

export const silent: Log = createLog('bench', 'silent');

/** The parts of an authority that decide, with a database of their own. */
export interface Stage {
  readonly root: Issuer;
  readonly ledger: AuthorityLedger;
  readonly refusals: Refusals;
  readonly issuance: AuthorityIssuance;
  readonly tokens: AuthorityTokens;
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
  const clock = systemClock;
  const root = issueRoot(federationDomain, signerOf(generateKeyPem()), clock.now());
  const anchor = root.certificate;
  const path = join(dir, 'authority.db');
  const ledger = await AuthorityLedger.open({ path, federationDomain, anchor, clock, log: silent });
  const refusals = new Refusals({ ledger, clock, log: silent });
  return {
    root,
    ledger,
    refusals,
    tokens: new AuthorityTokens({ ledger, federationDomain, rootSha256: '0'.repeat(64), clock }),
    issuance: new AuthorityIssuance({
      ledger,
      refusals,
      root,
      anchor,
      federationDomain,
      clock,
      nameConstraints: true,
      limits: { global: generous, renewalReserve: 0, source: generous, identity: generous },
    }),
    async close(): Promise<void> {
      await ledger.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** One replica that is to join. */
export interface Newcomer {
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly id: SpiffeId;
}

/** So many clusters with so many replicas each, the clusters one after another, as renewals come. */
export function newcomers(clusters: number, replicas: number): readonly Newcomer[] {
  return Array.from({ length: clusters * replicas }, (_, index) => {
    const cluster = parseClusterName(`cluster-${index % clusters}`);
    const replica = parseReplicaName(`agent-${Math.floor(index / clusters)}`);
    return { cluster, replica, id: roleId(clusterTrustDomain(cluster, federationDomain), 'agent', replica) };
  });
}

/** A member's first intermediate. */
export interface Joined extends Newcomer {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly keyPem: string;
}

export async function joinAll({ issuance, tokens }: Stage, all: readonly Newcomer[]): Promise<readonly Joined[]> {
  const joined: Joined[] = [];
  const join = async (newcomer: Newcomer): Promise<Joined> => {
    const { cluster, replica } = newcomer;
    const from = '127.0.0.1:1';
    const { token } = await tokens.issue({ cluster, addresses: [from], who: 'bench' });
    const keyPem = generateKeyPem();
    const csr = createCsr(signerOf(keyPem));
    const answer = await issuance.join({ cluster, replica, secret: decodeJoinToken(token).secret, csr, from });
    if ('pending' in answer) throw new Error('The root is here: nothing has to wait');
    return { ...newcomer, certificate: answer.certificate, keyPem };
  };
  for (let at = 0; at < all.length; at += joinsAtOnce) {
    joined.push(...(await Promise.all(all.slice(at, at + joinsAtOnce).map(join))));
  }
  return joined;
}

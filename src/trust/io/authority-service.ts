import { Server } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { roleOf, trustDomainOf } from '../../model/identity.ts';
import type { PeerVerdict, RefusalReason, Roster } from '../../model/trust.ts';
import { listenGrpc, type PeerCall } from '../../runtime/io/grpc-server.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { takesAway } from '../authority/roster-diff.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { leafId } from '../verify/svid-profile.ts';
import { readCertificate } from '../x509/read.ts';
import { authorityService } from './authority-api.ts';
import type { AuthorityLedger } from './authority-ledger.ts';
import { authorityHandlers, type AuthorityRpcOptions } from './authority-rpc.ts';
import type { VerifiedPeer } from './call-identity.ts';

export interface AuthorityServiceOptions extends Omit<AuthorityRpcOptions, 'peerOf'> {
  readonly listen: ListenAddress;
  readonly ledger: AuthorityLedger;
  /** Undefined: it has no identity yet, and nobody can reach it. */
  readonly material: () => TlsMaterial | undefined;
}

/** The authority as agents reach it. */
export interface AuthorityService {
  readonly port: number;
  /** Agents that hold a roster stream. */
  watchers(): number;
  close(): Promise<void>;
}

/** Serves `isthmus.v1.Authority`. @throws IsthmusError as `listenTcp` */
export async function serveAuthority(options: AuthorityServiceOptions): Promise<AuthorityService> {
  const { listen, ledger, material, clock, log } = options;
  const verifier = createPeerVerifier(ledger.trust, clock);
  const server = new Server({
    'grpc.max_receive_message_length': 64 << 10,
    'grpc.max_concurrent_streams': 128,
    // Counters that nobody reads, at a price for each call.
    'grpc.enable_channelz': 0,
  });
  const check = (chain: readonly Uint8Array[]): Caller | undefined => {
    if (chain.length === 0) return undefined;
    const verdict = verifier.verify(chain);
    if (!verdict.ok) throw refusalOf(verdict, chain, ledger.roster.current);
    if (roleOf(verdict.id)?.role !== 'agent') throw new IsthmusError('denied', `${verdict.id} is no agent`);
    return verdict;
  };
  const told = (thrown: unknown): Caller | undefined =>
    thrown instanceof IsthmusError && thrown.code === 'denied' ? { ok: false, refusal: thrown } : undefined;
  const peerOf = (call: PeerCall): VerifiedPeer | undefined => {
    const caller = listener.peerOf(call);
    if (caller?.ok === false) throw caller.refusal;
    return caller;
  };
  const rpc = authorityHandlers({ ...options, peerOf });
  server.addService(authorityService, rpc.handlers);
  const listener = await listenGrpc({ listen, server, material, check, told, log });
  let rechecked = ledger.roster.current;
  const endTrust = ledger.trust.subscribe((trust) => {
    const before = rechecked;
    rechecked = trust?.roster ?? before;
    // Verifying every open connection anew takes its time; a new member gives no reason for it.
    if (takesAway(before, rechecked)) listener.recheck();
  });
  return {
    port: listener.port,
    watchers: () => rpc.watchers(),
    async close(): Promise<void> {
      endTrust();
      await listener.close();
    },
  };
}

/** Somebody who calls: trusted, or known and to be told why not. */
type Caller = VerifiedPeer | { readonly ok: false; readonly refusal: IsthmusError };

/** Reasons that concern the caller's standing rather than who it is. */
const standings: ReadonlySet<RefusalReason> = new Set<RefusalReason>([
  'cluster-suspended',
  'cluster-revoked',
  'denied-key',
]);

function refusalOf(
  { reason, detail }: Extract<PeerVerdict, { readonly ok: false }>,
  [leaf = new Uint8Array()]: readonly Uint8Array[],
  roster: Roster,
): IsthmusError {
  if (!standings.has(reason)) return new IsthmusError('unauthenticated', `${reason}: ${detail}`);
  const named = leafId(readCertificate(leaf));
  const domain = named.ok ? trustDomainOf(named.id) : undefined;
  const entry = [...roster.clusters.values()].find(({ trustDomain }) => trustDomain === domain);
  // The keys of a revoked cluster are denied, which says less than that it is revoked.
  const why = entry && entry.state !== 'active' ? `cluster ${entry.cluster} is ${entry.state}` : detail;
  return new IsthmusError('denied', `The authority refuses this agent: ${why}`);
}

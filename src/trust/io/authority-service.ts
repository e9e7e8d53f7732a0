import { Server } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { roleOf } from '../../model/identity.ts';
import { listenGrpc } from '../../runtime/io/grpc-server.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import type { TlsMaterial } from '../../runtime/io/tls.ts';
import { takesAway } from '../authority/roster-diff.ts';
import { createPeerVerifier } from '../verify/peer-verifier.ts';
import { authorityService } from './authority-api.ts';
import type { AuthorityLedger } from './authority-ledger.ts';
import { authorityHandlers, type AuthorityRpcOptions } from './authority-rpc.ts';
import { type VerifiedPeer, verifiedPeer } from './call-identity.ts';

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
  const server = new Server({ 'grpc.max_receive_message_length': 64 << 10, 'grpc.max_concurrent_streams': 128 });
  const check = (chain: readonly Uint8Array[]): VerifiedPeer | undefined => {
    if (chain.length === 0) return undefined;
    const peer = verifiedPeer(verifier, chain);
    if (roleOf(peer.id)?.role !== 'agent') throw new IsthmusError('denied', `${peer.id} is no agent`);
    return peer;
  };
  const rpc = authorityHandlers({ ...options, peerOf: (call) => listener.peerOf(call) });
  server.addService(authorityService, rpc.handlers);
  const listener = await listenGrpc({ listen, server, material, check, log });
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

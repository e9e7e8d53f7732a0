import { Metadata } from '@grpc/grpc-js';
import type { ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { TrustDomain } from '../../model/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import { toGrpcFailure } from '../../runtime/grpc-status.ts';
import type {
  IntermediateResponse,
  JoinRequest,
  RenewIntermediateRequest,
  SealedDocument,
  WatchRosterRequest,
} from './authority-api.ts';
import type { AuthorityCore } from './authority-core.ts';
import { answer } from './answer.ts';
import { type CallIdentity, requirePeer } from './call-identity.ts';

/** What the handlers work on. */
export interface AuthorityRpcOptions {
  readonly core: AuthorityCore;
  readonly federationDomain: TrustDomain;
  /** DER. */
  readonly root: Uint8Array;
  readonly peerOf: CallIdentity;
  readonly log: Log;
}

/** Handlers of `isthmus.v1.Authority`, and the number of open roster streams. */
export function authorityHandlers(options: AuthorityRpcOptions): {
  readonly handlers: UntypedServiceImplementation;
  watchers(): number;
} {
  const { core, federationDomain, root, peerOf, log } = options;
  let watchers = 0;

  const responseOf = (certificate: Uint8Array): IntermediateResponse => {
    const { sealed, chain } = core.sealedRoster.current;
    return {
      chain: [Buffer.from(certificate), Buffer.from(root)],
      roster: { sealed: Buffer.from(sealed), chain: Buffer.from(chain) },
      federationDomain,
    };
  };
  const handlers = {
    Join: answer<JoinRequest, IntermediateResponse>('Join', log, (call) => {
      const from = call.getPeer();
      const certificate = core.join({ ...call.request, from });
      log.info({ cluster: call.request.cluster, replica: call.request.replica, from }, 'joined');
      return responseOf(certificate);
    }),
    RenewIntermediate: answer<RenewIntermediateRequest, IntermediateResponse>('RenewIntermediate', log, (call) => {
      const peer = requirePeer(peerOf, call);
      const certificate = core.renew(peer.id, peer.cluster, call.request.csr);
      log.info({ agent: peer.id }, 'intermediate renewed');
      return responseOf(certificate);
    }),
    WatchRoster: (call: ServerWritableStream<WatchRosterRequest, SealedDocument>): void => {
      try {
        requirePeer(peerOf, call);
      } catch (thrown) {
        call.emit('error', toGrpcFailure(thrown));
        return;
      }
      watchers += 1;
      const end = streamRoster(core, call, Number(call.request.knownSequence));
      const done = (): void => {
        call.off('close', done).off('cancelled', done);
        watchers -= 1;
        end();
      };
      call.once('close', done).once('cancelled', done);
    },
  };
  return { handlers, watchers: () => watchers };
}

/** Sends the roster now, unless it is known, and after each change; a slow reader gets the newest only. */
function streamRoster(
  core: AuthorityCore,
  call: ServerWritableStream<WatchRosterRequest, SealedDocument>,
  knownSequence: number,
): () => void {
  let sending = false;
  let stale = false;
  const send = (): void => {
    if (sending) {
      stale = true;
      return;
    }
    const { sealed, chain } = core.sealedRoster.current;
    sending = true;
    stale = false;
    call.write({ sealed: Buffer.from(sealed), chain: Buffer.from(chain) }, () => {
      sending = false;
      if (stale) send();
    });
  };
  const unsubscribe = core.sealedRoster.subscribe(send);
  if (core.roster.current.sequence !== knownSequence) send();
  // Headers now, so that the agent knows that it is connected although there is nothing new.
  else call.sendMetadata(new Metadata());
  return () => {
    stale = false;
    unsubscribe();
  };
}

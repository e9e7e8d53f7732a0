import { Metadata } from '@grpc/grpc-js';
import type { ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { MemberHub } from '../../model/trust.ts';
import { toGrpcFailure } from '../../runtime/grpc-status.ts';
import type { SealedRoster } from '../authority/roster-sealer.ts';
import {
  type AcknowledgeRequest,
  type AcknowledgeResponse,
  type IntermediateResponse,
  type JoinRequest,
  type LeaveRequest,
  type LeaveResponse,
  type RenewIntermediateRequest,
  type SealedDocument,
  timeHeader,
  type WatchRosterRequest,
} from './authority-api.ts';
import type { AuthorityAcks } from './authority-acks.ts';
import type { AuthorityIssuance, IssueAnswer } from './authority-issuance.ts';
import type { AuthorityMembers } from './authority-members.ts';
import { answer } from './answer.ts';
import { type CallIdentity, requirePeer } from './call-identity.ts';

/** What the handlers work on. */
export interface AuthorityRpcOptions {
  readonly issuance: AuthorityIssuance;
  readonly members: AuthorityMembers;
  readonly acks: AuthorityAcks;
  readonly sealedRoster: Watch<SealedRoster | undefined>;
  readonly federationDomain: TrustDomain;
  /** DER. */
  readonly anchor: Uint8Array;
  /** Where a replica that joins finds the hub; undefined: it is told elsewhere. */
  readonly hubFor: (cluster: ClusterName, replica: ReplicaName) => Promise<MemberHub | undefined>;
  readonly peerOf: CallIdentity;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
}

/** Handlers of `isthmus.v1.Authority`, and the number of open roster streams. */
export function authorityHandlers(options: AuthorityRpcOptions): {
  readonly handlers: UntypedServiceImplementation;
  watchers(): number;
} {
  const { issuance, members, acks, sealedRoster, federationDomain, anchor, hubFor, peerOf, clock, log } = options;
  let watchers = 0;

  const rosterNow = (): SealedDocument => {
    const { current } = sealedRoster;
    if (!current) throw new IsthmusError('unavailable', 'The authority has nothing to seal its roster with yet');
    return documentOf(current);
  };
  const responseOf = (issued: IssueAnswer, more: Partial<IntermediateResponse> = {}): IntermediateResponse => {
    return {
      chain: 'pending' in issued ? [] : [Buffer.from(issued.certificate), Buffer.from(anchor)],
      // Whoever renews has a stream of rosters, each of which can be megabytes.
      roster: null,
      federationDomain,
      pending: 'pending' in issued,
      hub: null,
      ...more,
    };
  };
  const handlers = {
    Join: answer<JoinRequest, IntermediateResponse>('Join', log, async (call) => {
      const from = call.getPeer();
      const { cluster, replica } = call.request;
      const issued = await issuance.join({ ...call.request, from });
      if ('pending' in issued) {
        log.debug({ cluster, replica, from }, 'waits for the signature of the root');
        return responseOf(issued, { roster: rosterNow() });
      }
      // Both names were judged with the join.
      const hub = await hubFor(parseClusterName(cluster), parseReplicaName(replica));
      log.info({ cluster, replica, from }, 'joined');
      return responseOf(issued, { roster: rosterNow(), hub: hub ? { username: '', password: '', ...hub } : null });
    }),
    RenewIntermediate: answer<RenewIntermediateRequest, IntermediateResponse>(
      'RenewIntermediate',
      log,
      async (call) => {
        const { id, cluster } = requirePeer(peerOf, call);
        const issued = await issuance.renew({ id, cluster, csr: call.request.csr, from: call.getPeer() });
        if ('certificate' in issued) log.info({ agent: id }, 'intermediate renewed');
        return responseOf(issued);
      },
    ),
    Acknowledge: answer<AcknowledgeRequest, AcknowledgeResponse>('Acknowledge', log, async (call) => {
      const { id, cluster } = requirePeer(peerOf, call);
      const others = await acks.report(id, cluster, call.request.own);
      const messages = others.map(({ key, record }) => ({ key, record: Buffer.from(record) }));
      return { others: messages, time: String(clock.now()) };
    }),
    Leave: answer<LeaveRequest, LeaveResponse>('Leave', log, async (call) => {
      const { id, cluster } = requirePeer(peerOf, call);
      await members.leave(id, cluster, call.request.why);
      log.info({ agent: id }, 'cluster has left');
      return {};
    }),
    WatchRoster: (call: ServerWritableStream<WatchRosterRequest, SealedDocument>): void => {
      try {
        requirePeer(peerOf, call);
      } catch (thrown) {
        call.emit('error', toGrpcFailure(thrown));
        return;
      }
      watchers += 1;
      call.sendMetadata(greeting(clock.now()));
      const end = streamRoster(sealedRoster, call, Number(call.request.knownSequence));
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

/** Headers at once, so that the agent knows that it is connected although there is nothing new, and what time it is. */
function greeting(now: number): Metadata {
  const metadata = new Metadata();
  metadata.set(timeHeader, String(now));
  return metadata;
}

function documentOf({ sealed, chain }: SealedRoster): SealedDocument {
  return { sealed: Buffer.from(sealed), chain: Buffer.from(chain) };
}

/** Sends the roster now, unless it is known, and after each change; a slow reader gets the newest only. */
function streamRoster(
  sealedRoster: Watch<SealedRoster | undefined>,
  call: ServerWritableStream<WatchRosterRequest, SealedDocument>,
  knownSequence: number,
): () => void {
  let sending = false;
  let stale = false;
  const send = (): void => {
    const { current } = sealedRoster;
    if (!current) return;
    if (sending) {
      stale = true;
      return;
    }
    sending = true;
    stale = false;
    call.write(documentOf(current), () => {
      sending = false;
      if (stale) send();
    });
  };
  const unsubscribe = sealedRoster.subscribe(send);
  if (sealedRoster.current?.sequence !== knownSequence) send();
  return () => {
    stale = false;
    unsubscribe();
  };
}

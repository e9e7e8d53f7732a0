import { createPrivateKey } from 'node:crypto';
import {
  type Metadata,
  type ServerUnaryCall,
  type ServerWritableStream,
  Server,
  ServerCredentials,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { domainId, type SpiffeId } from '../../model/identity.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { ClusterName } from '../../model/names.ts';
import type { TrustState } from '../../model/trust.ts';
import { type GrpcFailure, toGrpcFailure } from '../../runtime/grpc-status.ts';
import { attestCaller } from '../issue/attest-caller.ts';
import { createSocketAttestor } from '../workload/attest.ts';
import { workloadBundles } from '../workload/bundles.ts';
import type { ClusterIssuance } from './cluster-issuance.ts';
import { openWorkloadIdentity } from './workload-identity.ts';
import { workloadApiService, type X509BundlesResponse, type X509SvidResponse } from './workload-protocols.ts';
import { listenOwned } from './workload-sockets.ts';

/** One Unix socket and the one identity that whoever opens it has. */
export interface WorkloadSocket {
  readonly path: string;
  readonly id: SpiffeId;
  readonly uid: number;
}

export interface WorkloadApiOptions {
  readonly socket: WorkloadSocket;
  readonly cluster: ClusterName;
  readonly issuance: ClusterIssuance;
  readonly trust: TrustSource;
  readonly clock: Clock;
  readonly log: Log;
}

export interface WorkloadApi {
  close(): Promise<void>;
}

/** Each holds a few streams; more is a fault of the workload. */
const maxConnections = 256;
const maxStreamsPerConnection = 16;

/** Serves the SPIFFE Workload API on one socket. @throws IsthmusError as `listenOwned`, `denied` for an id that may not be mapped */
export async function serveWorkloadApi(options: WorkloadApiOptions): Promise<WorkloadApi> {
  const { socket, issuance, clock, log } = options;
  const attestor = createSocketAttestor(new Map([[socket.path, socket.id]]), issuance.trustDomain);
  const attestation = await attestCaller([attestor], { socket: socket.path });
  const identity = await openWorkloadIdentity({ attestation, issuance, clock, log });
  const server = new Server({
    'grpc.max_receive_message_length': 64 << 10,
    'grpc.max_concurrent_streams': maxStreamsPerConnection,
  });
  server.addService(workloadApiService, workloadHandlers({ ...options, svid: identity.svid }));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  try {
    const listener = await listenOwned({
      path: socket.path,
      uid: socket.uid,
      maxConnections,
      onConnection(connection): void {
        connection.on('error', (cause) => log.debug({ socket: socket.path, err: cause.message }, 'connection failed'));
        injector.injectConnection(connection);
      },
    });
    log.info({ socket: socket.path, id: socket.id, uid: socket.uid }, 'workload API is up');
    return {
      async close(): Promise<void> {
        server.forceShutdown();
        await listener.close();
        await identity.close();
      },
    };
  } catch (thrown) {
    server.forceShutdown();
    await identity.close();
    throw thrown;
  }
}

interface StateSources {
  readonly svid: SvidSource;
  readonly trust: TrustSource;
  readonly cluster: ClusterName;
  readonly issuance: ClusterIssuance;
}

function workloadHandlers(sources: StateSources): UntypedServiceImplementation {
  const { svid, trust, issuance } = sources;
  const own = issuance.trustDomain;
  const refuseJwt = (call: { readonly metadata: Metadata }): GrpcFailure =>
    headerProblem(call.metadata) ?? { code: status.UNIMPLEMENTED, details: 'JWT-SVIDs are not issued here' };
  const unary = (call: ServerUnaryCall<object, object>, callback: (failure: GrpcFailure) => void): void =>
    callback(refuseJwt(call));
  return {
    FetchX509SVID: (call: ServerWritableStream<object, X509SvidResponse>): void =>
      streamState(call, [svid, trust], () => svidResponse(requireState(sources), svid, own)),
    FetchX509Bundles: (call: ServerWritableStream<object, X509BundlesResponse>): void =>
      streamState(call, [trust], () => ({ bundles: Object.fromEntries(workloadBundles(requireState(sources), own)) })),
    FetchJWTSVID: unary,
    ValidateJWTSVID: unary,
    FetchJWTBundles: (call: ServerWritableStream<object, object>): void => void call.emit('error', refuseJwt(call)),
  };
}

/** Workload Endpoint §4: every call carries it, so that a proxy which was tricked into a request is refused. */
function headerProblem(metadata: Metadata): GrpcFailure | undefined {
  const given = metadata.get('workload.spiffe.io');
  if (given.length === 1 && given[0] === 'true') return undefined;
  return { code: status.INVALID_ARGUMENT, details: `The header 'workload.spiffe.io' must be 'true'` };
}

/** @throws IsthmusError `unavailable` before there is a roster, `denied` when this cluster is no active member */
function requireState({ trust, cluster }: StateSources): TrustState {
  const state = trust.current;
  if (!state) throw new IsthmusError('unavailable', 'There is no roster yet');
  const member = state.roster.clusters.get(cluster)?.state ?? 'no member';
  // PERMISSION_DENIED tells a workload to stop using what it has.
  if (member !== 'active') throw new IsthmusError('denied', `Cluster ${cluster} is ${member}`);
  return state;
}

/** @throws IsthmusError `unavailable` while there is no valid SVID */
function svidResponse(state: TrustState, source: SvidSource, own: ClusterIssuance['trustDomain']): X509SvidResponse {
  const svid = source.current;
  if (!svid) throw new IsthmusError('unavailable', 'There is no valid identity now');
  const bundles = new Map(workloadBundles(state, own));
  const bundle = bundles.get(domainId(own)) ?? Buffer.alloc(0);
  bundles.delete(domainId(own));
  return {
    svids: [
      {
        spiffeId: svid.id,
        x509Svid: Buffer.concat(svid.chain),
        x509SvidKey: createPrivateKey(svid.keyPem).export({ format: 'der', type: 'pkcs8' }),
        bundle,
      },
    ],
    federatedBundles: Object.fromEntries(bundles),
  };
}

/** Sends the full state now and after each change; a slow reader gets the newest only. */
function streamState<Response>(
  call: ServerWritableStream<object, Response>,
  sources: readonly Watch<unknown>[],
  stateNow: () => Response,
): void {
  const problem = headerProblem(call.metadata);
  if (problem) return void call.emit('error', problem);
  let sending = false;
  let stale = false;
  const send = (): void => {
    stale = sending;
    if (sending) return;
    let state: Response;
    try {
      state = stateNow();
    } catch (thrown) {
      end();
      call.emit('error', toGrpcFailure(thrown));
      return;
    }
    sending = true;
    call.write(state, () => {
      sending = false;
      if (stale) send();
    });
  };
  const subscriptions = sources.map((source) => source.subscribe(send));
  const end = (): void => {
    stale = false;
    call.off('close', end).off('cancelled', end);
    for (const unsubscribe of subscriptions) unsubscribe();
  };
  call.once('close', end).once('cancelled', end);
  send();
}

import type { ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { roleOf, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import { type ClusterName, parseReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { parseCsr } from '../x509/csr.ts';
import { answer } from './answer.ts';
import type { EnrollRequest, RenewRequest, SvidResponse } from './authority-api.ts';
import { type CallIdentity, requirePeer } from './call-identity.ts';
import type { ClusterIssuance } from './cluster-issuance.ts';
import type { GatewayTokens } from './gateway-tokens.ts';

export interface GatewayHandlersOptions {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  readonly tokens: GatewayTokens;
  readonly issuance: ClusterIssuance;
  readonly update: () => TrustUpdate | undefined;
  readonly peerOf: CallIdentity;
  readonly clock: Clock;
  readonly log: Log;
}

/** Handlers of `isthmus.v1.GatewayIdentity`: the first SVID by a token, each next one by the present one. */
export function gatewayHandlers(options: GatewayHandlersOptions): UntypedServiceImplementation {
  const { cluster, trustDomain, tokens, issuance, peerOf, clock, log } = options;
  return {
    Enroll: answer<EnrollRequest, SvidResponse>('Enroll', log, async (call) => {
      const from = arrive(issuance, call);
      const gateway = parseReplicaName(call.request.replica);
      // The request is judged before the token is used up: a slip must not cost it.
      parseCsr(call.request.csr);
      await tokens.consume(call.request.secret, gateway, clock.now());
      const { csr } = call.request;
      const who = `token from ${from}`;
      const { chain } = await issuance.issueForGateway({ replica: gateway, csr, kind: 'join', who });
      log.info({ gateway, from }, 'gateway enrolled');
      return responseOf(chain, options);
    }),
    Renew: answer<RenewRequest, SvidResponse>('Renew', log, async (call) => {
      arrive(issuance, call);
      const { id } = requirePeer(peerOf, call);
      const caller = roleOf(id);
      if (caller?.role !== 'gateway' || trustDomainOf(id) !== trustDomain) {
        throw new IsthmusError('denied', `Only a gateway of ${cluster} is renewed here: the caller is ${id}`);
      }
      const { csr } = call.request;
      const { chain } = await issuance.issueForGateway({ replica: caller.replica, csr, kind: 'renewal', who: id });
      return responseOf(chain, options);
    }),
  };
}

function arrive<Request>(issuance: ClusterIssuance, call: ServerUnaryCall<Request, SvidResponse>): string {
  const from = call.getPeer();
  issuance.arrive(from);
  return from;
}

function responseOf(chain: readonly Uint8Array[], { anchors, update }: GatewayHandlersOptions): SvidResponse {
  const trust = update();
  const copy = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
  return {
    chain: [...chain, ...anchors].map(copy),
    trust: trust
      ? {
          sealedRoster: copy(trust.sealedRoster),
          rosterChain: copy(trust.rosterChain),
          anchors: trust.anchors.map(copy),
        }
      : null,
  };
}

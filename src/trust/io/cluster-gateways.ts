import type { ServerUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import { roleId, roleOf, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import { type ClusterName, parseReplicaName } from '../../model/names.ts';
import type { Attestation, Attestor } from '../../model/ports/attestor.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { attestCaller } from '../issue/attest-caller.ts';
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
  const attestors = [gatewayTokenAttestor(options), gatewayAttestor(cluster, trustDomain)];
  return {
    Enroll: answer<EnrollRequest, SvidResponse>('Enroll', log, async (call) => {
      const from = arrive(issuance, call);
      const { secret, csr } = call.request;
      const gateway = parseReplicaName(call.request.replica);
      const attested = await attestCaller(attestors, { secret });
      if (attested.id !== roleId(trustDomain, 'gateway', gateway)) {
        throw new IsthmusError('denied', `The token is for ${attested.id}, not for gateway ${gateway}`);
      }
      // The request is judged before the token is used up: a slip must not cost it.
      parseCsr(csr);
      await tokens.consume(secret, clock.now());
      const attestation = { ...attested, by: `${attested.by} from ${from}` };
      const { chain } = await issuance.issueForGateway({ attestation, csr });
      log.info({ gateway, from }, 'gateway enrolled');
      return responseOf(chain, options);
    }),
    Renew: answer<RenewRequest, SvidResponse>('Renew', log, async (call) => {
      arrive(issuance, call);
      const { id } = requirePeer(peerOf, call);
      const attestation = await attestCaller(attestors, { peer: id });
      const { chain } = await issuance.issueForGateway({ attestation, csr: call.request.csr });
      return responseOf(chain, options);
    }),
  };
}

/** Gateways with a token that has not been used: whom it was issued for. */
function gatewayTokenAttestor({ tokens, trustDomain, clock }: GatewayHandlersOptions): Attestor {
  return {
    accepts: ({ secret }) => secret !== undefined,
    async attest({ secret = new Uint8Array() }): Promise<Attestation> {
      const gateway = tokens.gatewayOf(secret, clock.now());
      return { id: roleId(trustDomain, 'gateway', gateway), kind: 'join', by: 'token' };
    },
  };
}

/** Gateways of this cluster that prove their present identity. */
function gatewayAttestor(cluster: ClusterName, trustDomain: TrustDomain): Attestor {
  return {
    accepts: ({ peer }) => peer !== undefined,
    async attest({ peer }): Promise<Attestation> {
      if (peer && roleOf(peer)?.role === 'gateway' && trustDomainOf(peer) === trustDomain) {
        return { id: peer, kind: 'renewal', by: peer };
      }
      throw new IsthmusError('denied', `Only a gateway of ${cluster} is renewed here: the caller is ${peer}`);
    },
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

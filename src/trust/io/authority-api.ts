import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadService } from '../../runtime/io/grpc.ts';
import { IsthmusError } from '../../model/error.ts';

/** Messages of `proto/isthmus/v1/authority.proto` and the identity part of `agent.proto` as proto-loader gives them. */

export interface SealedDocument {
  readonly sealed: Buffer;
  readonly chain: Buffer;
}

export interface JoinRequest {
  readonly cluster: string;
  readonly replica: string;
  readonly secret: Buffer;
  readonly csr: Buffer;
}

export interface RenewIntermediateRequest {
  readonly replica: string;
  readonly csr: Buffer;
}

export interface IntermediateResponse {
  readonly chain: readonly Buffer[];
  readonly roster: SealedDocument | null;
  readonly federationDomain: string;
  /** An offline root has yet to sign; `chain` is then empty. */
  readonly pending: boolean;
  readonly hub: MemberHubMessage | null;
}

export interface MemberHubMessage {
  readonly url: string;
  readonly prefix: string;
  /** Empty: none. */
  readonly username: string;
  /** Empty: none. */
  readonly password: string;
}

export interface AcknowledgementMessage {
  readonly key: string;
  readonly record: Buffer;
}

export interface AcknowledgeRequest {
  readonly own: readonly AcknowledgementMessage[];
}

export interface AcknowledgeResponse {
  readonly others: readonly AcknowledgementMessage[];
  /** 64-bit, as text. */
  readonly time: string;
}

export interface LeaveRequest {
  readonly why: string;
}

/** Says nothing but that it happened. */
export type LeaveResponse = Readonly<Record<string, never>>;

export interface WatchRosterRequest {
  /** 64-bit, as text. */
  readonly knownSequence: string;
}

export interface EnrollRequest {
  readonly replica: string;
  readonly secret: Buffer;
  readonly csr: Buffer;
}

export interface RenewRequest {
  readonly csr: Buffer;
}

export interface TrustMessage {
  readonly sealedRoster: Buffer;
  readonly rosterChain: Buffer;
  readonly anchors: readonly Buffer[];
}

export interface SvidResponse {
  readonly chain: readonly Buffer[];
  readonly trust: TrustMessage | null;
}

/** Header of a roster stream: the authority's wall clock in ms as it opened, so that agents can compare theirs. */
export const timeHeader = 'isthmus-time';

const Authority = loadService('isthmus/v1/authority.proto', 'isthmus.v1.Authority');
const GatewayIdentity = loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayIdentity');

/** Definitions to register handlers under. */
export const authorityService: ServiceDefinition = Authority.service;
export const gatewayIdentityService: ServiceDefinition = GatewayIdentity.service;

function method<Request, Response>(service: ServiceDefinition, name: string): MethodDefinition<Request, Response> {
  const found = service[name];
  if (!found) throw new IsthmusError('internal', `No method ${name}`);
  // The shapes above are those of the proto files; proto-loader itself knows no types.
  return found as MethodDefinition<Request, Response>;
}

export const joinMethod: MethodDefinition<JoinRequest, IntermediateResponse> = method(authorityService, 'Join');
export const renewIntermediateMethod: MethodDefinition<RenewIntermediateRequest, IntermediateResponse> = method(
  authorityService,
  'RenewIntermediate',
);
export const watchRosterMethod: MethodDefinition<WatchRosterRequest, SealedDocument> = method(
  authorityService,
  'WatchRoster',
);
export const acknowledgeMethod: MethodDefinition<AcknowledgeRequest, AcknowledgeResponse> = method(
  authorityService,
  'Acknowledge',
);
export const leaveMethod: MethodDefinition<LeaveRequest, LeaveResponse> = method(authorityService, 'Leave');
export const enrollMethod: MethodDefinition<EnrollRequest, SvidResponse> = method(gatewayIdentityService, 'Enroll');
export const renewMethod: MethodDefinition<RenewRequest, SvidResponse> = method(gatewayIdentityService, 'Renew');

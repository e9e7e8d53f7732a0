import type { SpiffeId } from '../model/identity.ts';
import type { ClusterName, ServiceKey } from '../model/names.ts';

/** Envoy's response flags, as far as they apply to a tunnelled connection; `-` = nothing went wrong. */
export type ResponseFlag =
  | '-'
  /** No healthy upstream. */
  | 'UH'
  /** Upstream connection failure. */
  | 'UF'
  /** Upstream connection termination. */
  | 'UC'
  /** Overflow: a limit was reached. */
  | 'UO'
  /** No route. */
  | 'NR'
  /** Every attempt was used up. */
  | 'URX'
  /** Downstream connection termination. */
  | 'DC'
  /** Idle for too long. */
  | 'SI'
  /** Cut by this gateway's drain or end. */
  | 'LR'
  /** Refused by access rules. */
  | 'RBAC'
  /** A request, or one try of it, took too long. */
  | 'UT'
  /** The client broke the rules of its protocol. */
  | 'DPE'
  /** The upstream broke the rules of its protocol. */
  | 'UPE';

export type AccessLogProtocol = 'TCP' | 'CONNECT' | 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';

/** What an entry says of a request, beside what it says of a connection. */
export interface RequestLogFields {
  /** Null: what came could not be read as a request. */
  readonly method: string | null;
  /** Target as received, query included. */
  readonly path: string | null;
  readonly authority: string | null;
  readonly user_agent: string | null;
  readonly request_id: string | null;
  readonly x_forwarded_for: string | null;
  /** Until the first byte of the response came from upstream, ms; null: none came. */
  readonly upstream_service_time: number | null;
  /** Why this status, where the gateway answered by itself. */
  readonly response_code_details: string | null;
  /** Of a gRPC call: its status as a number. */
  readonly grpc_response_status?: number;
}

/** One connection or one request, after its end. Names are Envoy's default JSON fields where it has one. */
export interface AccessLogEntry extends Partial<RequestLogFields> {
  /** ISO 8601. */
  readonly start_time: string;
  /** `outbound`: from a client here. `inbound`: through the tunnel of another gateway. */
  readonly direction: 'outbound' | 'inbound';
  readonly protocol: AccessLogProtocol;
  /** 0 for plain TCP, else the status sent to the client or to the other gateway. */
  readonly response_code: number;
  readonly response_flags: ResponseFlag;
  readonly connection_termination_details: string | null;
  /** From the client. */
  readonly bytes_received: number;
  /** To the client. */
  readonly bytes_sent: number;
  /** Whole life, ms. */
  readonly duration: number;
  /** Until the winning candidate was connected, ms. */
  readonly connect_duration: number;
  readonly upstream_host: string | null;
  readonly upstream_request_attempt_count: number;
  readonly downstream_remote_address: string | null;
  readonly destination_service: ServiceKey | null;
  readonly destination_port: number | null;
  readonly source_cluster: ClusterName | null;
  readonly destination_cluster: ClusterName | null;
  /** Why this target: the reason that goes with its share. */
  readonly destination_reason: string | null;
  /** The peer as TLS proved it; null for a plain client. */
  readonly peer_identity: string | null;
  /** The caller as the peer asserted it, where it may. */
  readonly source_identity: string | null;
  /** The rule that allowed or denied it; null for a plain client, which is of this cluster. */
  readonly access_rule: string | null;
  readonly traceparent: string | null;
}

/** Receives one entry per connection or request, after its end. Must not throw. */
export type AccessLog = (entry: AccessLogEntry) => void;

export interface Sampling {
  /** 0 to 1: the part of connections and requests without any trouble that is written. */
  readonly share: number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}

/** Whether an end is written: each one with a flag, and of the others as large a part as wanted. */
export function isLogged(flag: ResponseFlag, { share, random }: Sampling): boolean {
  return flag !== '-' || share >= 1 || random() < share;
}

/** What the access log says of the client's side. */
export interface ConnectionFacts {
  readonly direction: AccessLogEntry['direction'];
  readonly remoteAddress: string | undefined;
  readonly sourceCluster: ClusterName | undefined;
  readonly peer: SpiffeId | undefined;
  readonly sourceIdentity: SpiffeId | undefined;
  /** What allowed or denied it; undefined for a plain client. */
  readonly rule: string | undefined;
  readonly traceparent: string | undefined;
}

/** What an entry says of the client's side. */
type ClientFields = Pick<
  AccessLogEntry,
  | 'start_time'
  | 'direction'
  | 'protocol'
  | 'downstream_remote_address'
  | 'source_cluster'
  | 'peer_identity'
  | 'source_identity'
  | 'access_rule'
  | 'traceparent'
>;

/** `startTime`: wall clock in ms. */
export function aboutClient(about: ConnectionFacts, startTime: number): ClientFields {
  return {
    start_time: new Date(startTime).toISOString(),
    direction: about.direction,
    protocol: about.direction === 'inbound' ? 'CONNECT' : 'TCP',
    downstream_remote_address: about.remoteAddress ?? null,
    source_cluster: about.sourceCluster ?? null,
    peer_identity: about.peer ?? null,
    source_identity: about.sourceIdentity ?? null,
    access_rule: about.rule ?? null,
    traceparent: about.traceparent ?? null,
  };
}

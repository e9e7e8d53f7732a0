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
  | 'RBAC';

/** One connection, after its end. Names are Envoy's default JSON fields where it has one. */
export interface AccessLogEntry {
  /** ISO 8601. */
  readonly start_time: string;
  /** `outbound`: from a client here. `inbound`: through the tunnel of another gateway. */
  readonly direction: 'outbound' | 'inbound';
  readonly protocol: 'TCP' | 'CONNECT';
  /** 0 for plain TCP, else the status sent to the other gateway. */
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

/** Receives one entry per connection, after its end. Must not throw. */
export type AccessLog = (entry: AccessLogEntry) => void;

export interface Sampling {
  /** 0 to 1: the part of connections without any trouble that is written. */
  readonly share: number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}

/** Writes every connection with a flag, and of the others as large a part as wanted. */
export function sampled(log: AccessLog, { share, random }: Sampling): AccessLog {
  if (share >= 1) return log;
  return (entry) => {
    if (entry.response_flags !== '-' || random() < share) log(entry);
  };
}

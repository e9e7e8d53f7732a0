import type { ClusterName, ServiceKey } from '../../model/names.ts';
import {
  aboutClient,
  type AccessLogEntry,
  type AccessLogProtocol,
  type ConnectionFacts,
  type ResponseFlag,
} from '../access-log.ts';
import type { CarriedBytes } from '../metrics/traffic.ts';
import type { Reply } from './reply.ts';

/** What is known of a request once its head was read. */
export interface RequestFacts {
  readonly protocol: Exclude<AccessLogProtocol, 'TCP' | 'CONNECT'>;
  /** Undefined: what came could not be read. */
  readonly method?: string | undefined;
  readonly path?: string | undefined;
  readonly authority?: string | undefined;
  readonly userAgent?: string | undefined;
  readonly requestId?: string | undefined;
  readonly forwardedFor?: string | undefined;
}

/** What `Exchange.begin` needs. Times in ms. */
export interface ExchangeStart {
  readonly about: ConnectionFacts;
  /** Undefined: it leads nowhere. */
  readonly service: ServiceKey | undefined;
  readonly port: number;
  readonly request: RequestFacts;
  /** Monotonic, when its first byte came. */
  readonly startedAt: number;
}

/** One request from its first byte to the last one of its response: the facts for log, metrics and span. */
export class Exchange {
  readonly about: ConnectionFacts;
  readonly service: ServiceKey | undefined;
  readonly port: number;
  readonly request: RequestFacts;
  readonly startedAt: number;
  /** What the client was told; 0: nothing. */
  status: number = 0;
  flag: ResponseFlag = '-';
  /** Why the gateway answered by itself, or broke it off. */
  details: string | undefined;
  /** Of the request's body as it came. */
  bytesReceived: number = 0;
  /** Of the response's body as it went. */
  bytesSent: number = 0;
  /** Upstreams that it was sent to, or was to be. */
  attempts: number = 0;
  host: string | undefined;
  cluster: ClusterName | undefined;
  /** Why there. */
  reason: string | undefined;
  /** Monotonic ms: when the upstream that counts was connected. */
  connectedAt: number | undefined;
  /** Monotonic ms: when its response began. */
  answeredAt: number | undefined;
  /** Instead of the one of the connection: the rule that decided this very request. */
  rule: string | undefined;
  /** Instead of the one of the connection. */
  traceparent: string | undefined;
  grpcStatus: number | undefined;
  #ended = false;
  #toldReceived = 0;
  #toldSent = 0;

  constructor(start: ExchangeStart) {
    this.about = start.about;
    this.service = start.service;
    this.port = start.port;
    this.request = start.request;
    this.startedAt = start.startedAt;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The gateway answers by itself. */
  replied({ status, flag, details }: Reply): void {
    this.status = status;
    this.flag = flag;
    this.details = details;
  }

  /** What the gateway has replied was told as a status of gRPC, which comes with 200; undefined: it was not. */
  answeredCall(grpcStatus: number | undefined): void {
    if (grpcStatus === undefined) return;
    this.grpcStatus = grpcStatus;
    this.status = 200;
  }

  /** It ends without a whole response. The first word counts. */
  broken(flag: ResponseFlag, details: string): void {
    if (this.flag !== '-') return;
    this.flag = flag;
    this.details = details;
  }

  /** What was carried since the last call, and where; a request may last for days. */
  carried(): CarriedBytes | undefined {
    const { service, cluster, about, bytesReceived, bytesSent } = this;
    const [received, sent] = [bytesReceived - this.#toldReceived, bytesSent - this.#toldSent];
    if (service === undefined || cluster === undefined || received + sent === 0) return undefined;
    this.#toldReceived = bytesReceived;
    this.#toldSent = bytesSent;
    return { direction: about.direction, destination: cluster, service, received, sent };
  }

  /** Once: whoever calls it first owns the end. */
  end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    return true;
  }

  /** `now`: monotonic, `wall`: wall clock, of this moment; ms. */
  entry(now: number, wall: number): AccessLogEntry {
    const { request } = this;
    const duration = now - this.startedAt;
    const connected = this.connectedAt ?? now;
    return {
      ...aboutClient(this.about, wall - duration),
      ...(this.rule !== undefined && { access_rule: this.rule }),
      ...(this.traceparent !== undefined && { traceparent: this.traceparent }),
      protocol: request.protocol,
      method: request.method ?? null,
      path: request.path ?? null,
      authority: request.authority ?? null,
      user_agent: request.userAgent ?? null,
      request_id: request.requestId ?? null,
      x_forwarded_for: request.forwardedFor ?? null,
      response_code: this.status,
      response_flags: this.flag,
      response_code_details: this.details ?? null,
      connection_termination_details: null,
      bytes_received: this.bytesReceived,
      bytes_sent: this.bytesSent,
      duration: Math.round(duration),
      connect_duration: Math.round(connected - this.startedAt),
      upstream_service_time: this.answeredAt === undefined ? null : Math.round(this.answeredAt - connected),
      upstream_host: this.host ?? null,
      upstream_request_attempt_count: this.attempts,
      destination_service: this.service ?? null,
      destination_port: this.port,
      destination_cluster: this.cluster ?? null,
      destination_reason: this.reason ?? null,
      ...(this.grpcStatus !== undefined && { grpc_response_status: this.grpcStatus }),
    };
  }
}

import type { AccessVerdict } from '../../../model/access.ts';
import type { ClusterName, ServiceKey } from '../../../model/names.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type { ConnectRequest } from '../../../wire/connect.ts';
import type { ConnectionFacts } from '../../access-log.ts';
import type { Permit } from '../../access/permit.ts';
import type { Exchange } from '../../http/exchange.ts';
import type { Tracer } from '../../http/trace/tracer.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Connections } from '../connections.ts';
import type { Dialled } from '../dial.ts';
import type { SpliceEnd } from '../splice.ts';
import type { H2Seats } from './h2-seats.ts';
import type { HttpPorts } from './ports.ts';
import type { Upstreams } from './upstreams.ts';

/** What all client connections whose requests are told apart have in common. */
export interface HttpContext {
  readonly self: ClusterName;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
  readonly upstreams: Upstreams;
  readonly ports: HttpPorts;
  /** Ways to upstreams for requests that came over HTTP/2. */
  readonly h2: H2Seats;
  readonly connections: Connections;
  /** Takes each request that goes on once a second: metrics of bytes. */
  readonly goesOn: (exchange: Exchange) => void;
  /** Takes each request after its end: log and metrics. */
  readonly ended: (exchange: Exchange) => void;
  /** The gateway takes nothing new: connections end with the request in progress. */
  readonly draining: () => boolean;
  /** Clients that can come back elsewhere are asked to, response by response; whoever comes is served all the same. */
  readonly sendsAway: () => boolean;
  /** Undefined: traces are passed on as they come. */
  readonly tracer: Tracer | undefined;
  /** 128 random bits in hex, for requests without `x-request-id`. */
  readonly requestId: () => string;
}

/** One client's connection whose requests are told apart. */
export interface HttpClient {
  /** Nothing of it was read, or what was read was put back. Without listeners. */
  readonly end: SpliceEnd;
  readonly service: ServiceKey;
  readonly port: number;
  readonly about: ConnectionFacts;
  /** The client's address without its port. */
  readonly source: string | undefined;
  /** What tunnels are opened with; undefined: it came through one, so that only endpoints here will do. */
  readonly onward: ConnectRequest | undefined;
  /** Judges each request; undefined: nothing is to be judged any more. */
  readonly judge: RequestJudge | undefined;
  /** By which it was let in; absent: a client of this cluster, which needs none. */
  readonly permit?: Permit;
  /** An upstream that was connected before the client was accepted, for its first request. */
  readonly opened: Dialled | undefined;
}

/** `target`: as received. */
export type RequestJudge = (method: string, target: string) => AccessVerdict<'allowed' | 'denied'>;

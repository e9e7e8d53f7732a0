import type { LimitName } from '../../model/gateway-limits.ts';
import type { ResponseFlag } from '../access-log.ts';
import type { Overflow } from '../balance/circuit.ts';

/** An answer that the gateway gives by itself. */
export interface Reply {
  /** HTTP status. */
  readonly status: number;
  readonly flag: ResponseFlag;
  /** One sentence for the client: what was wrong, nothing about what lies behind the gateway. */
  readonly reason: string;
  /** The same for the access log, as a short word of a closed set. */
  readonly details: string;
}

const reply =
  (status: number, flag: ResponseFlag, details: string) =>
  (reason: string): Reply => ({ status, flag, reason, details });

/** What a client sent cannot be understood, or understood in more than one way. */
export const malformed: (reason: string) => Reply = reply(400, 'DPE', 'malformed');
/** The head of a request did not come in time. */
export const headLate: Reply = reply(408, 'DPE', 'head_timeout')('The request did not arrive in time');
export const bodyTooLarge: Reply = reply(413, 'DPE', 'body_too_large')('The body is larger than this gateway carries');
export const targetTooLong: Reply = reply(414, 'DPE', 'target_too_long')('The request target is too long');
export const expectationUnknown: Reply = reply(
  417,
  'DPE',
  'expectation_unknown',
)("The only expectation that can be met is '100-continue'");
export const headTooLarge: (reason: string) => Reply = reply(431, 'DPE', 'head_too_large');
/** Well-formed, and nothing that is done here: CONNECT, transfer codings other than chunked. */
export const notImplemented: (reason: string) => Reply = reply(501, 'DPE', 'not_implemented');
export const versionUnknown: Reply = reply(505, 'DPE', 'version_unknown')('The HTTP version must be 1.0 or 1.1');
/** The client speaks HTTP/1, the service behind the port only HTTP/2. */
export const http2Only: Reply = reply(505, 'DPE', 'http2_only')('This service speaks HTTP/2');
/** Access rules refuse it. */
export const forbidden: Reply = reply(403, 'RBAC', 'rbac_access_denied')('Access is denied');
/** The service is not in the table any more. */
export const noRoute: Reply = reply(503, 'NR', 'no_route')('The service is not known here');
export const noEndpoint: Reply = reply(503, 'UH', 'no_healthy_upstream')('No instance of the service is available');
export const noConnection: Reply = reply(503, 'UF', 'upstream_connect_failed')('The service cannot be reached');
/** A bound of this gateway or of the service's policy is reached. */
export const overloaded: (bound: LimitName | Overflow) => Reply = (bound) =>
  reply(503, 'UO', `limit-${bound}`)('Too many requests are in progress');
export const upstreamTimeout: Reply = reply(504, 'UT', 'response_timeout')('The service did not answer in time');
/** The connection broke before the response began. */
export const upstreamReset: Reply = reply(502, 'UC', 'upstream_reset')('The service closed the connection');
/** What came is no response, or one that can be understood in more than one way. */
export const upstreamMalformed: Reply = reply(
  502,
  'UPE',
  'upstream_protocol_error',
)('The service did not answer in HTTP');

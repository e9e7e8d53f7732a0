import { IsthmusError } from '../../model/error.ts';
import type { CountedReason } from '../metrics/refusals.ts';

/** What a peer that dials in is refused for before it is known. */
export function handshakeFault({ code }: IsthmusError): Extract<CountedReason, `handshake-${string}`> {
  const named = code === 'unauthenticated' || code === 'denied' || code === 'timeout' || code === 'unavailable';
  return named ? `handshake-${code}` : 'handshake-internal';
}

/** What a gateway that was dialled is refused for. */
export type GatewayFault = Extract<CountedReason, `gateway-${string}`>;

/**
 * Whether a session ended because its peer broke the rules of HTTP/2, as Node names that: of the session as a whole, or
 * too many times of single streams. A peer that says goodbye with an error code accuses us instead.
 */
export function brokeRules(error: Error & { readonly code?: string }): boolean {
  return error.code?.startsWith('ERR_HTTP2_') === true && error.code !== 'ERR_HTTP2_SESSION_ERROR';
}

/** Why no session came about, if that was the fault of whoever answers there. Undefined: it is not to be reached. */
export function faultOf(error: unknown): GatewayFault | undefined {
  const { code, cause } = IsthmusError.from(error);
  if (code === 'unauthenticated' || code === 'denied' || code === 'timeout') return `gateway-${code}`;
  if (code === 'invalid') return 'gateway-alpn';
  if (!(cause instanceof Error)) return undefined;
  if (brokeRules(cause)) return 'gateway-protocol';
  // What is no TLS at all.
  const { code: low }: Error & { readonly code?: string } = cause;
  return low?.startsWith('ERR_SSL_') ? 'gateway-tls' : undefined;
}

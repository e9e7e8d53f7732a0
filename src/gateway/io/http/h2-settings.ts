import type { ClientSessionOptions, ServerSessionOptions, Settings } from 'node:http2';
import type { GatewayLimits } from '../../limits.ts';

/** Of one request that comes from next door: more would only be held for an upstream that is slower. */
const clientWindowBytes = 262_144;
/** What is a little too large is still read, so that it can be told; what is far too large is reset. */
const toldShare = 2;
/** In MB. Reached, Node refuses streams and in the end the session; `receiveBudgetBytes` bounds what is held. */
const maxSessionMemory = 4096;

/** What clients of this cluster are told. */
export function clientSettings(limits: GatewayLimits): Settings {
  return {
    enablePush: false,
    // RFC 8441 is not offered: WebSockets go by HTTP/1.1.
    enableConnectProtocol: false,
    initialWindowSize: Math.min(limits.streamWindowBytes, clientWindowBytes),
    maxConcurrentStreams: limits.httpStreams,
    maxHeaderListSize: limits.httpHeadBytes * toldShare,
  };
}

/** Bounds of Node's own towards clients. */
export function clientBounds(limits: GatewayLimits): ServerSessionOptions {
  return {
    maxSessionMemory,
    maxSettings: 32,
    maxHeaderListPairs: limits.httpFields * toldShare,
    maxSessionInvalidFrames: 100,
    // Node answers a thousand resets by ending the whole session without a word; `SessionGuard` bounds them instead.
    streamResetBurst: 1_000_000,
    streamResetRate: 100_000,
  };
}

/** What upstreams are told. */
export function upstreamSettings(limits: GatewayLimits): Settings {
  return {
    enablePush: false,
    initialWindowSize: limits.streamWindowBytes,
    maxHeaderListSize: limits.httpHeadBytes,
  };
}

/** Bounds of Node's own towards upstreams. */
export function upstreamBounds(limits: GatewayLimits): ClientSessionOptions {
  return {
    maxSessionMemory,
    maxSettings: 32,
    maxHeaderListPairs: limits.httpFields,
    // Pushes are refused by the settings; none is taken in all the same.
    maxReservedRemoteStreams: 0,
  };
}

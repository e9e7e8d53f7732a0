import type { ServerSessionOptions, SessionOptions, Settings } from 'node:http2';
import type { GatewayLimits } from '../limits.ts';

/** What both ends of a session announce. Header lists are small: a CONNECT has a handful of fields. */
export function settingsOf(limits: GatewayLimits): Settings {
  return {
    enablePush: false,
    initialWindowSize: limits.streamWindowBytes,
    maxConcurrentStreams: limits.streamsPerSession,
    maxHeaderListSize: 16_384,
  };
}

/** Bounds of Node's own, for both ends of a session. */
export const sessionBounds: SessionOptions = {
  // In MB. At its default of 10 some two hundred receivers that do not read are enough for every further stream of the
  // session to be refused, and a hundred refused streams for the session to be ended with all its tunnels. What is held
  // for slow receivers is bounded by `receiveBudgetBytes`.
  maxSessionMemory: 4096,
  maxSettings: 32,
  maxHeaderListPairs: 64,
};

/** The same, for the end that serves. */
export function serverBoundsOf({ invalidFrames }: GatewayLimits): ServerSessionOptions {
  return {
    ...sessionBounds,
    maxSessionInvalidFrames: invalidFrames,
    // A client that leaves resets its stream. Node answers a thousand resets by ending the whole session and every
    // tunnel on it, so its guard is opened for these authenticated peers; `SessionGuard` bounds what they may do.
    streamResetBurst: 1_000_000,
    streamResetRate: 100_000,
  };
}

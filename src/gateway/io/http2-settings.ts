import type { Settings } from 'node:http2';
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

/**
 * A client that leaves resets its stream. Node answers a thousand resets by ending the whole session and every tunnel
 * on it, so its guard is opened for these authenticated peers; `streamsPerSession` bounds what they can hold.
 */
export const resetAllowance: { readonly streamResetBurst: number; readonly streamResetRate: number } = {
  streamResetBurst: 1_000_000,
  streamResetRate: 100_000,
};

import { IsthmusError } from '../model/error.ts';
import { type GatewayLimits, type LimitName, limitNames, limitSpecs } from '../model/gateway-limits.ts';

export type { GatewayLimits } from '../model/gateway-limits.ts';

/** How much of each limit that can fill up is used; of those for each of many, by the one that uses most. */
export type LimitUse = Readonly<
  Record<
    Extract<
      LimitName,
      | 'connections'
      | 'pendingConnects'
      | 'pendingConnectsPerPeer'
      | 'connectionsPerPeer'
      | 'handshakes'
      | 'handshakesPerAddress'
      | 'inboundSessions'
      | 'sessionsPerPeer'
      | 'streamsPerSession'
      | 'sessionsPerGateway'
      | 'warmGateways'
      | 'waitersPerGateway'
      | 'receiveBudgetBytes'
      | 'receiveBudgetPerPeerBytes'
      | 'probesAtOnce'
    >,
    number
  >
>;

/** Fills in the defaults. @throws IsthmusError `invalid`, naming the limit and its value */
export function limitsOf(given: Partial<GatewayLimits> = {}): GatewayLimits {
  const limits: Record<string, number> = {};
  for (const name of limitNames) {
    const value = given[name] ?? limitSpecs[name].default;
    // Tests and demos may go below what a file may ask for; nobody may go below 1.
    if (!Number.isInteger(value) || value < 1 || value > Number.MAX_SAFE_INTEGER) {
      throw new IsthmusError(
        'invalid',
        `Cannot start the gateway as limit '${name}' must be an integer of at least 1: current value is ${value}`,
      );
    }
    limits[name] = value;
  }
  return limits as GatewayLimits;
}

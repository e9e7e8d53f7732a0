import { IsthmusError } from '../model/error.ts';

/** Every bound of a gateway. All are positive integers. */
export interface GatewayLimits {
  /** Connections carried at once, both ways together; more are reset, or refused with `overloaded`. */
  readonly connections: number;
  /** Of these, connections that one peer (a gateway of another cluster) may hold here. */
  readonly connectionsPerPeer: number;
  /** Of these, connections that are still being made; more are refused at once. */
  readonly pendingConnects: number;
  /** Sessions which other gateways may hold here. */
  readonly inboundSessions: number;
  /** Streams in one session, both as server and as client (where the peer's own limit may be lower). */
  readonly streamsPerSession: number;
  /** Sessions opened to one gateway when the first ones are full. */
  readonly sessionsPerGateway: number;
  /** Gateways of other clusters towards which a session is kept warm. */
  readonly warmGateways: number;
  /** Connections that wait for a session to become ready, per gateway. */
  readonly waitersPerGateway: number;
  /** HTTP/2 window of a stream: throughput ≈ 0.85 × window / RTT, and memory held by one stalled connection. */
  readonly streamWindowBytes: number;
  readonly sessionWindowBytes: number;
  /** Bytes buffered for slow receivers in the whole process; beyond it new streams are refused as `overloaded`. */
  readonly receiveBudgetBytes: number;
  /** Of these, bytes of the connections of one peer; beyond it that peer's new streams are refused. */
  readonly receiveBudgetPerPeerBytes: number;
  /** For one candidate, until it is connected. */
  readonly connectTimeoutMs: number;
  /** The next candidate starts beside a silent one after this, or after 4 × RTT if that is longer. */
  readonly raceAfterMs: number;
  /** Candidates tried for one connection. */
  readonly attempts: number;
  /** For all candidates of one connection together. */
  readonly connectDeadlineMs: number;
  /** TLS handshake and HTTP/2 settings, each. */
  readonly handshakeTimeoutMs: number;
  /** Between pings of a session that is in use. */
  readonly pingIntervalMs: number;
  /** Between pings of a session that is not, and of sessions which others opened. */
  readonly idlePingIntervalMs: number;
  /** A session without a byte for so long while a ping is outstanding is dead. */
  readonly silenceMs: number;
  /** The same for sessions that others opened: the dialling side decides first. */
  readonly inboundSilenceMs: number;
  /** Longest pause between attempts to reach a lost gateway. */
  readonly reconnectMaxMs: number;
  /** A connection without a byte in either direction for so long is cut. */
  readonly idleTimeoutMs: number;
  /** An aborted connection whose other side does not take what is already on its way is cut after this. */
  readonly lingerMs: number;
  readonly probeInitialMs: number;
  readonly probeMaxMs: number;
  readonly probeTimeoutMs: number;
  /** Probes of ejected endpoints and services in flight. */
  readonly probesAtOnce: number;
  /** Between probes of a gateway of a cluster for which there is no traffic here. */
  readonly clusterProbeIntervalMs: number;
}

/** How much of each limit that can fill up is used; of those for each of many, by the one that uses most. */
export type LimitUse = Readonly<
  Record<
    | 'connections'
    | 'pendingConnects'
    | 'connectionsPerPeer'
    | 'inboundSessions'
    | 'streamsPerSession'
    | 'sessionsPerGateway'
    | 'warmGateways'
    | 'waitersPerGateway'
    | 'receiveBudgetBytes'
    | 'receiveBudgetPerPeerBytes'
    | 'probesAtOnce',
    number
  >
>;

export const defaultLimits: GatewayLimits = {
  connections: 8192,
  connectionsPerPeer: 4096,
  pendingConnects: 2048,
  inboundSessions: 1024,
  streamsPerSession: 8192,
  sessionsPerGateway: 4,
  warmGateways: 256,
  waitersPerGateway: 1024,
  streamWindowBytes: 1_048_576,
  sessionWindowBytes: 4_194_304,
  receiveBudgetBytes: 268_435_456,
  receiveBudgetPerPeerBytes: 134_217_728,
  connectTimeoutMs: 2000,
  raceAfterMs: 250,
  attempts: 8,
  connectDeadlineMs: 10_000,
  handshakeTimeoutMs: 5000,
  pingIntervalMs: 250,
  idlePingIntervalMs: 1000,
  silenceMs: 750,
  inboundSilenceMs: 10_000,
  reconnectMaxMs: 1000,
  idleTimeoutMs: 3_600_000,
  lingerMs: 30_000,
  probeInitialMs: 250,
  probeMaxMs: 5000,
  probeTimeoutMs: 1000,
  probesAtOnce: 64,
  clusterProbeIntervalMs: 10_000,
};

/** Fills in the defaults. @throws IsthmusError `invalid`, naming the limit and its value */
export function limitsOf(given: Partial<GatewayLimits> = {}): GatewayLimits {
  const limits = { ...defaultLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isInteger(value) && value >= 1 && value <= 2_147_483_647) continue;
    throw new IsthmusError(
      'invalid',
      `Cannot start the gateway as limit '${name}' must be an integer from 1 to 2147483647: current value is ${value}`,
    );
  }
  return limits;
}

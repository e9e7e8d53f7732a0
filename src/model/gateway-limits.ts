/** Every bound of a gateway has a name, a default and a range; all are whole numbers. */
export type LimitName =
  | 'connections'
  | 'connectionsPerPeer'
  | 'pendingConnects'
  | 'pendingConnectsPerPeer'
  | 'handshakes'
  | 'handshakesPerAddress'
  | 'inboundSessions'
  | 'sessionsPerPeer'
  | 'streamsPerSession'
  | 'resetsPerSecond'
  | 'resetBurst'
  | 'controlFramesPerSecond'
  | 'controlFrameBurst'
  | 'invalidFrames'
  | 'sessionsPerGateway'
  | 'warmGateways'
  | 'waitersPerGateway'
  | 'streamWindowBytes'
  | 'sessionWindowBytes'
  | 'receiveBudgetBytes'
  | 'receiveBudgetPerPeerBytes'
  | 'connectTimeoutMs'
  | 'raceAfterMs'
  | 'attempts'
  | 'connectDeadlineMs'
  | 'handshakeTimeoutMs'
  | 'pingIntervalMs'
  | 'idlePingIntervalMs'
  | 'silenceMs'
  | 'inboundSilenceMs'
  | 'reconnectMaxMs'
  | 'idleTimeoutMs'
  | 'lingerMs'
  | 'probeInitialMs'
  | 'probeMaxMs'
  | 'probeTimeoutMs'
  | 'probesAtOnce'
  | 'clusterProbeIntervalMs'
  | 'httpHeadBytes'
  | 'httpTargetBytes'
  | 'httpFields'
  | 'httpBodyBytes'
  | 'httpReplayBytes'
  | 'httpHeadTimeoutMs'
  | 'httpDetectMs'
  | 'httpKeepAliveMs'
  | 'httpUpstreams'
  | 'httpUpstreamsPerPlace'
  | 'httpUpstreamIdleMs'
  | 'httpTunnelAgeMs'
  | 'httpStreams'
  | 'httpSessionsPerPlace';

export type GatewayLimits = Readonly<Record<LimitName, number>>;

/** One limit as people read and set it. Names that end in `Ms` are durations; in files they go without that. */
export interface LimitSpec {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  /** What it bounds. */
  readonly about: string;
  /** What happens when it is reached. */
  readonly reached: string;
}

const million = 1_000_000;
const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];
const [mebibyte, gibibyte] = [1_048_576, 1_073_741_824];

/** All limits, in the order in which they are explained. */
export const limitSpecs: Readonly<Record<LimitName, LimitSpec>> = {
  connections: {
    default: 8192,
    min: 1,
    max: million,
    about: 'Connections carried at once, both ways together.',
    reached:
      'A plain client is reset, or on an HTTP port told 503, so many at a time; another gateway gets 503 `overloaded` and goes elsewhere; flag `UO`.',
  },
  connectionsPerPeer: {
    default: 4096,
    min: 1,
    max: million,
    about: 'Of these, connections that one peer (a gateway of another cluster) may hold.',
    reached: '503 `overloaded` for that peer only; flag `UO`.',
  },
  pendingConnects: {
    default: 2048,
    min: 1,
    max: million,
    about: 'Of these, connections that are still being made.',
    reached: 'As `connections`: at once, nothing waits.',
  },
  pendingConnectsPerPeer: {
    default: 1024,
    min: 1,
    max: million,
    about: 'Of these, connections that one peer may have in the making.',
    reached: 'As `connectionsPerPeer`.',
  },
  handshakes: {
    default: 1024,
    min: 1,
    max: 100_000,
    about: 'TCP connections whose peer has not proved yet who it is.',
    reached: 'The oldest of the address that has most of them is reset: peers prove themselves in a few round trips.',
  },
  handshakesPerAddress: {
    default: 64,
    min: 1,
    max: 100_000,
    about: 'Of these, connections from one address; a cluster behind one address has some ten.',
    reached: 'The oldest of that address is reset.',
  },
  inboundSessions: {
    default: 1024,
    min: 1,
    max: 10_000,
    about: 'Sessions that peers hold here.',
    reached: 'The TCP connection is reset before TLS.',
  },
  sessionsPerPeer: {
    default: 32,
    min: 1,
    max: 10_000,
    about: 'Of these, sessions of one peer.',
    reached: 'The session is closed after the handshake has named the peer.',
  },
  streamsPerSession: {
    default: 8192,
    min: 1,
    max: million,
    about: `Connections in one session, as server and as client; the peer's own limit may be lower.`,
    reached: 'Another session is opened; beyond `sessionsPerGateway` the next gateway is tried.',
  },
  resetsPerSecond: {
    default: 1000,
    min: 1,
    max: million,
    about:
      'Streams a second that one peer gives up before they are answered (CVE-2023-44487), in all its sessions. Far above what clients who leave, and attempts that were overtaken, amount to.',
    reached:
      'The session is ended with ENHANCE_YOUR_CALM, and the peer gets no other until half of `resetBurst` is there again; counted as `rapid-reset`.',
  },
  resetBurst: {
    default: 5000,
    min: 1,
    max: million,
    about: 'So many of them at once are still well: all that another gateway may have pending, twice over.',
    reached: 'As `resetsPerSecond`.',
  },
  controlFramesPerSecond: {
    default: 100,
    min: 1,
    max: 100_000,
    about:
      'PING and SETTINGS frames a second of the peer of one session. Gateways of ours send four, others some ten to measure the bandwidth.',
    reached: 'The session is ended with ENHANCE_YOUR_CALM; counted as `control-flood`.',
  },
  controlFrameBurst: {
    default: 500,
    min: 1,
    // The library gives up at a thousand answers that it could not send, without a word to the peer.
    max: 900,
    about: 'So many of them at once are still well.',
    reached: 'As `controlFramesPerSecond`.',
  },
  invalidFrames: {
    default: 100,
    min: 1,
    max: million,
    about: 'Frames of one session that break the rules of their stream only, which is then reset.',
    reached: 'The session is ended; counted as `session-protocol`.',
  },
  sessionsPerGateway: {
    default: 4,
    min: 1,
    max: 64,
    about: 'Sessions opened to one gateway while the first ones are busy.',
    reached: 'The sessions there are used until they are full.',
  },
  warmGateways: {
    default: 256,
    min: 1,
    max: 10_000,
    about: 'Gateways of other clusters towards which a session is kept, or which are probed.',
    reached: 'The ones beyond it are not used; one line in the log.',
  },
  waitersPerGateway: {
    default: 1024,
    min: 1,
    max: million,
    about: 'Connections that wait for a session to one gateway.',
    reached: 'The next candidate is tried at once.',
  },
  streamWindowBytes: {
    default: mebibyte,
    min: 65_535,
    max: 64 * mebibyte,
    about: 'HTTP/2 window of one connection: speed over distance is about 0.85 × this / round trip.',
    reached: 'The sender waits; a stalled connection holds as much.',
  },
  sessionWindowBytes: {
    default: 4 * mebibyte,
    min: 65_535,
    max: gibibyte,
    about: 'HTTP/2 window of one session.',
    reached: 'The sender waits.',
  },
  receiveBudgetBytes: {
    default: 256 * mebibyte,
    min: mebibyte,
    max: 64 * gibibyte,
    about:
      'Bytes held for slow receivers in the whole process, weighed four times a second; resident memory may grow by four times as much.',
    reached: 'New connections are turned away as with `connections` until receivers catch up.',
  },
  receiveBudgetPerPeerBytes: {
    default: 128 * mebibyte,
    min: mebibyte,
    max: 64 * gibibyte,
    about: 'Of these, bytes of the connections of one peer.',
    reached: '503 `overloaded` for that peer only.',
  },
  connectTimeoutMs: {
    default: 2000,
    min: 10,
    max: minute,
    about: 'For one candidate, until it is connected; at least 10 round trips on a long way.',
    reached: 'The next candidate; this one counts as failed.',
  },
  raceAfterMs: {
    default: 250,
    min: 10,
    max: minute,
    about: 'Silence of a candidate; at least 4 round trips on a long way.',
    reached: 'The next candidate starts beside it; the first to answer is used.',
  },
  attempts: {
    default: 8,
    min: 1,
    max: 64,
    about: 'Candidates of one connection.',
    reached: 'The client is reset, or gets 503; flag `URX`.',
  },
  connectDeadlineMs: {
    default: 10_000,
    min: 10,
    max: 10 * minute,
    about: 'For all candidates of one connection together.',
    reached: 'As `attempts`.',
  },
  handshakeTimeoutMs: {
    default: 5000,
    min: 100,
    max: minute,
    about: 'For the TLS handshake and for the HTTP/2 settings, each.',
    reached: 'The connection is closed.',
  },
  pingIntervalMs: {
    default: 250,
    min: 10,
    max: minute,
    about: 'Between pings of a session in use.',
    reached: 'A ping.',
  },
  idlePingIntervalMs: {
    default: 1000,
    min: 10,
    max: 10 * minute,
    about: 'Between pings of a session not in use, and of those that peers opened.',
    reached: 'A ping.',
  },
  silenceMs: {
    default: 750,
    min: 20,
    max: 10 * minute,
    about: 'Without any byte while a ping is unanswered.',
    reached: 'The session is dead, its connections are reset, the gateway is out of use.',
  },
  inboundSilenceMs: {
    default: 10_000,
    min: 20,
    max: 10 * minute,
    about: 'The same for sessions that peers opened; the side that dials decides first.',
    reached: 'The session is closed.',
  },
  reconnectMaxMs: {
    default: 1000,
    min: 50,
    max: 10 * minute,
    about: 'Longest pause between attempts to reach a lost gateway.',
    reached: 'An attempt.',
  },
  idleTimeoutMs: {
    default: hour,
    min: 1000,
    max: 7 * day,
    about: 'A connection without a byte in either direction.',
    reached: 'Both sides are reset; flag `SI`.',
  },
  lingerMs: {
    default: 30_000,
    min: 100,
    max: hour,
    about: 'An aborted connection whose other side does not take what is on its way.',
    reached: 'It is cut.',
  },
  probeInitialMs: {
    default: 250,
    min: 10,
    max: minute,
    about: 'From an ejection to the first probe; then twice as long each time.',
    reached: 'A probe.',
  },
  probeMaxMs: {
    default: 5000,
    min: 10,
    max: hour,
    about: 'Longest pause between probes of something ejected.',
    reached: 'A probe.',
  },
  probeTimeoutMs: {
    default: 1000,
    min: 10,
    max: minute,
    about: 'For the answer to a probe.',
    reached: 'The probe has failed.',
  },
  probesAtOnce: {
    default: 64,
    min: 1,
    max: 10_000,
    about: 'Probes of ejected endpoints and services in flight.',
    reached: 'The others wait for the next look, 250 ms later.',
  },
  clusterProbeIntervalMs: {
    default: 10_000,
    min: 500,
    max: hour,
    about: 'Between probes of a gateway of a cluster that serves nothing routed here.',
    reached: 'A probe by one gateway of this cluster.',
  },
  httpHeadBytes: {
    default: 32_768,
    min: 1024,
    max: 262_144,
    about: 'The head of a request or of a response: first line and fields. Of trailers as well.',
    reached: '431 to the client, 502 when it is a response; the connection is closed.',
  },
  httpTargetBytes: {
    default: 8192,
    min: 128,
    max: 65_536,
    about: 'The target of a request.',
    reached: '414; the connection is closed.',
  },
  httpFields: {
    default: 100,
    min: 8,
    max: 1000,
    about: 'Header fields of a request or of a response.',
    reached: 'As `httpHeadBytes`.',
  },
  httpBodyBytes: {
    default: 1024 * gibibyte,
    min: 1,
    max: 1024 * gibibyte,
    about: 'The body of a request.',
    reached: '413; the connection is closed.',
  },
  httpReplayBytes: {
    default: 65_536,
    min: 1,
    max: 16 * mebibyte,
    about: 'Of the body of a request, what is kept so that it can be sent once more.',
    reached: 'The request is not tried again.',
  },
  httpHeadTimeoutMs: {
    default: 10_000,
    min: 10,
    max: hour,
    about: 'From the first byte of a request to the end of its head.',
    reached: '408; the connection is closed.',
  },
  httpDetectMs: {
    default: 100,
    min: 1,
    max: minute,
    about: 'Where detection is on: until a client must have said something.',
    reached: 'The connection is carried as bytes: its server may be the one to begin.',
  },
  httpKeepAliveMs: {
    default: 75_000,
    min: 10,
    max: day,
    about: `A client's connection on which no request is in progress.`,
    reached: 'It is closed.',
  },
  httpUpstreams: {
    default: 4096,
    min: 1,
    max: million,
    about: 'Connections to upstreams of one service port that wait for their next request.',
    reached: 'A connection is closed after its response instead.',
  },
  httpUpstreamsPerPlace: {
    default: 512,
    min: 1,
    max: million,
    about: 'Of these, connections to one endpoint, or through one gateway.',
    reached: 'As `httpUpstreams`.',
  },
  httpUpstreamIdleMs: {
    default: 30_000,
    min: 10,
    max: day,
    about: 'A connection to an upstream that waits for its next request; less when the upstream says so.',
    reached: 'It is closed.',
  },
  httpTunnelAgeMs: {
    default: 10_000,
    min: 10,
    max: day,
    about:
      'A tunnel that requests share, give or take a half: it ends at one endpoint, and others shall have their part.',
    reached: 'It is closed after its response.',
  },
  httpStreams: {
    default: 1024,
    min: 1,
    max: 65_536,
    about: `Requests in progress on one HTTP/2 connection of a client.`,
    reached: 'The client waits, or its stream is refused.',
  },
  httpSessionsPerPlace: {
    default: 16,
    min: 1,
    max: 1024,
    about: 'HTTP/2 connections to one endpoint, or through one gateway, for callers of one identity.',
    reached: 'A request waits for another to end, as long as for a connection; then 503, flag `UO`.',
  },
};

/** In their order. */
export const limitNames: readonly LimitName[] = Object.keys(limitSpecs) as LimitName[];

/** Whether the limit is a time. */
export function isDuration(name: LimitName): boolean {
  return name.endsWith('Ms');
}

/** The key in a configuration file: durations are written with their unit, so the name goes without it. */
export function limitKey(name: LimitName): string {
  return isDuration(name) ? name.slice(0, -'Ms'.length) : name;
}

import type { SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { AccessLog, AccessLogEntry, ResponseFlag } from '../access-log.ts';
import type { Overflow } from '../balance/circuit.ts';
import { type Candidate, race, type RaceResult } from '../balance/race.ts';
import type { Outcome } from '../balance/service-book.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import type { GatewayLimits } from '../limits.ts';
import { type Holder, tooMuch } from '../tunnel/too-much.ts';
import type { Dialled } from './dial.ts';
import { abortEnd, type Splice, type SpliceCause, type SpliceEnd, type SpliceResult, splice } from './splice.ts';

/** A client that was accepted and where it may go. */
export interface CarryRequest {
  readonly client: SpliceEnd;
  readonly entry: ServiceEntry;
  readonly port: number;
  readonly candidates: readonly Candidate<Dialled>[];
  readonly about: ConnectionFacts;
  /** Tells the client that it is connected; undefined for a plain one, which needs no word. */
  readonly accept?: (() => void) | undefined;
  /** Tells the client that nothing could be reached. */
  readonly refuse: (why: 'no-ready-endpoint' | 'connect-failed') => void;
}

/** What the access log says of the client's side. */
export interface ConnectionFacts {
  readonly direction: AccessLogEntry['direction'];
  readonly remoteAddress: string | undefined;
  readonly sourceCluster: ClusterName | undefined;
  readonly peer: SpiffeId | undefined;
  readonly sourceIdentity: SpiffeId | undefined;
  /** What allowed or denied it; undefined for a plain client. */
  readonly rule: string | undefined;
  readonly traceparent: string | undefined;
}

export interface ConnectionsOptions {
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly accessLog: AccessLog | undefined;
}

/** Which bound keeps another connection out. */
export type Overload = Overflow | 'connections' | 'pendingConnects' | 'connectionsPerPeer' | ReceiveOverload;
type ReceiveOverload = 'receiveBudgetBytes' | 'receiveBudgetPerPeerBytes';

/** A connection that is turned away before anything was tried. */
export interface TurnedAway {
  readonly about: ConnectionFacts;
  /** Undefined: nothing that is known here. */
  readonly entry: ServiceEntry | undefined;
  readonly port: number | undefined;
  readonly flag: ResponseFlag;
  /** Status of the answer; 0 for a plain client. */
  readonly status: number;
  readonly details: string;
}

/** Cut at once, so that closing thousands does not hold up the ones that stay. */
const cutSlice = 200;

/** How one connection ended. */
interface Ending {
  readonly result: SpliceResult;
  readonly flag: ResponseFlag;
  readonly details: string | undefined;
  readonly dialled: Dialled | undefined;
  readonly attempts: number;
  readonly connectedAt: number;
}

const nothing = (cause: SpliceCause): SpliceResult => ({ cause, bytesFromClient: 0, bytesFromUpstream: 0 });

/** Whoever counts connections. */
interface Owner {
  /** It is connected, or will not be. */
  settled(): void;
  ended(carried: Carried): void;
}

/** One connection from its acceptance to its end. */
class Carried {
  readonly #request: CarryRequest;
  readonly #options: ConnectionsOptions;
  readonly #owner: Owner;
  readonly #startedAt: number;
  readonly #startTime: number;
  #stopRace: (() => void) | undefined;
  #splice: Splice | undefined;
  #settled = false;

  constructor(request: CarryRequest, options: ConnectionsOptions, owner: Owner) {
    this.#request = request;
    this.#options = options;
    this.#owner = owner;
    this.#startedAt = options.clock.monotonic();
    this.#startTime = options.clock.now();
  }

  get peer(): SpiffeId | undefined {
    return this.#request.about.peer;
  }

  start(): void {
    const { client, candidates, entry } = this.#request;
    entry.circuit.begin();
    const left = (): void => this.#left();
    // Nothing of the client is read before an upstream has won: what it sends waits in its socket.
    client.on('error', left).on('close', left);
    if (client.destroyed) return left();
    this.#stopRace = race(candidates, {
      clock: this.#options.clock,
      rules: this.#options.limits,
      done: (result) => {
        client.off('error', left).off('close', left);
        if (result.won) this.#join(result.won, result.attempts);
        else this.#failed(result);
      },
    });
  }

  buffered(): number {
    return this.#splice?.buffered() ?? 0;
  }

  sweep(now: number): void {
    const { idleTimeoutMs, lingerMs } = this.#options.limits;
    const wanted = this.#request.entry.connection.idleTimeoutMs;
    this.#splice?.sweep(now, { idleTimeoutMs: wanted ?? idleTimeoutMs, lingerMs });
  }

  cut(why: 'cut' | 'overload' = 'cut'): void {
    if (this.#splice) return this.#splice.cut(why);
    abortEnd(this.#request.client);
  }

  /** The client went before anything was connected. */
  #left(): void {
    const { client } = this.#request;
    client
      .removeAllListeners('error')
      .removeAllListeners('close')
      .on('error', () => undefined);
    abortEnd(client);
    this.#stopRace?.();
    this.#end({ ...this.#unconnected('DC', 'client left before it was connected'), result: nothing('client-reset') });
  }

  #failed(result: RaceResult<Dialled>): void {
    const { candidates, refuse } = this.#request;
    refuse(candidates.length === 0 ? 'no-ready-endpoint' : 'connect-failed');
    const flag = candidates.length === 0 ? 'UH' : result.attempts > 1 ? 'URX' : 'UF';
    this.#end({
      ...this.#unconnected(flag, result.error?.message ?? 'no target serves this port'),
      attempts: result.attempts,
    });
  }

  #unconnected(flag: ResponseFlag, details: string): Ending {
    const connectedAt = this.#options.clock.monotonic();
    return { result: nothing('upstream-reset'), flag, details, dialled: undefined, attempts: 0, connectedAt };
  }

  #join(dialled: Dialled, attempts: number): void {
    const connectedAt = this.#options.clock.monotonic();
    this.#settle();
    // Thousands of idle connections need not remember how they were made.
    this.#stopRace = undefined;
    this.#request.accept?.();
    this.#splice = splice(this.#request.client, dialled.end, (result) => {
      dialled.release(outcomeOf(result));
      this.#end({ result, flag: flagOf(result), details: detailsOf(result), dialled, attempts, connectedAt });
    });
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#request.entry.circuit.settled();
    this.#owner.settled();
  }

  #end(ending: Ending): void {
    this.#settle();
    this.#request.entry.circuit.ended();
    this.#owner.ended(this);
    this.#options.accessLog?.(this.#entry(ending));
  }

  #entry({ result, flag, details, dialled, attempts, connectedAt }: Ending): AccessLogEntry {
    const { entry, port, about, accept } = this.#request;
    const destination = dialled?.cluster;
    const refused = destination === undefined ? 503 : 200;
    return {
      ...aboutClient(about, this.#startTime),
      response_code: accept ? refused : 0,
      response_flags: flag,
      connection_termination_details: details ?? null,
      bytes_received: result.bytesFromClient,
      bytes_sent: result.bytesFromUpstream,
      duration: Math.round(this.#options.clock.monotonic() - this.#startedAt),
      connect_duration: Math.round(connectedAt - this.#startedAt),
      upstream_host: dialled?.host ?? null,
      upstream_request_attempt_count: attempts,
      destination_service: entry.route.key,
      destination_port: port,
      destination_cluster: destination ?? null,
      destination_reason: (destination && entry.result.reasons.get(destination)) ?? null,
    };
  }
}

type ClientFields = Pick<
  AccessLogEntry,
  | 'start_time'
  | 'direction'
  | 'protocol'
  | 'downstream_remote_address'
  | 'source_cluster'
  | 'peer_identity'
  | 'source_identity'
  | 'access_rule'
  | 'traceparent'
>;

function aboutClient(about: ConnectionFacts, startTime: number): ClientFields {
  return {
    start_time: new Date(startTime).toISOString(),
    direction: about.direction,
    protocol: about.direction === 'inbound' ? 'CONNECT' : 'TCP',
    downstream_remote_address: about.remoteAddress ?? null,
    source_cluster: about.sourceCluster ?? null,
    peer_identity: about.peer ?? null,
    source_identity: about.sourceIdentity ?? null,
    access_rule: about.rule ?? null,
    traceparent: about.traceparent ?? null,
  };
}

function outcomeOf({ cause, bytesFromUpstream }: SpliceResult): Outcome {
  if (bytesFromUpstream > 0 || cause === 'complete') return 'good';
  return cause === 'upstream-reset' ? 'reset' : 'neutral';
}

function flagOf({ cause }: SpliceResult): ResponseFlag {
  switch (cause) {
    case 'complete':
      return '-';
    case 'client-reset':
      return 'DC';
    case 'upstream-reset':
      return 'UC';
    case 'idle':
      return 'SI';
    case 'cut':
      return 'LR';
    case 'overload':
      return 'UO';
  }
}

function detailsOf({ cause }: SpliceResult): string | undefined {
  return cause === 'complete' ? undefined : cause;
}

/** What one peer holds. */
interface PeerUse {
  open: number;
  buffered: number;
}

/** All connections of this gateway, both ways. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<Carried>();
  readonly #peers = new Map<SpiffeId, PeerUse>();
  readonly #whenEmpty = new Set<() => void>();
  #pending = 0;
  #buffered = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Connections that are still being made. */
  get pending(): number {
    return this.#pending;
  }

  /** Bytes that waited for slow receivers at the last sweep. */
  get buffered(): number {
    return this.#buffered;
  }

  /** The most that one peer holds: connections, and bytes at the last sweep. */
  get busiestPeer(): Readonly<PeerUse> {
    const most = { open: 0, buffered: 0 };
    for (const { open, buffered } of this.#peers.values()) {
      most.open = Math.max(most.open, open);
      most.buffered = Math.max(most.buffered, buffered);
    }
    return most;
  }

  /** The bound that another connection of this service, and of this peer, would break; undefined: it fits. */
  overload(entry: ServiceEntry, peer: SpiffeId | undefined): Overload | undefined {
    const { limits } = this.#options;
    if (this.#open.size >= limits.connections) return 'connections';
    if (this.#pending >= limits.pendingConnects) return 'pendingConnects';
    if (this.#buffered > limits.receiveBudgetBytes) return 'receiveBudgetBytes';
    const use = peer && this.#peers.get(peer);
    if (use && use.open >= limits.connectionsPerPeer) return 'connectionsPerPeer';
    if (use && use.buffered > limits.receiveBudgetPerPeerBytes) return 'receiveBudgetPerPeerBytes';
    return entry.circuit.overflow(entry.connection);
  }

  carry(request: CarryRequest): void {
    const carried = new Carried(request, this.#options, {
      settled: () => {
        this.#pending -= 1;
      },
      ended: (ended) => this.#remove(ended),
    });
    this.#open.add(carried);
    this.#pending += 1;
    const { peer } = carried;
    if (peer !== undefined) {
      const use = this.#peers.get(peer) ?? { open: 0, buffered: 0 };
      use.open += 1;
      this.#peers.set(peer, use);
    }
    carried.start();
  }

  /** Writes the entry of a connection that was turned away. */
  turnedAway({ about, entry, port, flag, status, details }: TurnedAway): void {
    this.#options.accessLog?.({
      ...aboutClient(about, this.#options.clock.now()),
      response_code: status,
      response_flags: flag,
      connection_termination_details: details,
      bytes_received: 0,
      bytes_sent: 0,
      duration: 0,
      connect_duration: 0,
      upstream_host: null,
      upstream_request_attempt_count: 0,
      destination_service: entry?.route.key ?? null,
      destination_port: port ?? null,
      destination_cluster: null,
      destination_reason: null,
    });
  }

  /**
   * Call about once a second: ends what is idle and weighs what is buffered. Refusing new connections does not shrink
   * what the present ones hold, so the ones that hold most are reset until the rest is within bounds.
   */
  sweep(now: number): void {
    const { receiveBudgetBytes, receiveBudgetPerPeerBytes } = this.#options.limits;
    const holders: Holder<Carried>[] = [];
    for (const carried of this.#open) {
      carried.sweep(now);
      const bytes = carried.buffered();
      if (bytes > 0) holders.push({ holder: carried, peer: carried.peer, bytes });
    }
    const shed = tooMuch(holders, { total: receiveBudgetBytes, perPeer: receiveBudgetPerPeerBytes });
    this.#buffered = 0;
    for (const use of this.#peers.values()) use.buffered = 0;
    for (const { holder, peer, bytes } of holders) {
      this.#buffered += bytes;
      const use = peer && this.#peers.get(peer);
      if (use) use.buffered += bytes;
      if (shed.has(holder)) holder.cut('overload');
    }
  }

  /** Resolves when there is none. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#whenEmpty.add(resolve));
  }

  /** Resets all, a slice at a time. */
  cutAll(): void {
    const slice = [...this.#open].slice(0, cutSlice);
    for (const carried of slice) carried.cut();
    if (this.#open.size > slice.length) this.#options.clock.schedule(1, () => this.cutAll());
  }

  #remove(carried: Carried): void {
    this.#open.delete(carried);
    const use = carried.peer && this.#peers.get(carried.peer);
    if (use && carried.peer) {
      use.open -= 1;
      if (use.open === 0) this.#peers.delete(carried.peer);
    }
    if (this.#open.size > 0) return;
    for (const resolve of this.#whenEmpty) resolve();
    this.#whenEmpty.clear();
  }
}

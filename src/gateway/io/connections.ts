import type { SpiffeId } from '../../model/identity.ts';
import { aboutClient, type ConnectionFacts, type ResponseFlag } from '../access-log.ts';
import type { Overflow } from '../balance/circuit.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import { type Holder, tooMuch } from '../tunnel/too-much.ts';
import { Carried, type CarriedOptions, type CarryRequest, type Held } from './carried.ts';

/** Which bound keeps another connection out. */
export type Overload =
  | Overflow
  | 'connections'
  | 'pendingConnects'
  | 'connectionsPerPeer'
  | 'pendingConnectsPerPeer'
  | ReceiveOverload;
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

/** Beyond the bound of connections, those that are only there to be told so: a part of it, and never fewer. */
const [partInWords, fewestInWords] = [1 / 16, 16];
/** Cut at once, so that closing thousands does not hold up the ones that stay. */
const cutSlice = 200;

/** What one peer holds. */
interface PeerUse {
  open: number;
  /** Of these, those that are still being made. */
  pending: number;
  buffered: number;
}

/** All connections of this gateway, both ways. */
export class Connections {
  readonly #options: CarriedOptions;
  readonly #open = new Set<Held>();
  readonly #peers = new Map<SpiffeId, PeerUse>();
  readonly #whenEmpty = new Set<() => void>();
  #pending = 0;
  #buffered = 0;

  constructor(options: CarriedOptions) {
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

  /** The most that one peer holds: connections, those in the making, and bytes at the last weighing. */
  get busiestPeer(): Readonly<PeerUse> {
    const most = { open: 0, pending: 0, buffered: 0 };
    for (const { open, pending, buffered } of this.#peers.values()) {
      most.open = Math.max(most.open, open);
      most.pending = Math.max(most.pending, pending);
      most.buffered = Math.max(most.buffered, buffered);
    }
    return most;
  }

  /** The bound of the gateway that one more client, whose requests are counted one by one, would break. */
  get full(): Overload | undefined {
    const { limits } = this.#options;
    if (this.#open.size >= limits.connections) return 'connections';
    return this.#buffered > limits.receiveBudgetBytes ? 'receiveBudgetBytes' : undefined;
  }

  /** Whether one more may be told why it is turned away: those are bounded as well. */
  get roomForWords(): boolean {
    const { connections } = this.#options.limits;
    return this.#open.size < connections + Math.max(fewestInWords, connections * partInWords);
  }

  /** The bound that another connection of this service, and of this peer, would break; undefined: it fits. */
  overload(entry: ServiceEntry, peer: SpiffeId | undefined): Overload | undefined {
    const { limits } = this.#options;
    if (this.full) return this.full;
    if (this.#pending >= limits.pendingConnects) return 'pendingConnects';
    const use = peer && this.#peers.get(peer);
    if (use && use.open >= limits.connectionsPerPeer) return 'connectionsPerPeer';
    if (use && use.pending >= limits.pendingConnectsPerPeer) return 'pendingConnectsPerPeer';
    if (use && use.buffered > limits.receiveBudgetPerPeerBytes) return 'receiveBudgetPerPeerBytes';
    return entry.circuit.overflow(entry.connection);
  }

  /** The same for another request on a connection that is there. */
  overRequests(entry: ServiceEntry, peer: SpiffeId | undefined): Overload | undefined {
    const { limits } = this.#options;
    if (this.#buffered > limits.receiveBudgetBytes) return 'receiveBudgetBytes';
    const use = peer && this.#peers.get(peer);
    if (use && use.buffered > limits.receiveBudgetPerPeerBytes) return 'receiveBudgetPerPeerBytes';
    return entry.circuit.overflow(entry.connection);
  }

  carry(request: CarryRequest): void {
    const { peer } = request.about;
    const carried = new Carried(request, this.#options, {
      settled: () => this.#pend(-1, peer),
      ended: (ended) => this.remove(ended),
    });
    this.add(carried);
    this.#pend(1, peer);
    carried.start();
  }

  #pend(more: 1 | -1, peer: SpiffeId | undefined): void {
    this.#pending += more;
    const use = peer && this.#peers.get(peer);
    if (use) use.pending += more;
  }

  /** One more, which somebody else carries; `remove` must follow. */
  add(held: Held): void {
    this.#open.add(held);
    const { peer } = held;
    if (peer === undefined) return;
    const use = this.#peers.get(peer) ?? { open: 0, pending: 0, buffered: 0 };
    use.open += 1;
    this.#peers.set(peer, use);
  }

  remove(held: Held): void {
    if (!this.#open.delete(held)) return;
    const use = held.peer && this.#peers.get(held.peer);
    if (use && held.peer) {
      use.open -= 1;
      if (use.open === 0) this.#peers.delete(held.peer);
    }
    if (this.#open.size > 0) return;
    for (const resolve of this.#whenEmpty) resolve();
    this.#whenEmpty.clear();
  }

  /** The gateway drains: whoever knows where one request ends and the next begins takes no more. */
  drain(): void {
    for (const held of this.#open) held.drain();
  }

  /** The table has changed: what it does not allow any more ends. */
  recheck(): void {
    for (const held of this.#open) held.recheck();
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

  /** Call about once a second: ends what is idle. */
  sweep(now: number): void {
    for (const carried of this.#open) carried.sweep(now);
  }

  /**
   * Call several times a second: weighs what is buffered. Refusing new connections does not shrink what the present ones
   * hold, so the ones that hold most are reset until the rest is within bounds.
   */
  weigh(): void {
    const { receiveBudgetBytes, receiveBudgetPerPeerBytes } = this.#options.limits;
    const holders: Holder<Held>[] = [];
    for (const carried of this.#open) {
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
}

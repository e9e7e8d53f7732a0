import type { SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { AccessLog, AccessLogEntry, ResponseFlag } from '../access-log.ts';
import { type Candidate, race, type RaceResult } from '../balance/race.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import type { GatewayLimits } from '../limits.ts';
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
  readonly traceparent: string | undefined;
}

export interface ConnectionsOptions {
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly accessLog: AccessLog | undefined;
}

/** Cut at once, so that closing thousands does not hold up the ones that stay. */
const cutSlice = 200;

interface Ending {
  readonly result: SpliceResult;
  readonly flag: ResponseFlag;
  readonly details: string | undefined;
  readonly dialled: Dialled | undefined;
  readonly attempts: number;
  readonly connectedAt: number;
}

const nothing = (cause: SpliceCause): SpliceResult => ({ cause, bytesFromClient: 0, bytesFromUpstream: 0 });

/** One connection from its acceptance to its end. */
class Carried {
  readonly #request: CarryRequest;
  readonly #options: ConnectionsOptions;
  readonly #ended: (carried: Carried) => void;
  readonly #startedAt: number;
  readonly #startTime: number;
  #stopRace: (() => void) | undefined;
  #splice: Splice | undefined;

  constructor(request: CarryRequest, options: ConnectionsOptions, ended: (carried: Carried) => void) {
    this.#request = request;
    this.#options = options;
    this.#ended = ended;
    this.#startedAt = options.clock.monotonic();
    this.#startTime = options.clock.now();
  }

  start(): void {
    const { client, candidates } = this.#request;
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
    this.#splice?.sweep(now, this.#options.limits);
  }

  cut(): void {
    if (this.#splice) return this.#splice.cut();
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
    this.#request.accept?.();
    this.#splice = splice(this.#request.client, dialled.end, (result) => {
      dialled.release();
      this.#end({ result, flag: flagOf(result), details: detailsOf(result), dialled, attempts, connectedAt });
    });
  }

  #end(ending: Ending): void {
    this.#ended(this);
    this.#options.accessLog?.(this.#entry(ending));
  }

  #entry({ result, flag, details, dialled, attempts, connectedAt }: Ending): AccessLogEntry {
    const { entry, port, about, accept } = this.#request;
    const destination = dialled?.cluster;
    const refused = destination === undefined ? 503 : 200;
    return {
      start_time: new Date(this.#startTime).toISOString(),
      direction: about.direction,
      protocol: accept ? 'CONNECT' : 'TCP',
      response_code: accept ? refused : 0,
      response_flags: flag,
      connection_termination_details: details ?? null,
      bytes_received: result.bytesFromClient,
      bytes_sent: result.bytesFromUpstream,
      duration: Math.round(this.#options.clock.monotonic() - this.#startedAt),
      connect_duration: Math.round(connectedAt - this.#startedAt),
      upstream_host: dialled?.host ?? null,
      upstream_request_attempt_count: attempts,
      downstream_remote_address: about.remoteAddress ?? null,
      destination_service: entry.route.key,
      destination_port: port,
      source_cluster: about.sourceCluster ?? null,
      destination_cluster: destination ?? null,
      destination_reason: (destination && entry.result.reasons.get(destination)) ?? null,
      peer_identity: about.peer ?? null,
      source_identity: about.sourceIdentity ?? null,
      traceparent: about.traceparent ?? null,
    };
  }
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
  }
}

function detailsOf({ cause }: SpliceResult): string | undefined {
  return cause === 'complete' ? undefined : cause;
}

/** All connections of this gateway, both ways. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<Carried>();
  readonly #whenEmpty = new Set<() => void>();
  #overBudget = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Whether another connection fits: by count, and by what slow receivers have made us buffer. */
  get admits(): boolean {
    return this.#open.size < this.#options.limits.connections && !this.#overBudget;
  }

  carry(request: CarryRequest): void {
    const carried = new Carried(request, this.#options, (ended) => this.#remove(ended));
    this.#open.add(carried);
    carried.start();
  }

  /** Call about once a second: ends what is idle and weighs what is buffered. */
  sweep(now: number): void {
    let buffered = 0;
    for (const carried of this.#open) {
      carried.sweep(now);
      buffered += carried.buffered();
    }
    this.#overBudget = buffered > this.#options.limits.receiveBudgetBytes;
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
    if (this.#open.size > 0) return;
    for (const resolve of this.#whenEmpty) resolve();
    this.#whenEmpty.clear();
  }
}

import type { SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import {
  aboutClient,
  type AccessLog,
  type AccessLogEntry,
  type ConnectionFacts,
  type ResponseFlag,
} from '../access-log.ts';
import type { Permit } from '../access/permit.ts';
import { type Candidate, race, type RaceResult } from '../balance/race.ts';
import type { Outcome } from '../balance/service-book.ts';
import type { ServiceEntry } from '../balance/service-entry.ts';
import type { GatewayLimits } from '../limits.ts';
import type { Dialled } from './dial.ts';
import type { CarriedBytes } from '../metrics/traffic.ts';
import {
  abortEnd,
  type CutReason,
  type Splice,
  type SpliceCause,
  type SpliceEnd,
  type SpliceResult,
  splice,
} from './splice.ts';

/** A client that was accepted and where it may go. */
export interface CarryRequest {
  readonly client: SpliceEnd;
  readonly entry: ServiceEntry;
  readonly port: number;
  readonly candidates: readonly Candidate<Dialled>[];
  readonly about: ConnectionFacts;
  /** By which it was let in; absent: a client of this cluster, which needs none. */
  readonly permit?: Permit;
  /** Tells the client that it is connected; undefined for a plain one, which needs no word. */
  readonly accept?: (() => void) | undefined;
  /** Tells the client that nothing could be reached. */
  readonly refuse: (why: 'no-ready-endpoint' | 'connect-failed') => void;
}

export interface CarriedOptions {
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly accessLog: AccessLog | undefined;
  /** Told of bytes at each sweep and at the end: a connection may last for days. */
  readonly onBytes?: (bytes: CarriedBytes) => void;
}

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

/** One client's connection, as the owner of all of them sees it. */
export interface Held {
  /** Undefined: a plain client. */
  readonly peer: SpiffeId | undefined;
  /** Bytes that wait in this process for a receiver. */
  buffered(): number;
  /** Called each second: ends what took too long. `now`: monotonic ms. */
  sweep(now: number): void;
  /** Takes nothing new, and ends when what runs has ended. */
  drain(): void;
  /** The table has changed: ends what may not go on. */
  recheck(): void;
  /** Resets it. */
  cut(why?: CutReason): void;
}

/** Whoever counts connections. */
export interface Owner {
  /** It is connected, or will not be. */
  settled(): void;
  ended(carried: Carried): void;
}

/** One connection from its acceptance to its end. */
export class Carried implements Held {
  readonly #request: CarryRequest;
  readonly #options: CarriedOptions;
  readonly #owner: Owner;
  readonly #startedAt: number;
  readonly #startTime: number;
  #stopRace: (() => void) | undefined;
  #splice: Splice | undefined;
  /** Where it goes, once it is connected. */
  #destination: ClusterName | undefined;
  #toldReceived = 0;
  #toldSent = 0;
  #settled = false;
  /** Why it was not allowed any more. */
  #revoked: string | undefined;

  constructor(request: CarryRequest, options: CarriedOptions, owner: Owner) {
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

  /** What runs goes on to its own end: bytes do not tell where one could stop. */
  drain(): void {}

  sweep(now: number): void {
    const { idleTimeoutMs, lingerMs } = this.#options.limits;
    const wanted = this.#request.entry.connection.idleTimeoutMs;
    this.#splice?.sweep(now, { idleTimeoutMs: wanted ?? idleTimeoutMs, lingerMs });
    if (this.#splice) this.#tell(this.#splice);
  }

  recheck(): void {
    const why = this.#revoked === undefined ? this.#request.permit?.revoked() : undefined;
    if (why === undefined) return;
    this.#revoked = why;
    this.cut('denied');
  }

  cut(why: CutReason = 'cut'): void {
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
    this.#destination = dialled.cluster;
    this.#request.accept?.();
    this.#splice = splice(this.#request.client, dialled.end, (result) => {
      dialled.release(outcomeOf(result));
      const details = this.#revoked ?? detailsOf(result);
      this.#end({ result, flag: flagOf(result), details, dialled, attempts, connectedAt });
    });
  }

  /** Counts what has come since the last time. */
  #tell({ bytesFromClient, bytesFromUpstream }: Pick<SpliceResult, 'bytesFromClient' | 'bytesFromUpstream'>): void {
    const received = bytesFromClient - this.#toldReceived;
    const sent = bytesFromUpstream - this.#toldSent;
    if (this.#destination === undefined || received + sent === 0) return;
    this.#toldReceived = bytesFromClient;
    this.#toldSent = bytesFromUpstream;
    const { entry, about } = this.#request;
    const { onBytes } = this.#options;
    onBytes?.({
      direction: about.direction,
      destination: this.#destination,
      service: entry.route.key,
      received,
      sent,
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
    this.#tell(ending.result);
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

function outcomeOf({ cause, bytesFromUpstream }: SpliceResult): Outcome {
  if (bytesFromUpstream > 0 || cause === 'complete') return 'good';
  return cause === 'upstream-reset' ? 'reset' : 'neutral';
}

/** How a splice ended, for the access log. */
export function flagOf({ cause }: SpliceResult): ResponseFlag {
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
    case 'denied':
      return 'RBAC';
  }
}

function detailsOf({ cause }: SpliceResult): string | undefined {
  return cause === 'complete' ? undefined : cause;
}

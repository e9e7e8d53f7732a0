import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import { messageOf } from '../../model/error.ts';
import type { ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { decodeAdvert, decodeReport, type GatewayAdvert, type GatewayReport } from '../../wire/gateway-report.ts';
import { type CarriedLoads, encodeCarriedLoads } from '../../wire/carried-loads.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { ReportParts } from '../report-parts.ts';
import { type EncodedTable, stepsBetween, type TableChange } from '../config-diff.ts';

/** Messages of agent.proto as proto-loader hands them over; whatever a field holds is checked before use. */
export interface GatewayMessage {
  readonly hello?: { readonly digest?: unknown; readonly advert?: unknown; readonly standby?: unknown };
  readonly ack?: { readonly digest?: unknown; readonly error?: unknown };
  readonly report?: unknown;
}

export type GatewayCall = ServerDuplexStream<GatewayMessage, object>;

export interface GatewayStreamOptions {
  readonly call: GatewayCall;
  readonly instance: ReplicaName;
  /** The present table; undefined while the agent has none. Asked for only when it can be sent: encoding is work. */
  readonly table: () => EncodedTable | undefined;
  readonly trust: () => TrustUpdate | undefined;
  /** Takes a report; the answer is what the other gateways carry. */
  readonly onReport: (report: GatewayReport) => CarriedLoads;
  /** The gateway said hello, acknowledged or reported. */
  readonly onChange: () => void;
  /** Once, whatever ended it. */
  readonly onEnd: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** A gateway that does not acknowledge an update within so many ms is disconnected. */
const ackTimeoutMs = 30_000;
/** Refused updates in a row until it is disconnected; it comes back with a backoff. */
const maxRefusals = 3;
/** A larger update goes in several messages. */
const maxMessageBytes: number = 1 << 18;

/**
 * One gateway's configuration stream. At most one update is under way: what changes meanwhile waits in the newest
 * table, so that a slow gateway costs nothing but its own delay.
 */
export class GatewayStream {
  readonly #options: GatewayStreamOptions;
  #advert: GatewayAdvert | undefined;
  #report: GatewayReport | undefined;
  readonly #parts = new ReportParts();
  /** What the gateway has; undefined = unknown, so that a full update is due. */
  #held: EncodedTable | undefined;
  #sent: EncodedTable | undefined;
  /** What of `#sent` is still to be encoded and written, once the gateway has read what was. */
  #unwritten: Iterator<object> | undefined;
  /** False: it follows another agent, and this one only hears how it is. */
  #follows = false;
  #ackedDigest = '';
  #refusals = 0;
  #deadline: Timer | undefined;
  #trustSent: TrustUpdate | undefined;
  /** It was told of connections that others carry. */
  #toldLoads = false;
  #over = false;

  constructor(options: GatewayStreamOptions) {
    this.#options = options;
    const { call } = options;
    call.on('data', (message: GatewayMessage) => this.#receive(message));
    call.on('end', () => this.end());
    call.on('error', () => this.end());
    call.on('cancelled', () => this.end());
    call.on('close', () => this.end());
    call.on('drain', () => this.#write());
    // Tells the gateway that somebody is there, also when there is nothing to send.
    call.sendMetadata(new Metadata());
  }

  /** Undefined before its hello. */
  get advert(): GatewayAdvert | undefined {
    return this.#advert;
  }

  get report(): GatewayReport | undefined {
    return this.#report;
  }

  /** Whether it applies this agent's tables. */
  get follows(): boolean {
    return this.#follows;
  }

  /** Digest of the table that the gateway last said it has; empty = none. */
  get ackedDigest(): string {
    return this.#follows ? this.#ackedDigest : (this.#report?.tableDigest ?? this.#ackedDigest);
  }

  /** Sends what is due: trust first, then the way from the gateway's table to the present one. */
  advance(): void {
    if (this.#over || !this.#advert) return;
    this.#sendTrust();
    if (!this.#follows || this.#sent) return;
    const table = this.#options.table();
    if (!table || this.#held?.digest === table.digest) return;
    this.#send(this.#held, table);
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    this.#options.call.end();
    this.#options.onEnd();
  }

  #sendTrust(): void {
    const trust = this.#options.trust();
    if (!trust || trust === this.#trustSent) return;
    this.#trustSent = trust;
    const { sealedRoster, rosterChain, anchors } = trust;
    this.#options.call.write({ trust: { sealedRoster, rosterChain, anchors } });
  }

  #send(from: EncodedTable | undefined, to: EncodedTable): void {
    const { clock, instance, log } = this.#options;
    this.#sent = to;
    const digests = { revision: to.revision, full: from === undefined, base: from?.digest ?? '', digest: to.digest };
    this.#unwritten = messages(stepsBetween(from, to, maxMessageBytes), digests);
    this.#write();
    this.#deadline = clock.schedule(ackTimeoutMs, () => {
      log.warn({ gateway: instance }, `gateway did not acknowledge within ${ackTimeoutMs} ms; disconnected`);
      this.end();
    });
  }

  #write(): void {
    let room = true;
    while (room && this.#unwritten && !this.#over) {
      const { value: message, done } = this.#unwritten.next();
      if (done) this.#unwritten = undefined;
      // A slow gateway's update waits here, not in the memory of its connection.
      else room = this.#options.call.write(message);
    }
  }

  #receive(message: GatewayMessage): void {
    if (this.#over) return;
    try {
      if (message.hello) this.#hello(message.hello);
      else if (message.ack) this.#ack(message.ack);
      else if (message.report instanceof Uint8Array) this.#reported(decodeReport(message.report));
      this.#options.onChange();
    } catch (thrown) {
      const { log, instance } = this.#options;
      log.warn({ gateway: instance, reason: messageOf(thrown) }, 'gateway sent something that does not decode');
      if (!this.#advert) this.end();
    }
  }

  #reported(report: GatewayReport): void {
    const whole = this.#parts.take(report, this.#options.clock.monotonic());
    this.#report = whole;
    const loads = this.#options.onReport(whole);
    // It forgets what it is not told again; the last word is that there is nothing.
    if (!this.#follows || (loads.size === 0 && !this.#toldLoads)) return;
    this.#toldLoads = loads.size > 0;
    this.#options.call.write({ carriedLoads: encodeCarriedLoads(loads) });
  }

  #hello({ digest, advert, standby }: NonNullable<GatewayMessage['hello']>): void {
    this.#advert = decodeAdvert(advert instanceof Uint8Array ? advert : new Uint8Array());
    this.#follows = standby !== true;
    this.#ackedDigest = textOf(digest);
    this.#deadline?.cancel();
    this.#sent = undefined;
    this.#held = undefined;
    this.#unwritten = undefined;
    this.#sendTrust();
    const table = this.#follows ? this.#options.table() : undefined;
    // An empty step tells a gateway that came back with the right table that it is the right one.
    if (table) this.#send(table.digest === this.#ackedDigest ? table : undefined, table);
  }

  #ack({ digest, error }: NonNullable<GatewayMessage['ack']>): void {
    const sent = this.#sent;
    if (!sent) return;
    this.#deadline?.cancel();
    this.#sent = undefined;
    this.#ackedDigest = textOf(digest);
    if (textOf(error) === '' && this.#ackedDigest === sent.digest) {
      this.#held = sent;
      this.#refusals = 0;
    } else {
      this.#refused(textOf(error).slice(0, 300) || `its digest is ${this.#ackedDigest.slice(0, 64)}`);
    }
    this.advance();
  }

  #refused(reason: string): void {
    const { log, instance } = this.#options;
    this.#held = undefined;
    this.#refusals += 1;
    log.warn(
      { gateway: instance, reason, refusals: this.#refusals },
      'gateway refused an update; it gets the full table',
    );
    if (this.#refusals > maxRefusals) this.end();
  }
}

/** Updates of agent.proto: all but the last one say that there is more. */
function* messages(steps: Iterable<TableChange>, digests: object): Generator<object> {
  let ready: TableChange | undefined;
  for (const step of steps) {
    if (ready) yield { update: { ...digests, ...ready, more: true } };
    ready = step;
  }
  yield { update: { ...digests, ...ready, more: false } };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

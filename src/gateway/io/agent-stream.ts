import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { loadService } from '../../runtime/io/grpc.ts';
import { channelOptions } from '../../runtime/io/grpc-client.ts';
import { type CarriedLoads, decodeCarriedLoads } from '../../wire/carried-loads.ts';
import { checkTrustUpdate, type TrustUpdate } from '../../wire/trust-update.ts';
import type { TableUpdate } from '../routes/held-table.ts';

/** What a gateway says first. */
export interface Greeting {
  readonly digest: string;
  readonly advert: Uint8Array;
}

export interface AgentStreamOptions {
  /** `host:port` */
  readonly address: string;
  readonly credentials: ChannelCredentials;
  /** Undefined: not yet known what to say, and the agent is not called. */
  readonly greeting: () => Greeting | undefined;
  readonly clock: Clock;
  /** The agent answers. */
  readonly onUp: () => void;
  /** Once for each stream that failed, also when it never was up. */
  readonly onDown: (reason: string) => void;
  readonly onUpdate: (revision: string, update: TableUpdate) => void;
  readonly onTrust: (update: TrustUpdate) => void;
  /** What the other gateways of this cluster carry, as the followed agent knows it. */
  readonly onLoads: (loads: CarriedLoads) => void;
  /** The agent sent something that cannot be used: of `what` kind, answered with an error if it was an update. */
  readonly onBad: (what: 'update' | 'trust' | 'loads', revision: string, error: unknown) => void;
}

const retry = { initialMs: 100, maxMs: 3000 };
/** Until it is asked again what to say. */
const greetingMs = 20;
/** A table in parts: more than this many bytes are no table. */
const maxUpdateBytes: number = 1 << 29;

/** Messages of agent.proto as proto-loader hands them over; every field is checked before use. */
interface AgentMessage {
  readonly message?: string;
  readonly update?: Readonly<Record<string, unknown>>;
  readonly trust?: Readonly<Record<string, unknown>>;
  readonly carriedLoads?: unknown;
}

type Stream = ClientDuplexStream<object, AgentMessage>;

/** The stream to one agent, opened again for ever. It follows that agent's tables only when told to. */
export class AgentStream {
  readonly #options: AgentStreamOptions;
  readonly #backoff: Backoff;
  #stream: Stream | undefined;
  #endStream: (() => void) | undefined;
  #timer: Timer | undefined;
  #parts: TableUpdate[] = [];
  #partBytes = 0;
  #up = false;
  #follows: boolean;
  #closed = false;

  constructor(options: AgentStreamOptions, follows: boolean) {
    this.#options = options;
    this.#follows = follows;
    this.#backoff = new Backoff(retry, () => options.clock.random());
  }

  get address(): string {
    return this.#options.address;
  }

  get isUp(): boolean {
    return this.#up;
  }

  open(): void {
    const { address, credentials, greeting, clock, onDown } = this.#options;
    if (!greeting()) {
      this.#timer = clock.schedule(greetingMs, () => this.open());
      return;
    }
    const Service = loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayConfig');
    const client = new Service(address, credentials, channelOptions);
    const connect = client['Connect'] as () => Stream;
    const stream: Stream = connect.call(client);
    let over = false;
    const end = (reason: string): void => {
      if (over) return;
      over = true;
      stream.cancel();
      client.close();
      this.#stream = undefined;
      this.#endStream = undefined;
      this.#up = false;
      this.#parts = [];
      if (this.#closed) return;
      this.#timer = clock.schedule(this.#backoff.next(), () => this.open());
      onDown(reason);
    };
    this.#stream = stream;
    this.#endStream = () => end('closed');
    stream.on('error', (error) => end(messageOf(error)));
    stream.on('end', () => end('the agent ended the stream'));
    stream.on('metadata', () => over || this.#heard());
    stream.on('data', (message: AgentMessage) => {
      if (over) return;
      this.#heard();
      this.#receive(message);
    });
    this.#greet();
  }

  /** Whether the agent is to send its tables. */
  follow(follows: boolean): void {
    if (this.#follows === follows) return;
    this.#follows = follows;
    this.#parts = [];
    this.#greet();
  }

  acknowledge(revision: string, digest: string, error = ''): void {
    this.#stream?.write({ ack: { revision, digest, error } });
  }

  /** Whether it is on its way: an agent that does not read gets the next report, not a queue of old ones. */
  report(bytes: Uint8Array): boolean {
    if (this.#stream?.writableNeedDrain !== false) return false;
    this.#stream.write({ report: bytes });
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#endStream?.();
  }

  #greet(): void {
    const greeting = this.#options.greeting();
    if (greeting) this.#stream?.write({ hello: { ...greeting, standby: !this.#follows } });
  }

  #heard(): void {
    if (this.#up) return;
    this.#up = true;
    this.#backoff.reset();
    this.#options.onUp();
  }

  #receive({ update, trust, carriedLoads }: AgentMessage): void {
    const revision = typeof update?.['revision'] === 'string' ? update['revision'] : '0';
    try {
      if (trust) this.#options.onTrust(trustOf(trust));
      if (update) this.#part(revision, update);
      if (carriedLoads instanceof Uint8Array && this.#follows) this.#options.onLoads(decodeCarriedLoads(carriedLoads));
    } catch (thrown) {
      if (update) this.#parts = [];
      this.#options.onBad(update ? 'update' : trust ? 'trust' : 'loads', revision, thrown);
    }
  }

  #part(revision: string, fields: Readonly<Record<string, unknown>>): void {
    // Sent before the agent heard that another one is followed.
    if (!this.#follows) return;
    const part = updateOf(fields);
    this.#partBytes = (this.#parts.length > 0 ? this.#partBytes : 0) + sizeOf(part);
    if (this.#partBytes > maxUpdateBytes) {
      throw new IsthmusError('corrupt', `An update of the agent is larger than ${maxUpdateBytes} bytes`);
    }
    this.#parts.push(part);
    if (fields['more'] === true) return;
    const parts = this.#parts;
    this.#parts = [];
    this.#options.onUpdate(revision, joined(parts));
  }
}

function joined(parts: readonly TableUpdate[]): TableUpdate {
  const [first] = parts;
  if (!first || parts.length === 1) return first as TableUpdate;
  return {
    ...first,
    services: parts.flatMap((part) => part.services),
    removedServices: parts.flatMap((part) => part.removedServices),
    clusters: parts.flatMap((part) => part.clusters),
    removedClusters: parts.flatMap((part) => part.removedClusters),
  };
}

function sizeOf({ services, clusters }: TableUpdate): number {
  // An empty part is not free either.
  return [...services, ...clusters].reduce((sum, bytes) => sum + bytes.length, 1024);
}

function trustOf({ sealedRoster, rosterChain, anchors }: Readonly<Record<string, unknown>>): TrustUpdate {
  return checkTrustUpdate({
    sealedRoster: bytesOf(sealedRoster),
    rosterChain: bytesOf(rosterChain),
    anchors: listOf(anchors, bytesOf),
  });
}

function updateOf(fields: Readonly<Record<string, unknown>>): TableUpdate {
  return {
    full: fields['full'] === true,
    base: textOf(fields['base']),
    digest: textOf(fields['digest']),
    services: listOf(fields['services'], bytesOf),
    removedServices: listOf(fields['removedServices'], textOf),
    clusters: listOf(fields['clusters'], bytesOf),
    removedClusters: listOf(fields['removedClusters'], textOf),
  };
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new IsthmusError('corrupt', 'A message of the agent has something else where text must be');
}

function bytesOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new IsthmusError('corrupt', 'A message of the agent has something else where bytes must be');
}

function listOf<T>(value: unknown, item: (value: unknown) => T): T[] {
  if (Array.isArray(value)) return value.map(item);
  throw new IsthmusError('corrupt', 'A message of the agent has something else where a list must be');
}

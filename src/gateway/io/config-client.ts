import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RouteTable } from '../../model/route.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { loadService } from '../../runtime/io/grpc.ts';
import { channelOptions } from '../../runtime/io/grpc-client.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeAdvert, encodeReport, type GatewayAdvert, type GatewayReport } from '../../wire/gateway-report.ts';
import { checkTrustUpdate, type TrustUpdate } from '../../wire/trust-update.ts';
import { HeldTable, type TableUpdate } from '../routes/held-table.ts';
import { TableFile } from './table-file.ts';

export interface ConfigClientOptions {
  /** `host:port` of the agent's replicas; the next one is tried when one fails. */
  readonly addresses: readonly string[];
  readonly credentials: ChannelCredentials;
  /** Private directory for the last good table. */
  readonly stateDir: string;
  readonly self: ClusterName;
  /** Where this gateway is reached; undefined = not known yet, and the agent is not called before it is. */
  readonly advert: () => GatewayAdvert | undefined;
  /** What is reported about once a second; undefined while there is nothing to report. */
  readonly report: () => GatewayReport | undefined;
  /** A trust update as it came, sizes checked and nothing else. */
  readonly onTrust: (update: TrustUpdate) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ConfigClient {
  /** The last good table: from disk until the agent has sent one. */
  readonly table: Watch<RouteTable>;
  /** Whether the stream to an agent is up. */
  readonly connected: Watch<boolean>;
  /** What keeps this gateway from having routes, or undefined once it has a table from disk or agent. */
  status(): string | undefined;
  /** Of the present table; empty while there is none. */
  digest(): string;
  /** Sends a report at once: readiness or draining changed. */
  reportNow(): void;
  close(): Promise<void>;
}

const reportEveryMs = 1000;
const retry = { initialMs: 100, maxMs: 3000 };
/** An agent that says nothing for so long after the greeting is left for the next one, if there is another. */
const firstMessageMs = 10_000;
/** Until the advert is looked at again. */
const advertMs = 20;

/** Messages of agent.proto as proto-loader hands them over; every field is checked before use. */
interface AgentMessage {
  readonly message?: string;
  readonly update?: Readonly<Record<string, unknown>>;
  readonly trust?: Readonly<Record<string, unknown>>;
}

type Stream = ClientDuplexStream<object, AgentMessage>;

/** Follows the configuration stream of an agent, for ever, whatever happens to it. Resolves once the disk was read. */
export async function connectConfig(options: ConfigClientOptions): Promise<ConfigClient> {
  const [first] = options.addresses;
  if (first === undefined) {
    throw new IsthmusError('invalid', 'Cannot follow the agent as no address of it is given: at least one is needed');
  }
  const file = new TableFile(options);
  const client = new FollowingClient(options, file, await file.load(options.self));
  client.follow();
  return client;
}

class FollowingClient implements ConfigClient {
  readonly table: Watchable<RouteTable>;
  readonly connected: Watchable<boolean> = new Watchable<boolean>(false);
  readonly #options: ConfigClientOptions;
  readonly #file: TableFile;
  readonly #backoff: Backoff;
  #held: HeldTable;
  #known: boolean;
  #stream: Stream | undefined;
  #endStream: (() => void) | undefined;
  #timer: Timer | undefined;
  #reporter: Timer | undefined;
  #attempt = 0;
  #problem = 'the agent to be reached';
  #closed = false;

  constructor(options: ConfigClientOptions, file: TableFile, stored: HeldTable | undefined) {
    this.#options = options;
    this.#file = file;
    this.#held = stored ?? HeldTable.empty(options.self);
    this.#known = stored !== undefined;
    this.table = new Watchable(this.#held.table);
    this.#backoff = new Backoff(retry, () => options.clock.random());
  }

  status(): string | undefined {
    return this.#known ? undefined : `routes: ${this.#problem}`;
  }

  digest(): string {
    return this.#known ? this.#held.digest : '';
  }

  reportNow(): void {
    this.#reporter?.cancel();
    // An agent that does not read gets the next report, not a queue of old ones.
    const report = this.#stream?.writableNeedDrain === false ? this.#options.report() : undefined;
    if (report) this.#stream?.write({ report: encodeReport(report) });
    if (this.#stream) this.#reporter = this.#options.clock.schedule(reportEveryMs, () => this.reportNow());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#endStream?.();
    await this.#file.close();
  }

  follow(): void {
    const { addresses, credentials, clock } = this.#options;
    const advert = this.#options.advert();
    if (!advert) {
      this.#timer = clock.schedule(advertMs, () => this.follow());
      return;
    }
    const address = addresses[this.#attempt % addresses.length] ?? '';
    const Service = loadService('isthmus/v1/agent.proto', 'isthmus.v1.GatewayConfig');
    const client = new Service(address, credentials, channelOptions);
    const open = client['Connect'] as () => Stream;
    const stream: Stream = open.call(client);
    const silence = clock.schedule(firstMessageMs, () => {
      if (addresses.length > 1) end(`agent ${address} is silent`);
    });
    let over = false;
    const end = (reason: string): void => {
      if (over) return;
      over = true;
      silence.cancel();
      stream.cancel();
      client.close();
      this.#lost(address, reason);
    };
    this.#stream = stream;
    this.#endStream = () => end('closed');
    stream.on('error', (error) => end(messageOf(error)));
    stream.on('end', () => end('the agent ended the stream'));
    stream.on('data', (message: AgentMessage) => {
      if (over) return;
      silence.cancel();
      this.#heard(address);
      this.#receive(message);
    });
    stream.write({ hello: { digest: this.digest(), advert: encodeAdvert(advert) } });
    this.reportNow();
  }

  #heard(address: string): void {
    if (this.connected.current) return;
    this.#backoff.reset();
    this.#options.log.info({ agent: address }, 'following the agent');
    this.connected.set(true);
  }

  #lost(address: string, reason: string): void {
    const { log, clock } = this.#options;
    this.#stream = undefined;
    this.#endStream = undefined;
    this.#reporter?.cancel();
    const changed = this.#problem !== reason || this.connected.current;
    this.#problem = reason;
    this.connected.set(false);
    if (this.#closed) return;
    if (changed) log.warn({ agent: address, reason }, 'lost the agent: going on with what is known');
    this.#attempt += 1;
    this.#timer = clock.schedule(this.#backoff.next(), () => this.follow());
  }

  #receive({ update, trust }: AgentMessage): void {
    if (trust) this.#trust(trust);
    if (update) this.#update(update);
  }

  #trust(trust: Readonly<Record<string, unknown>>): void {
    try {
      const { sealedRoster, rosterChain, anchors } = trust;
      this.#options.onTrust(
        checkTrustUpdate({
          sealedRoster: bytesOf(sealedRoster),
          rosterChain: bytesOf(rosterChain),
          anchors: listOf(anchors, bytesOf),
        }),
      );
    } catch (thrown) {
      this.#options.log.warn({ reason: messageOf(thrown) }, 'a trust update was refused');
    }
  }

  #update(fields: Readonly<Record<string, unknown>>): void {
    const revision = typeof fields['revision'] === 'string' ? fields['revision'] : '0';
    try {
      const next = this.#held.apply(updateOf(fields));
      if (!this.#known || next.digest !== this.#held.digest) this.#file.store(next);
      this.#known = true;
      this.#held = next;
      this.table.set(next.table);
      this.#stream?.write({ ack: { revision, digest: next.digest, error: '' } });
    } catch (thrown) {
      // The agent answers an error with the full table.
      const error = messageOf(thrown);
      this.#options.log.warn({ revision, reason: error }, 'an update of the routes was refused');
      this.#stream?.write({ ack: { revision, digest: this.digest(), error } });
    }
  }
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

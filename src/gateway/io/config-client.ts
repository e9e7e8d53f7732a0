import type { ChannelCredentials } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RouteTable } from '../../model/route.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeAdvert, type GatewayAdvert, type GatewayReport, ReportEncoder } from '../../wire/gateway-report.ts';
import type { CarriedLoads } from '../../wire/carried-loads.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { HeldTable, type TableUpdate } from '../routes/held-table.ts';
import { AgentStream } from './agent-stream.ts';
import { TableFile } from './table-file.ts';

export interface ConfigClientOptions {
  /** `host:port` of the agent's replicas. The first three are called; another one is followed when one fails. */
  readonly addresses: readonly string[];
  readonly credentials: ChannelCredentials;
  /** Private directory for the last good table. */
  readonly stateDir: string;
  readonly self: ClusterName;
  /** Where this gateway is reached; undefined = not known yet, and the agent is not called before it is. */
  readonly advert: () => GatewayAdvert | undefined;
  /**
   * What is reported about once a second, with the moves of traffic since some moment (monotonic ms); undefined while
   * there is nothing to report.
   */
  readonly report: (movesSince: number) => GatewayReport | undefined;
  /** A trust update as it came, sizes checked and nothing else. */
  readonly onTrust: (update: TrustUpdate) => void;
  /** What the other gateways of this cluster carry; after each report, where load moves traffic. */
  readonly onLoads?: (loads: CarriedLoads) => void;
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
/** Moves of traffic are told again for so long: a report may be lost with its stream. */
const tellAgainMs = 5000;
/** Agents that are called at once: one is followed, all are told how this gateway is. */
const maxStreams = 3;
/** An agent that sends no table for so long is left for the next one, if there is another. */
const firstTableMs = 10_000;

const badly = {
  trust: 'a trust update',
  update: 'an update of the routes',
  loads: 'what other gateways carry',
} as const;

/** Follows the agents of the own cluster, for ever, whatever happens to them. Resolves once the disk was read. */
export async function connectConfig(options: ConfigClientOptions): Promise<ConfigClient> {
  const [first] = options.addresses;
  if (first === undefined) {
    throw new IsthmusError('invalid', 'Cannot follow the agent as no address of it is given: at least one is needed');
  }
  const file = new TableFile(options);
  const client = new FollowingClient(options, file, await file.load(options.self));
  client.start();
  return client;
}

/**
 * One stream to each agent, of which one is followed: its tables are applied. The others hear the same reports, since
 * the leading agent publishes what all gateways say, and stand ready: when the followed one fails, the next table comes
 * from another within a round trip, as a step from the table that is held.
 */
class FollowingClient implements ConfigClient {
  readonly table: Watchable<RouteTable>;
  readonly connected: Watchable<boolean> = new Watchable<boolean>(false);
  readonly #options: ConfigClientOptions;
  readonly #file: TableFile;
  readonly #streams: readonly AgentStream[];
  readonly #reports = new ReportEncoder();
  #followed: AgentStream | undefined;
  #held: HeldTable;
  #known: boolean;
  #reporter: Timer | undefined;
  #patience: Timer | undefined;
  #problem = 'the agent to be reached';
  /** Some agent has not heard of all moves. */
  #behind = true;
  #closed = false;

  constructor(options: ConfigClientOptions, file: TableFile, stored: HeldTable | undefined) {
    this.#options = options;
    this.#file = file;
    this.#held = stored ?? HeldTable.empty(options.self);
    this.#known = stored !== undefined;
    this.table = new Watchable(this.#held.table);
    const addresses = options.addresses.slice(0, maxStreams);
    this.#streams = addresses.map((address) => this.#streamTo(address, addresses.length === 1));
    // A single agent is followed from the first word on.
    if (addresses.length === 1) [this.#followed] = this.#streams;
  }

  start(): void {
    for (const stream of this.#streams) stream.open();
    this.reportNow();
  }

  status(): string | undefined {
    return this.#known ? undefined : `routes: ${this.#problem}`;
  }

  digest(): string {
    return this.#known ? this.#held.digest : '';
  }

  reportNow(): void {
    this.#reporter?.cancel();
    if (this.#closed) return;
    const up = this.#streams.filter((stream) => stream.isUp);
    const { clock } = this.#options;
    const since = this.#behind ? Number.NEGATIVE_INFINITY : clock.monotonic() - tellAgainMs;
    const report = up.length > 0 ? this.#options.report(since) : undefined;
    const bytes = report && this.#reports.encode(report);
    if (bytes) this.#behind = up.filter((stream) => !stream.report(bytes)).length > 0;
    this.#reporter = clock.schedule(reportEveryMs, () => this.reportNow());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#reporter?.cancel();
    this.#patience?.cancel();
    for (const stream of this.#streams) stream.close();
    this.connected.set(false);
    await this.#file.close();
  }

  #streamTo(address: string, follows: boolean): AgentStream {
    const { credentials, clock, log } = this.#options;
    const stream: AgentStream = new AgentStream(
      {
        address,
        credentials,
        greeting: () => {
          const advert = this.#options.advert();
          return advert && { digest: this.digest(), advert: encodeAdvert(advert) };
        },
        clock,
        onUp: () => this.#up(stream),
        onDown: (reason) => this.#down(stream, reason),
        onUpdate: (revision, update) => this.#update(stream, revision, update),
        onTrust: (update) => this.#options.onTrust(update),
        onLoads: (loads) => this.#options.onLoads?.(loads),
        onBad: (what, revision, thrown) => {
          const reason = messageOf(thrown);
          log.warn({ agent: address, revision, reason }, `${badly[what]} was refused`);
          // The agent answers an error with the full table.
          if (what === 'update') stream.acknowledge(revision, this.digest(), reason);
        },
      },
      follows,
    );
    return stream;
  }

  #up(stream: AgentStream): void {
    this.#behind = true;
    if (!this.#followed) this.#follow(stream);
    else if (stream === this.#followed) this.#following(stream);
    this.reportNow();
  }

  #down(stream: AgentStream, reason: string): void {
    if (stream !== this.#followed && this.#followed) return;
    const changed = this.#problem !== reason || this.connected.current;
    this.#problem = reason;
    if (changed)
      this.#options.log.warn({ agent: stream.address, reason }, 'lost the agent: going on with what is known');
    const next = this.#streams.find((other) => other !== stream && other.isUp);
    if (next) return this.#follow(next);
    this.connected.set(false);
    if (this.#streams.length > 1) this.#follow(undefined);
  }

  #follow(stream: AgentStream | undefined): void {
    this.#followed?.follow(false);
    this.#followed = stream;
    stream?.follow(true);
    if (stream?.isUp) this.#following(stream);
  }

  #following(stream: AgentStream): void {
    this.#options.log.info({ agent: stream.address }, 'following the agent');
    this.connected.set(true);
    this.#patience?.cancel();
    if (this.#streams.length === 1) return;
    this.#patience = this.#options.clock.schedule(firstTableMs, () => {
      const from = this.#streams.indexOf(stream);
      const others = [...this.#streams.slice(from + 1), ...this.#streams.slice(0, from)];
      const next = others.find((other) => other.isUp);
      if (!next || this.#followed !== stream) return;
      this.#options.log.warn({ agent: stream.address }, `no table within ${firstTableMs} ms; trying another agent`);
      this.#follow(next);
    });
  }

  #update(stream: AgentStream, revision: string, update: TableUpdate): void {
    this.#patience?.cancel();
    try {
      const next = this.#held.apply(update);
      if (!this.#known || next.digest !== this.#held.digest) this.#file.store(next);
      this.#known = true;
      this.#held = next;
      this.table.set(next.table);
      stream.acknowledge(revision, next.digest);
    } catch (thrown) {
      const error = messageOf(thrown);
      this.#options.log.warn({ agent: stream.address, revision, reason: error }, 'an update of the routes was refused');
      stream.acknowledge(revision, this.digest(), error);
    }
  }
}

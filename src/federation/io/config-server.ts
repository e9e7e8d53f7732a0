import { status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RouteTable } from '../../model/route.ts';
import { Watchable } from '../../runtime/watchable.ts';
import type { GatewayAdvert, GatewayReport } from '../../wire/gateway-report.ts';
import type { TrustUpdate } from '../../wire/trust-update.ts';
import { LoadBook } from '../carried-loads.ts';
import { type EncodedTable, encodeTable } from '../config-diff.ts';
import { type GatewayCall, GatewayStream } from './gateway-stream.ts';

export interface ConfigServerOptions {
  readonly self: ClusterName;
  /** Undefined = not known yet: gateways keep the table they have, rather than get an empty one. */
  readonly tables: Watch<RouteTable | undefined>;
  readonly trustUpdate: Watch<TrustUpdate | undefined>;
  /** Which gateway of the own cluster calls; undefined = none, and the call is refused. */
  readonly identify: (call: { getPeer(): string }) => { readonly instance: ReplicaName } | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** A gateway whose stream is up. */
export interface ConnectedGateway {
  readonly instance: ReplicaName;
  readonly advert: GatewayAdvert;
  /** The latest; undefined before the first. */
  readonly report: GatewayReport | undefined;
  /** Digest of the table it last said it has; empty = none. */
  readonly ackedDigest: string;
  /** False: it applies the tables of another agent of this cluster. */
  readonly follows: boolean;
  /** Wall clock in ms. */
  readonly connectedAt: number;
}

export interface ConfigServer {
  /** Implementation of `isthmus.v1.GatewayConfig`, for a gRPC server that verifies its callers. */
  readonly handlers: UntypedServiceImplementation;
  readonly gateways: Watch<ReadonlyMap<ReplicaName, ConnectedGateway>>;
  /** Of the present table; empty while there is none. */
  digest(): string;
  /** Ends all streams. */
  close(): Promise<void>;
}

/** Gateways of one cluster that may be connected to one agent. */
const maxGateways = 1000;

/** Serves tables and trust to the gateways of the own cluster, and collects what they report. */
export function createConfigServer(options: ConfigServerOptions): ConfigServer {
  return new TableServer(options);
}

interface Connection {
  readonly stream: GatewayStream;
  readonly connectedAt: number;
}

class TableServer implements ConfigServer {
  readonly handlers: UntypedServiceImplementation;
  readonly gateways: Watchable<ReadonlyMap<ReplicaName, ConnectedGateway>>;
  readonly #options: ConfigServerOptions;
  readonly #connections = new Map<ReplicaName, Connection>();
  readonly #ends: (() => void)[];
  readonly #loads = new LoadBook();
  #encoded: EncodedTable | undefined;
  #closed = false;

  constructor(options: ConfigServerOptions) {
    this.#options = options;
    this.gateways = new Watchable<ReadonlyMap<ReplicaName, ConnectedGateway>>(new Map());
    this.handlers = { Connect: (call: GatewayCall) => this.#connect(call) };
    this.#ends = [
      options.tables.subscribe(() => this.#advance()),
      options.trustUpdate.subscribe(() => this.#advance()),
    ];
  }

  digest(): string {
    return this.#table()?.digest ?? '';
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const end of this.#ends) end();
    for (const { stream } of this.#connections.values()) stream.end();
  }

  /** Encodes what changed since somebody last asked: a table that no gateway is ready for costs nothing. */
  #table(): EncodedTable | undefined {
    const table = this.#options.tables.current;
    this.#encoded = table && encodeTable(table, this.#encoded);
    return this.#encoded;
  }

  #advance(): void {
    for (const { stream } of this.#connections.values()) stream.advance();
  }

  #connect(call: GatewayCall): void {
    const { identify, clock, log } = this.#options;
    const caller = this.#closed ? undefined : identify(call);
    if (!caller) return refuse(call, status.UNAUTHENTICATED, 'only gateways of this cluster are served here');
    const { instance } = caller;
    const before = this.#connections.get(instance);
    if (!before && this.#connections.size >= maxGateways) {
      return refuse(call, status.RESOURCE_EXHAUSTED, `${maxGateways} gateways are connected`);
    }
    const stream: GatewayStream = new GatewayStream({
      call,
      instance,
      table: () => this.#table(),
      trust: () => this.#options.trustUpdate.current,
      onReport: (report) => {
        this.#loads.note(instance, report, this.#options.tables.current);
        return this.#loads.ofOthers(instance);
      },
      onChange: () => this.#show(),
      onEnd: () => {
        if (this.#connections.get(instance)?.stream !== stream) return;
        this.#connections.delete(instance);
        this.#loads.forget(instance);
        log.info({ gateway: instance }, 'gateway disconnected');
        this.#show();
      },
      clock,
      log,
    });
    this.#connections.set(instance, { stream, connectedAt: clock.now() });
    log.info({ gateway: instance }, 'gateway connected');
    // A gateway that comes back does not wait for its old stream to be noticed dead.
    before?.stream.end();
  }

  /** Unchanged gateways stay the same objects. */
  #show(): void {
    const before = this.gateways.current;
    const now = new Map<ReplicaName, ConnectedGateway>();
    for (const [instance, { stream, connectedAt }] of this.#connections) {
      const { advert, report, ackedDigest, follows } = stream;
      if (!advert) continue;
      const known = before.get(instance);
      const same =
        known?.advert === advert &&
        known.report === report &&
        known.ackedDigest === ackedDigest &&
        known.follows === follows &&
        known.connectedAt === connectedAt;
      now.set(instance, same ? known : { instance, advert, report, ackedDigest, follows, connectedAt });
    }
    const unchanged = now.size === before.size && [...now].every(([name, gateway]) => before.get(name) === gateway);
    if (!unchanged) this.gateways.set(now);
  }
}

function refuse(call: GatewayCall, code: status, details: string): void {
  call.on('error', () => undefined);
  call.emit('error', { code, details });
}

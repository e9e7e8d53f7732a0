import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RouteTable, ServiceRoute } from '../../model/route.ts';
import type { SharesStep } from '../../model/shares.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { sleep } from '../../runtime/sleep.ts';
import { decodeConnect, encodeAccepted, type HeaderFields, type RefusalReason } from '../../wire/connect.ts';
import type { GatewayReport } from '../../wire/gateway-report.ts';
import type { AccessLog } from '../access-log.ts';
import { ServiceBook } from '../balance/service-book.ts';
import { type GatewayLimits, limitsOf } from '../limits.ts';
import { acceptAssertion } from '../tunnel/assertion.ts';
import { type CandidateContext, inboundCandidates, outboundCandidates } from './candidates.ts';
import { Connections } from './connections.ts';
import { Credentials } from './credentials.ts';
import { HboneServer, type InboundPeer, refuseStream } from './hbone-server.ts';
import { startHealthServer, type HealthServer } from './health-server.ts';
import { type ImportedPort, ImportListeners } from './import-listeners.ts';
import { SessionPool } from './pool.ts';
import { Prober } from './prober.ts';
import { abortEnd } from './splice.ts';

export interface GatewayOptions {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly listen: {
    readonly hbone: ListenAddress;
    /** Where import listeners bind: loopback for static clusters, the pod's address in Kubernetes. */
    readonly importHost: string;
    /** Absent: no health port. */
    readonly health?: ListenAddress;
  };
  readonly svid: SvidSource;
  readonly trust: TrustSource;
  readonly verifier: PeerVerifier;
  readonly table: Watch<RouteTable>;
  readonly step: SharesStep;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<GatewayLimits>;
  /** One entry per connection after its end. Absent: none is written. */
  readonly accessLog?: AccessLog;
  /** What the source of the table waits for, before it has one; the gateway is then not ready. */
  readonly tableStatus?: () => string | undefined;
  /** Digest of the present table, for the report. */
  readonly tableDigest?: () => string;
  /** Of the program, for the report. */
  readonly version?: string;
}

export interface Gateway {
  readonly hbonePort: number;
  readonly healthPort: number | undefined;
  readonly ready: Watch<boolean>;
  /** Undefined when ready. */
  waitingFor(): string | undefined;
  /** `<namespace>/<name>:<service port>` → local port of its import listener. */
  importPorts(): ReadonlyMap<string, number>;
  report(): GatewayReport;
  /**
   * Not ready any more, accepts nothing new, tells peers to go away, waits up to `timeoutMs` for connections to end,
   * then resets the rest. Resolves when there is none. `close` must follow.
   */
  drain(timeoutMs: number): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** How often shares, probes and readiness are looked at. */
const tickMs = 250;
/** How many ticks between sweeps of connections and of expired peers. */
const sweepEvery = 4;
/** After the reset of what was left, until it must be gone. */
const cutMs = 1000;

/**
 * Starts a gateway. It runs without identity, trust or routes, not ready, until they come.
 * @throws IsthmusError `invalid` for a bad limit, `conflict` or `denied` for a port that cannot be had; nothing is then
 * left open
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const limits = limitsOf(options.limits);
  const running = new RunningGateway(options, limits);
  try {
    await running.start();
  } catch (thrown) {
    await running.close();
    throw thrown;
  }
  return running;
}

class RunningGateway implements Gateway {
  readonly ready: Watchable<boolean> = new Watchable<boolean>(false);
  readonly #options: GatewayOptions;
  readonly #limits: GatewayLimits;
  readonly #credentials: Credentials;
  readonly #book: ServiceBook;
  readonly #pool: SessionPool;
  readonly #prober: Prober;
  readonly #connections: Connections;
  readonly #imports: ImportListeners;
  readonly #context: CandidateContext;
  readonly #ends: (() => void)[] = [];
  #hbone: HboneServer | undefined;
  #health: HealthServer | undefined;
  #timer: Timer | undefined;
  #ticks = 0;
  #draining = false;
  #closed = false;

  constructor(options: GatewayOptions, limits: GatewayLimits) {
    const { cluster: self, clock, log, svid, trust, verifier, step } = options;
    this.#options = options;
    this.#limits = limits;
    this.#credentials = new Credentials({ svid, trust, verifier });
    this.#book = new ServiceBook({
      self,
      step,
      rules: limits,
      reach: (cluster) => this.#pool.reach(cluster),
      onChange: (change) => log.warn(change, change.up ? 'back in use' : 'out of use'),
    });
    const credentials = this.#credentials;
    const onChange = (): void => this.#book.refresh(clock.monotonic());
    this.#pool = new SessionPool({ self, credentials, limits, clock, log, onChange });
    this.#prober = new Prober({ book: this.#book, pool: this.#pool, self, limits, clock });
    this.#connections = new Connections({ limits, clock, accessLog: options.accessLog });
    this.#imports = new ImportListeners({
      host: options.listen.importHost,
      clock,
      log,
      onConnection: (socket, imported) => this.#accepted(socket, imported),
    });
    this.#context = {
      book: this.#book,
      pool: this.#pool,
      self,
      now: () => clock.monotonic(),
      random: () => clock.random(),
      raceAfterMs: limits.raceAfterMs,
      attempts: limits.attempts,
      isOwnListener: (address, port) => this.#isOwnListener(address, port),
    };
  }

  async start(): Promise<void> {
    const { clock, log, listen, table, svid, trust } = this.#options;
    this.#hbone = await HboneServer.start({
      listen: listen.hbone,
      credentials: this.#credentials,
      limits: this.#limits,
      clock,
      log,
      onConnect: (stream, headers, from) => this.#connect(stream, headers, from),
    });
    if (listen.health) this.#health = await startHealthServer(listen.health, () => this.waitingFor());
    this.#ends.push(
      table.subscribe((next) => this.#setTable(next)),
      svid.subscribe(() => {
        this.#pool.renew();
        this.#judgeReadiness();
      }),
      trust.subscribe(() => this.#trustChanged()),
      () => this.#credentials.close(),
    );
    this.#setTable(table.current);
    await this.#imports.setTable(table.current);
    this.#tick();
  }

  get hbonePort(): number {
    return this.#hbone?.port ?? 0;
  }

  get healthPort(): number | undefined {
    return this.#health?.port;
  }

  waitingFor(): string | undefined {
    const { svid, trust, clock, tableStatus } = this.#options;
    if (this.#closed) return 'nothing any more: closed';
    if (this.#draining) return 'its end: draining';
    if (!svid.current) return 'an identity from the agent';
    if (svid.current.notAfter <= clock.now()) return 'a new identity from the agent: the present one has expired';
    if (!trust.current) return 'the roster of the federation';
    return tableStatus?.();
  }

  importPorts(): ReadonlyMap<string, number> {
    return this.#imports.ports();
  }

  report(): GatewayReport {
    const { instance, svid, trust, version, tableDigest } = this.#options;
    const waitingFor = this.waitingFor() ?? this.#portProblem();
    const svidNotAfter = svid.current?.notAfter;
    const rosterSequence = trust.current?.roster.sequence;
    return {
      instance,
      version: version ?? 'unknown',
      ready: this.waitingFor() === undefined,
      ...(waitingFor !== undefined && { waitingFor }),
      draining: this.#draining,
      ...(svidNotAfter !== undefined && { svidNotAfter }),
      ...(rosterSequence !== undefined && { rosterSequence }),
      tableDigest: tableDigest?.() ?? '',
      links: this.#pool.report(),
      services: this.#book.report(),
    };
  }

  async drain(timeoutMs: number): Promise<void> {
    const { log } = this.#options;
    if (this.#closed) return;
    this.#draining = true;
    this.#judgeReadiness();
    log.info({ connections: this.#connections.size, timeoutMs }, 'draining');
    await this.#imports.stop();
    this.#hbone?.drain();
    if (await this.#emptied(timeoutMs)) return;
    log.warn({ connections: this.#connections.size }, 'drain time is over: the rest is reset');
    this.#connections.cutAll();
    await this.#emptied(cutMs);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#judgeReadiness();
    this.#timer?.cancel();
    for (const end of this.#ends) end();
    await this.#imports.stop();
    this.#prober.close();
    this.#connections.cutAll();
    await this.#emptied(cutMs);
    this.#pool.destroy();
    await this.#hbone?.close();
    await this.#health?.close();
  }

  /** Whether all connections ended within `timeoutMs`. */
  async #emptied(timeoutMs: number): Promise<boolean> {
    const waiting = new AbortController();
    const empty = this.#connections.empty().then(() => waiting.abort());
    await Promise.race([empty, sleep(this.#options.clock, timeoutMs, waiting.signal)]);
    waiting.abort();
    return this.#connections.size === 0;
  }

  #tick(): void {
    const { clock } = this.#options;
    const now = clock.monotonic();
    this.#book.refresh(now);
    this.#prober.tick(now);
    this.#judgeReadiness();
    if (this.#ticks % sweepEvery === 0) {
      this.#connections.sweep(now);
      this.#pool.recheckExpired(clock.now());
      this.#hbone?.recheckExpired(clock.now());
    }
    this.#ticks += 1;
    this.#timer = clock.schedule(tickMs, () => this.#tick());
  }

  #setTable(table: RouteTable): void {
    this.#pool.setTable(table);
    this.#book.setTable(table, this.#options.clock.monotonic());
    if (!this.#draining) void this.#imports.setTable(table);
    this.#judgeReadiness();
  }

  #trustChanged(): void {
    this.#pool.recheck();
    this.#hbone?.recheck();
    this.#pool.kick();
    this.#judgeReadiness();
  }

  #judgeReadiness(): void {
    this.ready.set(this.waitingFor() === undefined);
  }

  #portProblem(): string | undefined {
    const [problem] = this.#imports.problems().values();
    return problem;
  }

  /** A source that lists an import listener as an endpoint would send connections round and round. */
  #isOwnListener(address: string, port: number): boolean {
    const { importHost, hbone } = this.#options.listen;
    if (address === importHost && this.#imports.listensOn(port)) return true;
    return address === hbone.host && port === this.hbonePort;
  }

  /** A plain client on an import listener. */
  #accepted(socket: Socket, { service, port }: ImportedPort): void {
    const entry = this.#book.get(service);
    if (!entry || !this.#connections.admits) {
      socket.on('error', () => undefined);
      abortEnd(socket);
      return;
    }
    const { cluster } = this.#options;
    const remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`;
    const forwardedFor =
      socket.remoteFamily === 'IPv6' ? `[${socket.remoteAddress}]:${socket.remotePort}` : remoteAddress;
    this.#connections.carry({
      client: socket,
      entry,
      port,
      candidates: outboundCandidates(this.#context, entry, {
        service,
        port,
        hop: 0,
        sourceCluster: cluster,
        forwardedFor,
      }),
      about: {
        direction: 'outbound',
        remoteAddress,
        sourceCluster: cluster,
        peer: undefined,
        sourceIdentity: undefined,
        traceparent: undefined,
      },
      refuse: () => abortEnd(socket),
    });
  }

  /** A CONNECT of another cluster's gateway. */
  #connect(stream: ServerHttp2Stream, headers: HeaderFields, { peer, remoteAddress }: InboundPeer): void {
    const refuse = (reason: RefusalReason): void => refuseStream(stream, reason, this.#options.clock);
    const decoded = decodeConnect(headers);
    if (!decoded.ok) return refuse(decoded.reason);
    const { request } = decoded;
    const entry = this.#book.get(request.service);
    const refusal = this.#judge(request.hop, entry?.route, request.port);
    if (!entry || refusal) return refuse(refusal ?? 'not-exported');
    this.#connections.carry({
      client: stream,
      entry,
      port: request.port,
      candidates: inboundCandidates(this.#context, entry, request.port),
      about: {
        direction: 'inbound',
        remoteAddress,
        sourceCluster: peer.cluster,
        peer: peer.id,
        sourceIdentity: acceptAssertion(peer.id, request.sourceIdentity),
        traceparent: request.traceparent,
      },
      accept: () => stream.respond(encodeAccepted(entry.active)),
      refuse,
    });
  }

  /** Why a request from outside may not be served, or undefined. The order is that of what a stranger may learn. */
  #judge(hop: number, route: ServiceRoute | undefined, port: number): RefusalReason | undefined {
    if (hop > 0) return 'loop';
    if (!route?.exported) return 'not-exported';
    // No access policy is known to this gateway, so nothing allows the caller.
    if (route.allow === 'policy') return 'denied';
    if (!route.ports.some((one) => one.port === port)) return 'unknown-port';
    if (this.#draining) return 'draining';
    if (!this.#connections.admits) return 'overloaded';
    return undefined;
  }
}

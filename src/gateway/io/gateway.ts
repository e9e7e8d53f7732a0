import { randomUUID } from 'node:crypto';
import type { AccessJudge } from '../../model/access.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { SourceIdentity } from '../../model/ports/source-identity.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RouteTable } from '../../model/route.ts';
import type { SharesStep } from '../../model/shares.ts';
import type { ListenAddress } from '../../runtime/io/tcp-server.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { sleep } from '../../runtime/sleep.ts';
import type { CarriedLoads } from '../../wire/carried-loads.ts';
import { type GatewayReport, maxMovesInReport, type ServiceReport } from '../../wire/gateway-report.ts';
import { type AccessLog, isLogged, type ResponseFlag, type Sampling } from '../access-log.ts';
import { judgeByExport } from '../access/verdict.ts';
import { Moves } from '../balance/moves.ts';
import { ServiceBook } from '../balance/service-book.ts';
import { type GatewayLimits, limitsOf, type LimitUse } from '../limits.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Tracer } from '../http/trace/tracer.ts';
import { gaugesOf } from '../metrics/gauges.ts';
import { isLimitReason } from '../metrics/refusals.ts';
import { RequestMetrics } from '../metrics/requests.ts';
import type { MetricSamples } from '../metrics/series.ts';
import { TrafficMetrics } from '../metrics/traffic.ts';
import { ClusterProber } from './cluster-prober.ts';
import { Connections } from './connections.ts';
import { Credentials } from './credentials.ts';
import { HboneServer } from './hbone-server.ts';
import { routesView } from '../routes/view.ts';
import { startHealthServer } from './health-server.ts';
import type { CandidateContext } from './candidates.ts';
import type { HttpContext } from './http/context.ts';
import { H2Seats } from './http/h2-seats.ts';
import { HttpIntake } from './http/http-intake.ts';
import { HttpPorts } from './http/ports.ts';
import { Upstreams } from './http/upstreams.ts';
import type { HttpListener } from './http-listener.ts';
import { ImportListeners } from './import-listeners.ts';
import { Intake } from './intake.ts';
import { type BoundAddress, LocalAddresses } from './local-addresses.ts';
import { startMetricsServer } from './metrics-server.ts';
import { SessionPool } from './pool.ts';
import { Prober } from './prober.ts';
import { RefusalLog } from './refusal-log.ts';

export interface GatewayOptions {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  readonly listen: {
    readonly hbone: ListenAddress;
    /** Where import listeners bind: loopback for static clusters, the pod's address in Kubernetes. */
    readonly importHost: string;
    /** Absent: no health port. */
    readonly health?: ListenAddress;
    /** Absent: no port for metrics. */
    readonly metrics?: ListenAddress;
  };
  readonly svid: SvidSource;
  readonly trust: TrustSource;
  readonly verifier: PeerVerifier;
  readonly table: Watch<RouteTable>;
  readonly step: SharesStep;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<GatewayLimits>;
  /** Absent: what says nothing of its protocol carries bytes, and traces are passed on as they come. */
  readonly http?: {
    /** Look at the first bytes where a port says nothing of its protocol, see `spokenOn`. */
    readonly detect?: boolean;
    readonly tracer?: Tracer;
    /** What becomes of the tracer's spans, for `/metrics`. */
    readonly traceMetrics?: () => readonly MetricSamples[];
  };
  /** One entry per connection, or per request where those are told apart, after its end. Absent: none is written. */
  readonly accessLog?: AccessLog;
  /** Which of them are written. Absent: all. */
  readonly sampling?: Sampling;
  /** Which workload a client's address belongs to. Absent: clients are anonymous of this cluster. */
  readonly identities?: SourceIdentity;
  /** Who may connect to what is exported. Absent: what the export says. */
  readonly access?: AccessJudge;
  /** What it runs from, for `/config`; nothing secret. */
  readonly settings?: object;
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
  readonly metricsPort: number | undefined;
  readonly ready: Watch<boolean>;
  /** Undefined when ready. */
  waitingFor(): string | undefined;
  /** `<namespace>/<name>:<service port>` → local port of its import listener. */
  importPorts(): ReadonlyMap<string, number>;
  /** `movesSince`: moves of traffic since then are told, too; monotonic ms. */
  report(movesSince?: number): GatewayReport;
  /** The other gateways of this cluster carry so much to its endpoints. Forgotten unless it is said again. */
  setSiblingLoads(loads: CarriedLoads): void;
  /**
   * Not ready any more at once, and after `graceMs` (default 0: balancers need a moment to look away) accepts nothing
   * new, tells peers to go away, waits up to `timeoutMs` for connections to end, then resets the rest. Resolves when
   * there is none. `close` must follow.
   */
  drain(timeoutMs: number, graceMs?: number): Promise<void>;
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

/** From left to right only. */
type Stage =
  | 'serving'
  /** Not ready any more, and serving all the same. */
  | 'leaving'
  /** Takes nothing new. */
  | 'draining'
  | 'closed';

class RunningGateway implements Gateway {
  readonly ready: Watchable<boolean> = new Watchable<boolean>(false);
  readonly #options: GatewayOptions;
  readonly #limits: GatewayLimits;
  readonly #metrics = new TrafficMetrics();
  readonly #requests = new RequestMetrics();
  readonly #moves: Moves;
  readonly #credentials: Credentials;
  readonly #book: ServiceBook;
  readonly #pool: SessionPool;
  readonly #prober: Prober;
  readonly #clusterProber: ClusterProber;
  readonly #connections: Connections;
  readonly #http: HttpContext;
  readonly #imports: ImportListeners;
  readonly #intake: Intake;
  readonly #ends: (() => void)[] = [];
  #hbone: HboneServer | undefined;
  #health: HttpListener | undefined;
  #metricsServer: HttpListener | undefined;
  #timer: Timer | undefined;
  #ticks = 0;
  #stage: Stage = 'serving';
  /** An operator's word: it is not ready and sends its peers away, and serves whoever comes all the same. */
  #takenOut = false;

  constructor(options: GatewayOptions, limits: GatewayLimits) {
    const { cluster: self, instance, clock, log, svid, trust, verifier, step } = options;
    this.#options = options;
    this.#limits = limits;
    this.#credentials = new Credentials({ svid, trust, verifier });
    // No process before this one has counted as far as its own clock in µs.
    this.#moves = new Moves(clock.now() * 1000);
    this.#book = new ServiceBook({
      self,
      step,
      rules: limits,
      reach: (cluster) => this.#pool.reach(cluster),
      onChange: (change) => {
        if (!change.up) this.#metrics.ejected(change.cluster, change.service);
        log.warn(change, change.up ? 'back in use' : 'out of use');
      },
      onFailover: (service) => this.#metrics.failedOver(service),
      moves: this.#moves,
    });
    const credentials = this.#credentials;
    const onChange = (): void => this.#book.refresh(clock.monotonic());
    const faults = new RefusalLog(log, clock, this.#metrics);
    this.#pool = new SessionPool({ self, credentials, limits, clock, log, refusals: this.#metrics, faults, onChange });
    this.#prober = new Prober({ book: this.#book, pool: this.#pool, self, limits, clock });
    this.#clusterProber = new ClusterProber({ instance, credentials, limits, clock, faults });
    this.#connections = new Connections({
      limits,
      clock,
      accessLog: (entry) => {
        this.#metrics.connectionEnded(entry);
        if (this.#isLogged(entry.response_flags)) options.accessLog?.(entry);
      },
      onBytes: (bytes) => this.#metrics.carried(bytes),
    });
    this.#imports = new ImportListeners({
      host: options.listen.importHost,
      clock,
      log,
      refusals: this.#metrics,
      onConnection: (socket, imported) => this.#intake.plain(socket, imported),
    });
    const candidates: CandidateContext = {
      book: this.#book,
      pool: this.#pool,
      self,
      now: () => clock.monotonic(),
      random: () => clock.random(),
      limits,
      local: new LocalAddresses(clock, () => this.#bound()),
    };
    this.#http = this.#httpContext(candidates);
    this.#intake = new Intake({
      self,
      clock,
      book: this.#book,
      connections: this.#connections,
      candidates,
      identities: options.identities,
      access: options.access ?? judgeByExport,
      http: new HttpIntake(this.#http),
      upstreams: this.#http.upstreams,
      detect: options.http?.detect ?? false,
      refusals: this.#metrics,
      draining: () => this.#isDraining,
    });
  }

  #httpContext(candidates: CandidateContext): HttpContext {
    const { cluster: self, clock, http } = this.#options;
    const limits = this.#limits;
    const upstreams = new Upstreams(candidates, { clock, limits });
    const ports = new HttpPorts(this.#book, limits);
    return {
      self,
      clock,
      limits,
      upstreams,
      ports,
      h2: new H2Seats(ports, { upstreams, clock, limits }),
      connections: this.#connections,
      goesOn: (exchange) => this.#requestGoesOn(exchange),
      ended: (exchange) => this.#requestEnded(exchange),
      draining: () => this.#isDraining,
      sendsAway: () => this.#sendsAway,
      tracer: http?.tracer,
      requestId: randomUUID,
    };
  }

  get #isDraining(): boolean {
    return this.#stage === 'draining' || this.#stage === 'closed';
  }

  #requestGoesOn(exchange: Exchange): void {
    const bytes = exchange.carried();
    if (bytes) this.#metrics.carried(bytes);
  }

  #requestEnded(exchange: Exchange): void {
    const { clock, accessLog } = this.#options;
    const now = clock.monotonic();
    this.#requests.ended(exchange, now);
    if (exchange.details !== undefined && isLimitReason(exchange.details)) this.#metrics.count(exchange.details);
    this.#requestGoesOn(exchange);
    // Made only to be written.
    if (accessLog && this.#isLogged(exchange.flag)) accessLog(exchange.entry(now, clock.now()));
  }

  #isLogged(flag: ResponseFlag): boolean {
    const { sampling } = this.#options;
    return sampling === undefined || isLogged(flag, sampling);
  }

  async start(): Promise<void> {
    const { clock, log, listen, table, svid, trust } = this.#options;
    this.#hbone = await HboneServer.start({
      listen: listen.hbone,
      credentials: this.#credentials,
      limits: this.#limits,
      clock,
      log,
      refusals: this.#metrics,
      onConnect: (stream, headers, from) => this.#intake.tunnelled(stream, headers, from),
    });
    if (listen.health) this.#health = await startHealthServer(listen.health, () => this.waitingFor());
    if (listen.metrics) this.#metricsServer = await this.#serveMetrics(listen.metrics);
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

  get metricsPort(): number | undefined {
    return this.#metricsServer?.port;
  }

  waitingFor(): string | undefined {
    const { svid, trust, clock, tableStatus } = this.#options;
    if (this.#stage === 'closed') return 'nothing any more: closed';
    if (this.#stage !== 'serving') return 'its end: draining';
    if (this.#takenOut) return 'an operator: drained';
    if (!svid.current) return 'an identity from the agent';
    if (svid.current.notAfter <= clock.now()) return 'a new identity from the agent: the present one has expired';
    if (!trust.current) return 'the roster of the federation';
    return tableStatus?.();
  }

  importPorts(): ReadonlyMap<string, number> {
    return this.#imports.ports();
  }

  report(movesSince?: number): GatewayReport {
    const { instance, svid, trust, version, tableDigest, clock } = this.#options;
    const problems = this.#imports.problems();
    const [problem] = problems.values();
    const waitingFor = this.waitingFor() ?? problem;
    const svidNotAfter = svid.current?.notAfter;
    const rosterSequence = trust.current?.roster.sequence;
    const now = clock.monotonic();
    const moves = movesSince === undefined ? [] : this.#moves.after(movesSince, { now, limit: maxMovesInReport });
    return {
      instance,
      version: version ?? 'unknown',
      ready: this.waitingFor() === undefined,
      ...(waitingFor !== undefined && { waitingFor }),
      draining: this.#sendsAway,
      ...(svidNotAfter !== undefined && { svidNotAfter }),
      ...(rosterSequence !== undefined && { rosterSequence }),
      tableDigest: tableDigest?.() ?? '',
      links: [...this.#pool.report(), ...this.#clusterProber.report()],
      services: this.#book.report(now).map((report) => withProblem(report, problems)),
      ...(moves.length > 0 && { moves }),
    };
  }

  setSiblingLoads(loads: CarriedLoads): void {
    this.#book.setSiblings(loads, this.#options.clock.monotonic());
  }

  async drain(timeoutMs: number, graceMs: number = 0): Promise<void> {
    const { log, clock } = this.#options;
    if (this.#stage !== 'serving') return;
    this.#stage = 'leaving';
    this.#judgeReadiness();
    log.info({ connections: this.#connections.size, graceMs, timeoutMs }, 'draining');
    if (graceMs > 0) await sleep(clock, graceMs);
    // Closed meanwhile, and everything with it.
    if (this.#ended) return;
    this.#stage = 'draining';
    await this.#imports.stop();
    this.#hbone?.drain();
    this.#connections.drain();
    if (await this.#emptied(timeoutMs)) return;
    log.warn({ connections: this.#connections.size }, 'drain time is over: the rest is reset');
    this.#connections.cutAll();
    await this.#emptied(cutMs);
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#stage = 'closed';
    this.#judgeReadiness();
    this.#timer?.cancel();
    for (const end of this.#ends) end();
    await this.#imports.stop();
    this.#prober.close();
    this.#clusterProber.close();
    this.#connections.cutAll();
    await this.#emptied(cutMs);
    this.#http.ports.close();
    this.#http.h2.close();
    this.#pool.destroy();
    await this.#hbone?.close();
    await this.#health?.close();
    await this.#metricsServer?.close();
  }

  get #ended(): boolean {
    return this.#stage === 'closed';
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
    this.#connections.weigh();
    if (this.#ticks % sweepEvery === 0) {
      this.#book.judge(now);
      this.#clusterProber.tick(now);
      this.#connections.sweep(now);
      this.#http.ports.sweep(now);
      this.#http.h2.sweep(now);
      this.#pool.recheckExpired(clock.now());
      this.#hbone?.recheckExpired(clock.now());
    }
    this.#ticks += 1;
    this.#timer = clock.schedule(tickMs, () => this.#tick());
  }

  #setTable(table: RouteTable): void {
    this.#pool.setTable(table);
    this.#book.setTable(table, this.#options.clock.monotonic());
    this.#clusterProber.setTable(table);
    this.#connections.recheck();
    this.#setTakenOut(table);
    if (this.#stage === 'serving' || this.#stage === 'leaving') void this.#imports.setTable(table);
    this.#judgeReadiness();
  }

  /** Clients that can come back elsewhere are asked to: `connection: close`, GOAWAY. */
  get #sendsAway(): boolean {
    return this.#stage !== 'serving' || this.#takenOut;
  }

  #setTakenOut(table: RouteTable): void {
    const { cluster, instance, log } = this.#options;
    const takenOut = table.clusters.get(cluster)?.drained?.includes(instance) === true;
    if (takenOut === this.#takenOut) return;
    this.#takenOut = takenOut;
    log.info({ connections: this.#connections.size }, takenOut ? 'drained by an operator' : 'no longer drained');
    if (!takenOut) return;
    this.#hbone?.sendAway();
    this.#connections.drain();
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

  *#bound(): Generator<BoundAddress> {
    yield* this.#imports.bound();
    const bound = this.#hbone?.bound;
    if (bound) yield bound;
  }

  #limitUse(): LimitUse {
    const { open, pending, buffered } = this.#connections.busiestPeer;
    const pool = this.#pool.use;
    return {
      connections: this.#connections.size,
      pendingConnects: this.#connections.pending,
      connectionsPerPeer: open,
      pendingConnectsPerPeer: pending,
      receiveBudgetBytes: this.#connections.buffered,
      receiveBudgetPerPeerBytes: buffered,
      handshakes: this.#hbone?.handshakes.all ?? 0,
      handshakesPerAddress: this.#hbone?.handshakes.ofOneAddress ?? 0,
      inboundSessions: this.#hbone?.sessions ?? 0,
      sessionsPerPeer: this.#hbone?.mostOfOnePeer ?? 0,
      warmGateways: pool.gateways,
      sessionsPerGateway: pool.sessions,
      streamsPerSession: pool.streams,
      waitersPerGateway: pool.waiters,
      probesAtOnce: this.#prober.running,
    };
  }

  #serveMetrics(listen: ListenAddress): Promise<HttpListener> {
    const { cluster, instance, version, settings, table, clock, svid } = this.#options;
    const limits = this.#limits;
    const gauges = (): ReturnType<typeof gaugesOf> =>
      gaugesOf({
        version: version ?? 'unknown',
        report: this.report(),
        limits,
        use: this.#limitUse(),
        entries: this.#book.entries,
        svidNotAfter: svid.current?.notAfter,
      });
    const traces = (): readonly MetricSamples[] => this.#options.http?.traceMetrics?.() ?? [];
    return startMetricsServer(listen, {
      metrics: () => [...this.#metrics.metrics(), ...this.#requests.metrics(), ...traces(), ...gauges()],
      config: () => ({ cluster, instance, version, limits, ...(settings && { settings }) }),
      routes: () => routesView(table.current, this.#book, clock.monotonic()),
      stats: () => ({ report: this.report(), limits: this.#limitUse() }),
    });
  }
}

function withProblem(report: ServiceReport, problems: ReadonlyMap<string, string>): ServiceReport {
  for (const [name, problem] of problems) if (name.startsWith(`${report.service}:`)) return { ...report, problem };
  return report;
}

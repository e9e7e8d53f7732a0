import { IsthmusError } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { LimitName } from '../../model/gateway-limits.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { GatewayTarget } from '../../model/route.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { TokenBucket } from '../../runtime/token-bucket.ts';
import type { ConnectAnswer } from '../../wire/connect.ts';
import type { LinkReport } from '../../wire/gateway-report.ts';
import type { GatewayLimits } from '../limits.ts';
import { PeakEwma } from '../balance/choice/peak-ewma.ts';
import type { Choosable } from '../balance/choice/strategy.ts';
import type { Refusals } from '../metrics/refusals.ts';
import { LinkFacts, type Reach } from '../tunnel/link-facts.ts';
import type { GatewayFault } from '../tunnel/session-fault.ts';
import type { SessionState } from '../tunnel/session-state.ts';
import type { Credentials } from './credentials.ts';
import type { RefusalLog } from './refusal-log.ts';
import { openSession, type TunnelSession } from './session.ts';

export interface LinkOptions {
  readonly cluster: ClusterName;
  readonly target: GatewayTarget;
  readonly credentials: Credentials;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly refusals: Refusals;
  /** Where faults of gateways are told. */
  readonly faults: RefusalLog;
  /** Whether it was up, down or never tried has changed. */
  readonly onChange: () => void;
}

type Waiter = (outcome: TunnelSession | IsthmusError) => void;

const firstRetryMs = 50;
/** A session that lasted for less proves nothing: the pauses go on growing. */
const stableMs = 10_000;
/** Lines of one link that comes and goes all the time. */
const lineRule = { perSecond: 2 / 60, burst: 10 };

/** The way to one gateway of another cluster: its sessions, kept warm, and what is known of it. */
export class Link implements Choosable {
  readonly id: string;
  readonly latency: PeakEwma = new PeakEwma();
  /** Gateways take turns by load alone: a session is ready or not. */
  readonly since: number = Number.NEGATIVE_INFINITY;
  readonly target: GatewayTarget;
  readonly cluster: ClusterName;
  readonly #options: LinkOptions;
  readonly #backoff: Backoff;
  readonly #sessions = new Set<TunnelSession>();
  /** Sessions that take no new streams but still carry some. */
  readonly #leaving = new Set<TunnelSession>();
  readonly #waiters = new Set<Waiter>();
  readonly #facts: LinkFacts;
  readonly #lines: TokenBucket;
  #unlogged = 0;
  #state: SessionState = { kind: 'idle', retryAt: undefined };
  #attempt: AbortController | undefined;
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.target = options.target;
    this.cluster = options.cluster;
    const address = addressOf(options.target);
    this.id = `${options.target.instance} ${address}`;
    this.#facts = new LinkFacts(
      { cluster: options.cluster, instance: options.target.instance, address },
      options.clock.monotonic(),
    );
    this.#lines = new TokenBucket(lineRule, options.clock.monotonic());
    this.#backoff = new Backoff({ initialMs: firstRetryMs, maxMs: options.limits.reconnectMaxMs }, () =>
      options.clock.random(),
    );
    this.#connect();
  }

  /** `unknown`: no attempt has ended yet. */
  get reach(): Reach {
    return this.#facts.reach;
  }

  /** Of the newest session or of the attempt to get one. */
  get state(): SessionState {
    return this.#state;
  }

  get active(): number {
    let sum = 0;
    for (const session of this.#sessions) sum += session.active;
    return sum;
  }

  /** Median round trip in ms; 0 while never measured. */
  get rttMs(): number {
    return this.#facts.rttMs;
  }

  /** The least busy session that takes a stream now. */
  pick(): TunnelSession | undefined {
    let best: TunnelSession | undefined;
    for (const session of this.#sessions) if (!best || session.active < best.active) best = session;
    if (best?.busy && this.#sessions.size < this.#options.limits.sessionsPerGateway) this.#connect();
    return best?.full ? undefined : best;
  }

  /** Calls back once with a session or with why there is none. Starts an attempt now if none runs. */
  whenReady(waiter: Waiter): () => void {
    const present = this.pick();
    const reached = present ? undefined : this.#limitReached();
    if (reached) this.#options.refusals.count(`limit-${reached}`);
    if (present || reached || this.#closed) {
      waiter(
        present ?? new IsthmusError('exhausted', `This gateway takes no more connections: ${reached ?? 'closed'}`),
      );
      return () => undefined;
    }
    this.#waiters.add(waiter);
    this.#connect();
    return () => void this.#waiters.delete(waiter);
  }

  /** What keeps another connection from waiting for a session. */
  #limitReached(): LimitName | undefined {
    const { sessionsPerGateway, waitersPerGateway } = this.#options.limits;
    if (this.#sessions.size >= sessionsPerGateway) return 'sessionsPerGateway';
    return this.#waiters.size >= waitersPerGateway ? 'waitersPerGateway' : undefined;
  }

  /** A new identity: sessions with the old one end when their streams have, once there is another. */
  renew(): void {
    if (!this.#attempt) this.#connect();
  }

  /** What was missing may be there now: tries at once when there is no session. */
  kick(): void {
    if (this.#sessions.size === 0) this.#connect();
  }

  /** Sessions whose peer is no longer accepted end. `expiredAt`: looks only at peers that have run out by then. */
  recheck(expiredAt: number = Number.POSITIVE_INFINITY): void {
    for (const session of [...this.#sessions, ...this.#leaving]) {
      if (session.peer.notAfter > expiredAt) continue;
      const verdict = this.#options.credentials.recheck(session.peer);
      if (verdict.ok) continue;
      if (verdict.reason === 'expired') session.close(`Peer's certificate has expired`);
      else session.destroy(new IsthmusError('unauthenticated', `Peer is no longer trusted: ${verdict.detail}`));
    }
  }

  /** What it said to a CONNECT: a refusal gives its reason. */
  answered(answer: ConnectAnswer): void {
    if (answer.ok || answer.reason !== undefined) return;
    this.#blame('gateway-answer', `A CONNECT was answered with ${answer.status}`);
  }

  report(): LinkReport {
    return this.#facts.report(this.#options.clock.monotonic());
  }

  /** Sessions that are still open, also those that drain. */
  get sessions(): number {
    return this.#sessions.size + this.#leaving.size;
  }

  /** What it holds of what is limited. */
  get use(): { readonly sessions: number; readonly streams: number; readonly waiters: number } {
    const streams = [...this.#sessions].reduce((most, session) => Math.max(most, session.active), 0);
    return { sessions: this.#sessions.size, streams, waiters: this.#waiters.size };
  }

  /** No new streams and no new sessions; the open ones end with their last stream. */
  close(): void {
    this.#stop();
    for (const session of this.#sessions) session.close('This gateway no longer needs the session');
  }

  /** Ends everything now. */
  destroy(): void {
    this.#stop();
    for (const session of [...this.#sessions, ...this.#leaving]) {
      session.destroy(new IsthmusError('cancelled', 'This gateway has ended the session'));
    }
  }

  #stop(): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#attempt?.abort();
    this.#answer(new IsthmusError('cancelled', 'The link is closed'));
  }

  /** Starts an attempt unless one runs. */
  #connect(): void {
    if (this.#closed || this.#attempt) return;
    // Without an identity nothing is learnt of the peer: it stays unknown, and `kick` follows.
    if (!this.#options.credentials.context()) return this.#answer(new IsthmusError('unavailable', 'No identity yet'));
    this.#retry?.cancel();
    const attempt = new AbortController();
    this.#attempt = attempt;
    const { clock } = this.#options;
    if (this.#sessions.size === 0) this.#state = { kind: 'connecting', since: clock.monotonic() };
    this.#facts.sent(clock.monotonic());
    openSession(
      { ...this.#options, signal: attempt.signal },
      {
        onRtt: (ms) => {
          this.#facts.roundTrip(ms);
          this.latency.observe(ms, clock.monotonic());
        },
        onPing: () => this.#facts.sent(clock.monotonic()),
        onFault: (fault, detail) => this.#blame(fault, detail),
        onLeave: (session) => this.#left(session),
        onEnd: (session) => void this.#leaving.delete(session),
      },
    ).then(
      (session) => this.#opened(session),
      (thrown: unknown) => this.#failed(IsthmusError.from(thrown, 'unavailable')),
    );
  }

  #opened(session: TunnelSession): void {
    this.#attempt = undefined;
    if (this.#closed) return session.destroy(new IsthmusError('cancelled', 'The link is closed'));
    if (session.state.kind !== 'ready') return this.#failed(new IsthmusError('unavailable', 'Closed at once'));
    this.#sessions.add(session);
    this.#state = session.state;
    this.#setReach('up', undefined);
    this.#answer(session);
    this.#retireOld();
  }

  /** Sessions of an identity that was replaced end as their streams end, once there is one of the present identity. */
  #retireOld(): void {
    const { generation } = this.#options.credentials;
    const old = [...this.#sessions].filter((session) => session.generation !== generation);
    if (old.length === 0) return;
    if (old.length === this.#sessions.size) return this.#connect();
    for (const session of old) session.close('Replaced: this gateway has a new identity');
  }

  #failed(error: IsthmusError): void {
    this.#attempt = undefined;
    if (this.#closed) return;
    this.#facts.lost(this.#options.clock.monotonic());
    this.#answer(error);
    if (this.#sessions.size === 0) this.#setReach('down', error.message);
    this.#plan();
  }

  #left(session: TunnelSession): void {
    this.#sessions.delete(session);
    if (session.state.kind === 'draining') this.#leaving.add(session);
    const { state } = session;
    const now = this.#options.clock.monotonic();
    if (state.kind === 'dead') this.#facts.lost(now);
    if (now - session.openedAt >= stableMs) this.#backoff.reset();
    if (this.#closed || this.#sessions.size > 0) return;
    this.#state = state;
    this.#setReach('down', state.kind === 'dead' || state.kind === 'draining' ? state.reason : undefined);
    this.#plan();
  }

  #plan(): void {
    if (this.#attempt) return;
    const delayMs = this.#backoff.next();
    if (this.#sessions.size === 0) this.#state = { kind: 'idle', retryAt: this.#options.clock.monotonic() + delayMs };
    this.#retry?.cancel();
    this.#retry = this.#options.clock.schedule(delayMs, () => {
      if (this.#sessions.size === 0) this.#connect();
    });
  }

  #answer(outcome: TunnelSession | IsthmusError): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter(outcome);
  }

  /** Counts what the gateway there is to blame for, and logs it once a minute. */
  #blame(fault: GatewayFault, detail: string): void {
    this.#options.faults.note(`${this.cluster}/${this.id}`, fault, detail);
  }

  #setReach(reach: 'up' | 'down', reason: string | undefined): void {
    const now = this.#options.clock.monotonic();
    if (!this.#facts.set(reach, reason, now)) return;
    this.#options.onChange();
    if (this.#lines.waitMs(now) > 0) {
      this.#unlogged += 1;
      return;
    }
    this.#lines.take(now);
    const unlogged = this.#unlogged > 0 ? { unlogged: this.#unlogged } : {};
    this.#unlogged = 0;
    const { cluster, instance: gateway, address } = this.#facts.name;
    if (reach === 'up') this.#options.log.info({ cluster, gateway, address, ...unlogged }, 'link is up');
    else this.#options.log.warn({ cluster, gateway, address, reason, ...unlogged }, 'link is down');
  }
}

export function addressOf(target: GatewayTarget): string {
  return target.address.includes(':') ? `[${target.address}]:${target.port}` : `${target.address}:${target.port}`;
}

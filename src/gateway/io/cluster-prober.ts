import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { GatewayTarget, RouteTable } from '../../model/route.ts';
import { decodeLoad, encodeProbe } from '../../wire/connect.ts';
import type { LinkReport } from '../../wire/gateway-report.ts';
import type { GatewayLimits } from '../limits.ts';
import { isElected, unusedClusters } from '../routes/serving.ts';
import { LinkFacts } from '../tunnel/link-facts.ts';
import type { Credentials } from './credentials.ts';
import { addressOf } from './link.ts';
import type { RefusalLog } from './refusal-log.ts';
import { openSession, type TunnelSession } from './session.ts';

export interface ClusterProberOptions {
  readonly instance: ReplicaName;
  readonly credentials: Credentials;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
  /** Where faults of gateways are told. */
  readonly faults: RefusalLog;
}

/** One probe lasts so long: enough for a few pings. */
const probeMs = 700;
/** And so many round trips more on a long way. */
const timeoutRoundTrips = 4;
/** Full handshakes side by side. */
const abreast = 8;

interface Watched {
  readonly cluster: ClusterName;
  readonly target: GatewayTarget;
  readonly facts: LinkFacts;
  /** Ends the probe that runs. */
  stop: (() => void) | undefined;
  /** Monotonic ms. */
  dueAt: number;
}

/**
 * Measures the way to clusters that nothing here has traffic for, through the real tunnel and back: handshake, pings, an
 * answer of the gateway itself. Only one gateway of a cluster does it (`isElected`), and no session stays open.
 */
export class ClusterProber {
  readonly #options: ClusterProberOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: ClusterProberOptions) {
    this.#options = options;
  }

  setTable(table: RouteTable): void {
    const wanted = new Set<string>();
    const clusters = isElected(table, this.#options.instance) ? unusedClusters(table) : [];
    for (const { name: cluster, gateways } of clusters) {
      for (const target of gateways) {
        const key = `${cluster} ${target.instance} ${addressOf(target)}`;
        wanted.add(key);
        if (this.#watched.has(key) || this.#watched.size >= this.#options.limits.warmGateways) continue;
        const now = this.#options.clock.monotonic();
        const facts = new LinkFacts({ cluster, instance: target.instance, address: addressOf(target) }, now);
        this.#watched.set(key, { cluster, target, facts, stop: undefined, dueAt: now });
      }
    }
    for (const [key, watched] of this.#watched) {
      if (wanted.has(key)) continue;
      watched.stop?.();
      this.#watched.delete(key);
    }
    this.tick(this.#options.clock.monotonic());
  }

  /** Starts the probes that are due. */
  tick(now: number): void {
    if (!this.#options.credentials.context()) return;
    const { clusterProbeIntervalMs } = this.#options.limits;
    for (const watched of this.#watched.values()) {
      if (this.running >= abreast) return;
      if (watched.stop || watched.dueAt > now) continue;
      // Not all at one moment: an interval and a half at most.
      watched.dueAt = now + clusterProbeIntervalMs * (0.75 + this.#options.clock.random() / 2);
      this.#probe(watched);
    }
  }

  /** Probes that run now. */
  get running(): number {
    let count = 0;
    for (const { stop } of this.#watched.values()) if (stop) count += 1;
    return count;
  }

  report(): LinkReport[] {
    const now = this.#options.clock.monotonic();
    return [...this.#watched.values()].map(({ facts }) => facts.report(now));
  }

  close(): void {
    for (const { stop } of this.#watched.values()) stop?.();
    this.#watched.clear();
  }

  #probe(watched: Watched): void {
    const { clock, credentials, limits, faults } = this.#options;
    const { facts, cluster, target } = watched;
    const attempt = new AbortController();
    let session: TunnelSession | undefined;
    let timer: Timer | undefined;
    const over = (): void => {
      watched.stop = undefined;
      timer?.cancel();
      attempt.abort();
    };
    const failed = (thrown: unknown): void => {
      if (attempt.signal.aborted) return;
      facts.lost(clock.monotonic());
      facts.set('down', messageOf(thrown), clock.monotonic());
      over();
      session?.destroy(new IsthmusError('cancelled', 'The probe has failed'));
    };
    watched.stop = (): void => {
      over();
      session?.destroy(new IsthmusError('cancelled', 'No longer wanted'));
    };
    facts.sent(clock.monotonic());
    openSession(
      { cluster, target, credentials, limits, clock, signal: attempt.signal },
      {
        onRtt: (ms) => facts.roundTrip(ms),
        onPing: () => facts.sent(clock.monotonic()),
        onFault: (fault, detail) => faults.note(`${cluster}/${target.instance}`, fault, detail),
        onLeave: () => undefined,
        onEnd: () => failed(new IsthmusError('unavailable', 'The session ended during the probe')),
      },
    ).then((opened) => {
      session = opened;
      if (attempt.signal.aborted) return opened.destroy(new IsthmusError('cancelled', 'No longer wanted'));
      const answered = this.#ask(watched, opened);
      timer = clock.schedule(probeMs + timeoutRoundTrips * facts.rttMs, () => {
        if (!answered()) return failed(new IsthmusError('timeout', 'The gateway did not answer the probe'));
        over();
        // A clean end: peers count the others.
        opened.close('The probe is over');
      });
    }, failed);
  }

  /**
   * Asks the gateway itself: an HTTP/2 library that answers pings is not yet a gateway that serves.
   * @returns whether it has answered by now
   */
  #ask({ facts }: Watched, session: TunnelSession): () => boolean {
    let answered = false;
    try {
      const stream = session.open(encodeProbe());
      stream.on('error', () => undefined);
      stream.once('response', (headers) => {
        answered = true;
        stream.resume().end();
        const load = decodeLoad(headers);
        if (load !== undefined) facts.said(load);
        facts.set('up', undefined, this.#options.clock.monotonic());
      });
    } catch {
      // The session ends at this very moment, and that is what the probe then reports.
    }
    return () => answered;
  }
}

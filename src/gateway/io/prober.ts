import { connect as connectTcp } from 'node:net';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { decodeAnswer, encodeConnect } from '../../wire/connect.ts';
import type { ServiceBook, Subject } from '../balance/service-book.ts';
import type { GatewayLimits } from '../limits.ts';
import type { SessionPool } from './pool.ts';

export interface ProberOptions {
  readonly book: ServiceBook;
  readonly pool: SessionPool;
  readonly self: ClusterName;
  readonly limits: GatewayLimits;
  readonly clock: Clock;
}

/** Looks whether what was ejected works again: a TCP connection to an endpoint, a CONNECT to a service elsewhere. */
export class Prober {
  readonly #options: ProberOptions;
  readonly #running = new Set<() => void>();

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Probes in flight. */
  get running(): number {
    return this.#running.size;
  }

  /** Starts the probes that are due, within the bound. */
  tick(now: number): void {
    const room = this.#options.limits.probesAtOnce - this.#running.size;
    if (room <= 0) return;
    for (const subject of this.#options.book.takeProbes(now, room)) {
      if (subject.kind === 'endpoint') this.#probeEndpoint(subject);
      else this.#probeRemote(subject);
    }
  }

  close(): void {
    for (const stop of this.#running) stop();
    this.#running.clear();
  }

  #probeEndpoint(subject: Extract<Subject, { kind: 'endpoint' }>): void {
    const { endpoint } = subject.state;
    const [port] = endpoint.ports.values();
    if (port === undefined) return;
    const { book, clock, limits } = this.#options;
    const socket = connectTcp({ host: endpoint.address, port });
    const stop = (): void => {
      timer.cancel();
      this.#running.delete(stop);
      socket.off('error', failed).on('error', () => undefined);
      socket.destroy();
    };
    const failed = (): void => {
      stop();
      book.probeFailed(subject, clock.monotonic());
    };
    const timer = clock.schedule(limits.probeTimeoutMs, failed);
    this.#running.add(stop);
    socket.on('error', failed).once('connect', () => {
      stop();
      book.reached(subject, clock.monotonic());
    });
  }

  #probeRemote(subject: Extract<Subject, { kind: 'remote' }>): void {
    const { book, pool, clock, limits, self } = this.#options;
    const { entry, cluster } = subject;
    const port = entry.route.targets.find((target) => target.cluster === cluster)?.ports[0];
    const [link] = pool.links(cluster, { limit: 1 });
    const session = link?.pick();
    if (port === undefined || !link || !session) return;
    let stream: ReturnType<typeof session.open>;
    try {
      stream = session.open(encodeConnect({ service: entry.route.key, port, hop: 0, sourceCluster: self }));
    } catch {
      // The session ends at this very moment; the next probe finds another one or none.
      return;
    }
    const timer = clock.schedule(limits.probeTimeoutMs, () => stream.destroy(new Error('No answer to the probe')));
    const stop = (): void => void stream.destroy(new Error('No longer wanted'));
    this.#running.add(stop);
    let answered = false;
    stream
      .on('error', () => undefined)
      .once('close', () => {
        timer.cancel();
        this.#running.delete(stop);
        // A tunnel that broke says nothing of the service behind it.
        if (!answered && !session.broken) book.probeFailed(subject, clock.monotonic());
      });
    stream.once('response', (headers) => {
      answered = true;
      // A clean end: resets count against the patience of foreign peers.
      stream.resume().end();
      const answer = decodeAnswer(headers);
      link.answered(answer);
      if (answer.ok) book.reached(subject, clock.monotonic());
      else book.probeFailed(subject, clock.monotonic());
    });
  }
}

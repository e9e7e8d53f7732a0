import { connect as connectTcp } from 'node:net';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Probe, ServiceBook } from '../balance/service-book.ts';
import type { ServiceEntry, EndpointState } from '../balance/service-entry.ts';
import type { GatewayLimits } from '../limits.ts';
import { decodeAnswer, encodeConnect } from '../../wire/connect.ts';
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

  /** Starts the probes that are due, within the bound. */
  tick(now: number): void {
    const room = this.#options.limits.probesAtOnce - this.#running.size;
    if (room <= 0) return;
    for (const probe of this.#options.book.takeProbes(now, room)) this.#start(probe);
  }

  close(): void {
    for (const stop of this.#running) stop();
    this.#running.clear();
  }

  #start(probe: Probe): void {
    if (probe.kind === 'endpoint') this.#probeEndpoint(probe.entry, probe.state);
    else this.#probeRemote(probe.entry, probe.cluster);
  }

  #probeEndpoint(entry: ServiceEntry, state: EndpointState): void {
    const [port] = state.endpoint.ports.values();
    if (port === undefined) return;
    const { book, clock, limits } = this.#options;
    const socket = connectTcp({ host: state.endpoint.address, port });
    const stop = (): void => {
      timer.cancel();
      this.#running.delete(stop);
      socket.destroy();
    };
    const timer = clock.schedule(limits.probeTimeoutMs, stop);
    this.#running.add(stop);
    socket.on('error', stop).once('connect', () => {
      stop();
      book.endpointWorked(entry, state, clock.monotonic());
    });
  }

  #probeRemote(entry: ServiceEntry, cluster: ClusterName): void {
    const { book, pool, clock, limits, self } = this.#options;
    const port = entry.route.targets.find((target) => target.cluster === cluster)?.ports[0];
    const session = pool.links(cluster, 1)[0]?.pick();
    if (port === undefined || !session) return;
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
    stream
      .on('error', () => undefined)
      .once('close', () => {
        timer.cancel();
        this.#running.delete(stop);
      });
    stream.once('response', (headers) => {
      // A clean end: resets count against the patience of foreign peers.
      stream.resume().end();
      if (decodeAnswer(headers).ok) book.remoteWorked(entry, cluster, clock.monotonic());
    });
  }
}

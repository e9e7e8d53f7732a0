import { Client } from 'undici';
import type { ClusterName, ServiceKey } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Latencies } from './latency.ts';

export interface TrafficOptions {
  readonly from: ClusterName;
  readonly service: ServiceKey;
  /** Import listener of the gateway in `from`. */
  readonly port: number;
  /** Clients at once; each has one connection and one request in flight. */
  readonly concurrency: number;
  /** Pause of a client between two requests. */
  readonly thinkMs: number;
  /** A connection is closed and opened anew after so many requests: a real fleet's connections come and go. */
  readonly requestsPerConnection: number;
  readonly clock: Clock;
}

export interface TrafficCounts {
  readonly sent: number;
  readonly succeeded: number;
  /** On a connection that was open to an instance when that was killed: physics, at most one a client and kill. */
  readonly interrupted: number;
  readonly failed: number;
}

/** What one client knows of its present connection. */
interface Connection {
  readonly client: Client;
  /** Monotonic ms; undefined until TCP is up. The library reconnects by itself when an idle connection was closed. */
  openedAt: number | undefined;
  servedBy: string | undefined;
  requests: number;
}

interface Kill {
  readonly cluster: ClusterName;
  readonly at: number;
}

/** Requests from one cluster to one service, by clients that never retry. */
export class Traffic {
  readonly options: TrafficOptions;
  readonly latencies: Latencies = new Latencies();
  readonly #byCluster = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #kills: Kill[] = [];
  readonly #errors: string[] = [];
  readonly #servedBy = new Map<number, string>();
  readonly #servedListeners = new Set<(client: number, cluster: string) => void>();
  #sent = 0;
  #succeeded = 0;
  #interrupted = 0;
  #failed = 0;
  #running: Promise<unknown> | undefined;

  constructor(options: TrafficOptions) {
    this.options = options;
  }

  get counts(): TrafficCounts {
    return { sent: this.#sent, succeeded: this.#succeeded, interrupted: this.#interrupted, failed: this.#failed };
  }

  /** Successful requests by the cluster that served them, since the last call. */
  takeServed(): ReadonlyMap<string, number> {
    const taken = new Map(this.#byCluster);
    this.#byCluster.clear();
    return taken;
  }

  /** Clients whose last answer came from another cluster, or that have had none yet. */
  clientsNotOn(cluster: ClusterName): readonly number[] {
    const all = Array.from({ length: this.options.concurrency }, (_, index) => index);
    return all.filter((index) => this.#servedBy.get(index) !== cluster);
  }

  /** The first failures that were not interruptions, for people. */
  get errors(): readonly string[] {
    return this.#errors;
  }

  start(): void {
    this.#running ??= Promise.all(Array.from({ length: this.options.concurrency }, (_, index) => this.#client(index)));
  }

  /** Lets requests in flight finish. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Must be told in the same tick in which an instance is killed. */
  noteKill(cluster: ClusterName): void {
    this.#kills.push({ cluster, at: this.options.clock.monotonic() });
    if (this.#kills.length > 100) this.#kills.shift();
  }

  /** Tells of every success: which client, and which cluster served it. */
  onServed(listener: (client: number, cluster: string) => void): () => void {
    this.#servedListeners.add(listener);
    return () => void this.#servedListeners.delete(listener);
  }

  async #client(index: number): Promise<void> {
    const { clock, thinkMs, requestsPerConnection, concurrency } = this.options;
    const { signal } = this.#stop;
    // Clients start spread over one pause, not in step.
    await sleep(clock, (thinkMs * index) / concurrency, signal);
    let connection: Connection | undefined;
    while (!signal.aborted) {
      if (connection && connection.requests >= requestsPerConnection) {
        await connection.client.close();
        connection = undefined;
      }
      connection ??= this.#connect();
      if (!(await this.#request(index, connection))) {
        await connection.client.destroy();
        connection = undefined;
      }
      await sleep(clock, thinkMs, signal);
    }
    await connection?.client.close();
  }

  #connect(): Connection {
    const origin = `http://127.0.0.1:${this.options.port}`;
    const client = new Client(origin, { pipelining: 1, headersTimeout: 10_000, bodyTimeout: 10_000 });
    const connection: Connection = { client, openedAt: undefined, servedBy: undefined, requests: 0 };
    client.on('connect', () => {
      connection.openedAt = this.options.clock.monotonic();
      connection.servedBy = undefined;
    });
    return connection;
  }

  async #request(index: number, connection: Connection): Promise<boolean> {
    const startedAt = this.options.clock.monotonic();
    this.#sent += 1;
    connection.requests += 1;
    try {
      const response = await connection.client.request({ method: 'GET', path: '/' });
      await response.body.dump();
      const servedBy = String(response.headers['x-served-by'] ?? '?');
      if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
      connection.servedBy = servedBy;
      this.#succeeded += 1;
      this.latencies.record(this.options.clock.monotonic() - startedAt);
      this.#byCluster.set(servedBy, (this.#byCluster.get(servedBy) ?? 0) + 1);
      this.#servedBy.set(index, servedBy);
      for (const listener of this.#servedListeners) listener(index, servedBy);
      return true;
    } catch (thrown) {
      this.#countFailure(connection, thrown);
      return false;
    }
  }

  #countFailure(connection: Connection, thrown: unknown): void {
    const { openedAt, servedBy } = connection;
    const interrupted =
      openedAt !== undefined &&
      this.#kills.some((kill) => openedAt <= kill.at && (servedBy === undefined || servedBy === kill.cluster));
    if (interrupted) {
      this.#interrupted += 1;
      return;
    }
    this.#failed += 1;
    if (this.#errors.length < 10) {
      const { message, code } = thrown as Error & { code?: string };
      this.#errors.push(`${code ?? 'error'}: ${message} (connection served by ${servedBy ?? 'nobody yet'})`);
    }
  }
}

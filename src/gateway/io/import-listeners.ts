import type { Socket } from 'node:net';
import { IsthmusError } from '../../model/error.ts';
import type { ServiceKey } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { RouteTable } from '../../model/route.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { listenTcp, type TcpServer } from '../../runtime/io/tcp-server.ts';

/** A service port that has a listener here. */
export interface ImportedPort {
  readonly service: ServiceKey;
  readonly port: number;
  readonly importPort: number;
}

export interface ImportListenersOptions {
  readonly host: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onConnection: (socket: Socket, imported: ImportedPort) => void;
}

const retry = { initialMs: 200, maxMs: 5000 };

/** One plain listener, retried for as long as it is wanted. */
class ImportListener {
  readonly imported: ImportedPort;
  readonly #options: ImportListenersOptions;
  readonly #backoff: Backoff;
  #server: TcpServer | undefined;
  #timer: Timer | undefined;
  #problem: string | undefined;
  #ended = false;
  #opening: Promise<void>;

  constructor(imported: ImportedPort, options: ImportListenersOptions) {
    this.imported = imported;
    this.#options = options;
    this.#backoff = new Backoff(retry, () => options.clock.random());
    this.#opening = this.#open();
  }

  get port(): number | undefined {
    return this.#server?.port;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves after the first attempt. */
  get opening(): Promise<void> {
    return this.#opening;
  }

  /** Stops accepting; open connections go on. */
  async stop(): Promise<void> {
    this.#ended = true;
    this.#timer?.cancel();
    await this.#opening;
    this.#server?.stop();
    this.#server = undefined;
  }

  async #open(): Promise<void> {
    const { imported } = this;
    const { host, clock, log, onConnection } = this.#options;
    try {
      const server = await listenTcp({ host, port: imported.importPort }, (socket) => onConnection(socket, imported));
      if (this.#ended) return server.stop();
      this.#server = server;
      if (this.#problem !== undefined) log.info({ ...imported, host }, 'import listener is open after all');
      this.#problem = undefined;
    } catch (thrown) {
      const { message } = IsthmusError.from(thrown, 'unavailable');
      if (this.#problem !== message) log.warn({ ...imported, reason: message }, 'import listener waits for its port');
      this.#problem = message;
      if (this.#ended) return;
      this.#timer = clock.schedule(this.#backoff.next(), () => {
        this.#opening = this.#open();
      });
    }
  }
}

/** A plain listener per imported service port, kept in step with the table. */
export class ImportListeners {
  readonly #options: ImportListenersOptions;
  readonly #listeners = new Map<number, ImportListener>();
  #ended = false;

  constructor(options: ImportListenersOptions) {
    this.#options = options;
  }

  /** Resolves when each new listener was tried once. */
  async setTable(table: RouteTable): Promise<void> {
    if (this.#ended) return;
    const wanted = importedPorts(table);
    for (const [port, listener] of this.#listeners) {
      const next = wanted.get(port);
      if (next && next.service === listener.imported.service && next.port === listener.imported.port) continue;
      this.#listeners.delete(port);
      void listener.stop();
    }
    for (const [port, imported] of wanted) {
      if (!this.#listeners.has(port)) this.#listeners.set(port, new ImportListener(imported, this.#options));
    }
    await Promise.all([...this.#listeners.values()].map((listener) => listener.opening));
  }

  /** `<namespace>/<name>:<service port>` → the port in use. */
  ports(): ReadonlyMap<string, number> {
    const ports = new Map<string, number>();
    for (const { imported, port } of this.#listeners.values()) {
      if (port !== undefined) ports.set(`${imported.service}:${imported.port}`, port);
    }
    return ports;
  }

  /** Why listeners are not open, by import port. */
  problems(): ReadonlyMap<number, string> {
    const problems = new Map<number, string>();
    for (const [port, { problem }] of this.#listeners) if (problem !== undefined) problems.set(port, problem);
    return problems;
  }

  listensOn(port: number): boolean {
    return this.#listeners.has(port);
  }

  async stop(): Promise<void> {
    this.#ended = true;
    const all = [...this.#listeners.values()];
    this.#listeners.clear();
    await Promise.all(all.map((listener) => listener.stop()));
  }
}

/** By import port. A port that two services claim goes to the first by name; the agent allocates without clashes. */
function importedPorts(table: RouteTable): Map<number, ImportedPort> {
  const wanted = new Map<number, ImportedPort>();
  for (const key of [...table.services.keys()].sort()) {
    for (const { port, importPort } of table.services.get(key)?.ports ?? []) {
      if (importPort !== undefined && !wanted.has(importPort))
        wanted.set(importPort, { service: key, port, importPort });
    }
  }
  return wanted;
}

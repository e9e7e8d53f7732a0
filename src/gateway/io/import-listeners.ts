import type { Socket } from 'node:net';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ServiceKey } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { RouteTable } from '../../model/route.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { listenTcp, type TcpServer } from '../../runtime/io/tcp-server.ts';
import type { Refusals } from '../metrics/refusals.ts';
import type { BoundAddress } from './local-addresses.ts';

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
  readonly refusals: Refusals;
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

  /** Where it listens; undefined while it does not. */
  get bound(): BoundAddress | undefined {
    return this.#server && { address: this.#server.address, port: this.#server.port };
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

  #take(socket: Socket): void {
    const { log, refusals, onConnection } = this.#options;
    try {
      onConnection(socket, this.imported);
    } catch (thrown) {
      // A fault of ours that this client has found: it must not cost the others, let alone the process.
      refusals.count('internal');
      log.error({ ...this.imported, reason: messageOf(thrown) }, 'a connection could not be taken');
      socket.on('error', () => undefined).resetAndDestroy();
    }
  }

  async #open(): Promise<void> {
    const { imported } = this;
    const { host, clock, log } = this.#options;
    try {
      const server = await listenTcp({ host, port: imported.importPort }, (socket) => this.#take(socket));
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
  /** Service ports whose import port is another one's, and whose. */
  #clashes: ReadonlyMap<string, string> = new Map();
  #ended = false;

  constructor(options: ImportListenersOptions) {
    this.#options = options;
  }

  /** Resolves when each new listener was tried once. */
  async setTable(table: RouteTable): Promise<void> {
    if (this.#ended) return;
    const { wanted, clashes } = this.#wanted(table);
    for (const [port, listener] of this.#listeners) {
      if (nameOf(wanted.get(port)) === nameOf(listener.imported)) continue;
      this.#listeners.delete(port);
      void listener.stop();
    }
    for (const [port, imported] of wanted) {
      if (!this.#listeners.has(port)) this.#listeners.set(port, new ImportListener(imported, this.#options));
    }
    for (const [name, problem] of clashes) {
      if (!this.#clashes.has(name)) this.#options.log.warn({ service: name, problem }, 'import port is not its own');
    }
    this.#clashes = clashes;
    await Promise.all([...this.#listeners.values()].map((listener) => listener.opening));
  }

  /** `<namespace>/<name>:<service port>` → the port in use. */
  ports(): ReadonlyMap<string, number> {
    const ports = new Map<string, number>();
    for (const { imported, bound } of this.#listeners.values()) if (bound) ports.set(nameOf(imported), bound.port);
    return ports;
  }

  /** `<namespace>/<name>:<service port>` → why nobody listens for it. */
  problems(): ReadonlyMap<string, string> {
    const problems = new Map(this.#clashes);
    for (const { imported, problem } of this.#listeners.values()) {
      if (problem !== undefined) problems.set(nameOf(imported), problem);
    }
    return problems;
  }

  /** Where this gateway takes plain connections now. */
  *bound(): Generator<BoundAddress> {
    for (const { bound } of this.#listeners.values()) if (bound) yield bound;
  }

  async stop(): Promise<void> {
    this.#ended = true;
    const all = [...this.#listeners.values()];
    this.#listeners.clear();
    await Promise.all(all.map((listener) => listener.stop()));
  }

  /**
   * By import port. Of two that claim one port the earlier keeps it: whoever listens there already, else the first by
   * name. The agent allocates without clashes; ports that people fix by hand may have some.
   */
  #wanted(table: RouteTable): {
    readonly wanted: ReadonlyMap<number, ImportedPort>;
    readonly clashes: ReadonlyMap<string, string>;
  } {
    const claims = importedPorts(table);
    const holds = (claim: ImportedPort): boolean =>
      nameOf(this.#listeners.get(claim.importPort)?.imported) === nameOf(claim);
    const wanted = new Map(claims.filter(holds).map((claim) => [claim.importPort, claim]));
    const clashes = new Map<string, string>();
    for (const claim of claims) {
      const owner = wanted.get(claim.importPort);
      if (!owner) wanted.set(claim.importPort, claim);
      else if (owner !== claim) {
        clashes.set(nameOf(claim), `import port ${claim.importPort} is that of ${nameOf(owner)} already`);
      }
    }
    return { wanted, clashes };
  }
}

/** `<namespace>/<name>:<service port>`; nothing has the empty name. */
function nameOf(imported: ImportedPort | undefined): string {
  return imported ? `${imported.service}:${imported.port}` : '';
}

function importedPorts(table: RouteTable): ImportedPort[] {
  return [...table.services.keys()]
    .sort()
    .flatMap((service) =>
      (table.services.get(service)?.ports ?? []).flatMap(({ port, importPort }) =>
        importPort === undefined ? [] : [{ service, port, importPort }],
      ),
    );
}

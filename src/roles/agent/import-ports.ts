import { createServer } from 'node:net';
import { join } from 'node:path';
import { IsthmusError } from '../../model/error.ts';
import { isPort } from '../../model/names.ts';
import type { Log } from '../../model/ports/log.ts';
import { allocateImportPorts, type ImportPortRange } from '../../policy/import-ports.ts';
import { readFileIfPresent, writeFileDurably } from '../../runtime/io/files.ts';

export interface ImportPortsOptions {
  readonly stateDir: string;
  /** Where gateways listen; new ports are probed there. */
  readonly host: string;
  readonly range: ImportPortRange;
  /** `<namespace>/<name>:<service port>` → port. */
  readonly fixed: ReadonlyMap<string, number>;
  readonly log: Log;
}

/**
 * The gateway ports of imported services. Written to disk before anybody sees them, so that a service keeps its port
 * over restarts.
 */
export class ImportPorts {
  readonly #options: ImportPortsOptions;
  readonly #path: string;
  readonly #busy = new Set<number>();
  #held: ReadonlyMap<string, number>;
  #exhausted: readonly string[] = [];

  private constructor(options: ImportPortsOptions, path: string, held: ReadonlyMap<string, number>) {
    this.#options = options;
    this.#path = path;
    this.#held = held;
  }

  static async open(options: ImportPortsOptions): Promise<ImportPorts> {
    const path = join(options.stateDir, 'import-ports.json');
    const bytes = await readFileIfPresent(path);
    return new ImportPorts(options, path, bytes ? parse(path, bytes) : new Map());
  }

  get current(): ReadonlyMap<string, number> {
    return this.#held;
  }

  /** Service ports for which the range has no port left. */
  get exhausted(): readonly string[] {
    return this.#exhausted;
  }

  /** Sees to it that every wanted service port has a port that this machine lets us use. */
  async ensure(wanted: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { fixed, range } = this.#options;
    const before = this.#held;
    for (;;) {
      const { ports, exhausted } = allocateImportPorts({
        wanted,
        held: before,
        fixed,
        range,
        usable: (port) => !this.#busy.has(port),
      });
      const fresh = [...ports].filter(([key, port]) => before.get(key) !== port && !fixed.has(key));
      const busy = await filterBusy(
        this.#options.host,
        fresh.map(([, port]) => port),
      );
      if (busy.length > 0) {
        for (const port of busy) this.#busy.add(port);
        continue;
      }
      this.#noteExhausted(exhausted, range);
      if (!sameMap(ports, before)) await writeFileDurably(this.#path, JSON.stringify(Object.fromEntries(ports)));
      this.#held = ports;
      return ports;
    }
  }

  #noteExhausted(exhausted: readonly string[], range: ImportPortRange): void {
    if (exhausted.length > 0 && this.#exhausted.length === 0) {
      this.#options.log.warn({ exhausted, ...range }, 'no import port left for some services: widen importPorts');
    }
    this.#exhausted = exhausted;
  }
}

function parse(path: string, bytes: Buffer): ReadonlyMap<string, number> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new IsthmusError('corrupt', `${path} is not JSON`, { cause, hint: 'Restore it, or remove it to start over' });
  }
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return new Map(entries.filter((entry): entry is [string, number] => isPort(entry[1])));
}

function sameMap(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return a.size === b.size && [...a].every(([key, port]) => b.get(key) === port);
}

async function filterBusy(host: string, ports: readonly number[]): Promise<number[]> {
  const busy: number[] = [];
  for (const port of ports) if (!(await isFree(host, port))) busy.push(port);
  return busy;
}

/** Whether `port` can be bound on `host` at this moment. */
export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

import { type FileHandle, open as openFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { messageOf } from '../../model/error.ts';
import { isPort } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { type HeldPort, type ImportPortRange, PortBook, type PortChanges } from '../../policy/import-ports.ts';
import { readFileIfPresent, writeFileDurably } from '../../runtime/io/files.ts';

export interface ImportPortsOptions {
  readonly stateDir: string;
  /** Where gateways listen; new ports are probed there. */
  readonly host: string;
  readonly range: ImportPortRange;
  /** `<namespace>/<name>:<service port>` → port. */
  readonly fixed: ReadonlyMap<string, number>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Ports probed at once. */
const parallelProbes = 64;

/**
 * The gateway ports of imported services, in a journal that is written before anybody sees them, so that a service
 * keeps its port over restarts. The journal is not synced for each line: it outlives every death of the process, and
 * the death of the machine costs at most the addresses of the last moment's new services.
 */
export class ImportPorts {
  readonly #options: ImportPortsOptions;
  readonly #book: PortBook;
  readonly #journal: FileHandle;
  #exhausting = false;

  private constructor(options: ImportPortsOptions, book: PortBook, journal: FileHandle) {
    this.#options = options;
    this.#book = book;
    this.#journal = journal;
  }

  static async open(options: ImportPortsOptions): Promise<ImportPorts> {
    const { stateDir, range, fixed, log } = options;
    const path = join(stateDir, 'import-ports.journal');
    const held = replay(await readFileIfPresent(path), path, log);
    // A journal that was replayed is written anew, without what was overwritten since.
    await writeFileDurably(path, linesOf(held));
    return new ImportPorts(options, new PortBook({ range, fixed, held }), await openFile(path, 'a'));
  }

  /** Import key → port, also of imports that nobody wants at the moment. */
  get current(): ReadonlyMap<string, number> {
    return this.#book.ports;
  }

  /** Import keys for which the range has no port left. */
  get exhausted(): ReadonlySet<string> {
    return this.#book.exhausted;
  }

  /** Says which import keys are wanted from now on, and which no more. */
  async want(wishes: ReadonlyMap<string, boolean>): Promise<void> {
    if (wishes.size === 0) return;
    const { clock } = this.#options;
    let changes = this.#book.want(wishes, clock.now());
    const known = new Set<string>();
    for (let refused = await this.#refused(changes, known); refused.length > 0; ) {
      changes = new Map(changes);
      const again = new Map<string, HeldPort | undefined>();
      for (const key of refused) for (const [each, held] of this.#book.refuse(key, clock.now())) again.set(each, held);
      changes = new Map([...changes, ...again]);
      refused = await this.#refused(again, known);
    }
    await this.#write(changes);
    this.#tellExhausted();
  }

  /** Takes over what the leading replica gave out. */
  async adopt(ports: Iterable<readonly [string, number]>): Promise<void> {
    await this.#write(this.#book.adopt(ports));
  }

  async close(): Promise<void> {
    await this.#journal.close();
  }

  /** Keys among `changes` whose new port something else uses. */
  async #refused(changes: PortChanges, known: Set<string>): Promise<readonly string[]> {
    const { fixed, host } = this.#options;
    const fresh = [...changes].filter(([key, held]) => held && held.freedAt === undefined && !fixed.has(key));
    const refused: string[] = [];
    for (let from = 0; from < fresh.length; from += parallelProbes) {
      const part = fresh.slice(from, from + parallelProbes);
      const free = await Promise.all(part.map(([, held]) => isFree(host, held?.port ?? 0)));
      part.forEach(([key], index) => !free[index] && refused.push(key));
    }
    for (const key of refused) known.add(key);
    return refused;
  }

  async #write(changes: PortChanges): Promise<void> {
    if (changes.size === 0) return;
    try {
      await this.#journal.appendFile(linesOf(changes));
    } catch (thrown) {
      this.#options.log.warn(
        { reason: messageOf(thrown) },
        'import ports cannot be written; they hold until a restart',
      );
    }
  }

  #tellExhausted(): void {
    const { size } = this.#book.exhausted;
    if (size > 0 && !this.#exhausting) {
      const { from, to } = this.#options.range;
      const [first] = this.#book.exhausted;
      this.#options.log.warn({ from, to, first, services: size }, 'no import port left: widen importPorts');
    }
    this.#exhausting = size > 0;
  }
}

/** Each entry a line of its own, begun rather than ended with its newline: a torn one harms no other. */
function linesOf(changes: PortChanges): string {
  let lines = '';
  for (const [key, held] of changes) lines += `\n${JSON.stringify({ key, ...held })}`;
  return lines;
}

function replay(bytes: Buffer | undefined, path: string, log: Log): ReadonlyMap<string, HeldPort> {
  const held = new Map<string, HeldPort>();
  let bad = 0;
  for (const line of bytes?.toString('utf8').split('\n') ?? []) {
    if (line === '') continue;
    const entry = parseLine(line);
    if (!entry) bad += 1;
    else if (entry.held) held.set(entry.key, entry.held);
    else held.delete(entry.key);
  }
  if (bad > 0) log.warn({ path, lines: bad }, 'damaged lines in the journal of import ports; the others count');
  return held;
}

function parseLine(line: string): { readonly key: string; readonly held: HeldPort | undefined } | undefined {
  try {
    const { key, port, freedAt } = JSON.parse(line) as Record<string, unknown>;
    if (typeof key !== 'string') return undefined;
    if (port === undefined) return { key, held: undefined };
    if (!isPort(port)) return undefined;
    return { key, held: { port, ...(typeof freedAt === 'number' && { freedAt }) } };
  } catch {
    return undefined;
  }
}

/** Whether `port` can be bound on `host` at this moment. */
export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

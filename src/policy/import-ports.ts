import { SortedMap } from '../runtime/sorted-map.ts';

export interface ImportPortRange {
  /** First and last port, inclusive. */
  readonly from: number;
  readonly to: number;
}

/** A port that belongs to one import key, `<namespace>/<name>:<service port>`. */
export interface HeldPort {
  readonly port: number;
  /** Wall clock in ms since which nobody wants it; absent = wanted. */
  readonly freedAt?: number;
}

/** What is held from now on; undefined: the key has no port any more. */
export type PortChanges = ReadonlyMap<string, HeldPort | undefined>;

/**
 * A port that was given up is nobody else's for so long: a client that still has the old address must not reach
 * another service.
 */
export const portRestMs = 86_400_000;

export interface PortBookOptions {
  readonly range: ImportPortRange;
  /** Ports an operator chose; they win over what was held. */
  readonly fixed: ReadonlyMap<string, number>;
  /** As held before a restart. */
  readonly held: ReadonlyMap<string, HeldPort>;
}

/**
 * Which listener port each import has: fixed, held before, the lowest of the range that never was anybody's, or the one
 * that has rested longest. A key keeps its port for as long as it is wanted and 24 h beyond. Costs what changes.
 */
export class PortBook {
  readonly #range: ImportPortRange;
  readonly #fixed: ReadonlyMap<string, number>;
  readonly #held = new Map<string, HeldPort>();
  readonly #owners = new Map<number, string>();
  /** Ports that others than us use on this machine. */
  readonly #busy = new Set<number>();
  /** Unwanted keys, freed first first. */
  readonly #resting = new Set<string>();
  readonly #exhausted = new Set<string>();
  /** No port below it is free. */
  #next: number;
  #ports: SortedMap<string, number>;

  constructor({ range, fixed, held }: PortBookOptions) {
    this.#range = range;
    this.#fixed = fixed;
    this.#next = range.from;
    const resting = [...held].filter(([, { freedAt }]) => freedAt !== undefined);
    resting.sort(([, a], [, b]) => (a.freedAt ?? 0) - (b.freedAt ?? 0));
    for (const [key] of resting) this.#resting.add(key);
    const chosen = new Set(fixed.values());
    for (const [key, { port, freedAt }] of held) {
      if (fixed.has(key) || chosen.has(port) || this.#owners.has(port)) this.#resting.delete(key);
      else this.#own(key, { port, ...(freedAt !== undefined && { freedAt }) });
    }
    for (const [key, port] of fixed) this.#own(key, { port });
    this.#ports = SortedMap.from<string, number>([...this.#held].map(([key, { port }]) => [key, port]));
  }

  /** Port by import key. */
  get ports(): SortedMap<string, number> {
    return this.#ports;
  }

  /** Wanted keys for which no port was left. */
  get exhausted(): ReadonlySet<string> {
    return this.#exhausted;
  }

  /** Says which keys are wanted from now on, and which no more. `now`: wall clock in ms. */
  want(wishes: ReadonlyMap<string, boolean>, now: number): PortChanges {
    const changes = new Map<string, HeldPort | undefined>();
    for (const [key, wanted] of wishes) if (!wanted) this.#free(key, now, changes);
    for (const [key, wanted] of wishes) if (wanted) this.#give(key, now, changes);
    for (const key of this.#exhausted) if (!this.#give(key, now, changes)) break;
    return this.#done(changes);
  }

  /** The port of a key turned out to be used by something else: it gets another one. */
  refuse(key: string, now: number): PortChanges {
    const held = this.#held.get(key);
    if (!held || this.#fixed.has(key)) return new Map();
    const changes = new Map<string, HeldPort | undefined>();
    this.#busy.add(held.port);
    this.#drop(key, changes);
    this.#give(key, now, changes);
    return this.#done(changes);
  }

  /** Takes over what the leading replica gave out, whoever held it here. */
  adopt(ports: Iterable<readonly [string, number]>): PortChanges {
    const changes = new Map<string, HeldPort | undefined>();
    for (const [key, port] of ports) {
      const held = this.#held.get(key);
      if (this.#fixed.has(key) || (held?.port === port && held.freedAt === undefined)) continue;
      const owner = this.#owners.get(port);
      if (owner !== undefined && this.#fixed.has(owner)) continue;
      if (owner !== undefined && owner !== key) this.#drop(owner, changes);
      if (held) this.#drop(key, changes);
      this.#set(key, { port }, changes);
    }
    return this.#done(changes);
  }

  #free(key: string, now: number, changes: Map<string, HeldPort | undefined>): void {
    this.#exhausted.delete(key);
    const held = this.#held.get(key);
    if (!held || held.freedAt !== undefined || this.#fixed.has(key)) return;
    this.#resting.add(key);
    this.#set(key, { port: held.port, freedAt: now }, changes);
  }

  #give(key: string, now: number, changes: Map<string, HeldPort | undefined>): boolean {
    const held = this.#held.get(key);
    const port = held?.port ?? this.#unused() ?? this.#rested(now, changes);
    if (port === undefined) {
      this.#exhausted.add(key);
      return false;
    }
    this.#exhausted.delete(key);
    if (held && held.freedAt === undefined) return true;
    this.#resting.delete(key);
    this.#set(key, { port }, changes);
    return true;
  }

  #unused(): number | undefined {
    while (this.#next <= this.#range.to && (this.#owners.has(this.#next) || this.#busy.has(this.#next))) {
      this.#next += 1;
    }
    return this.#next <= this.#range.to ? this.#next : undefined;
  }

  #rested(now: number, changes: Map<string, HeldPort | undefined>): number | undefined {
    for (const key of this.#resting) {
      const { port, freedAt = now } = this.#held.get(key) ?? { port: 0 };
      if (now - freedAt < portRestMs) return undefined;
      this.#drop(key, changes);
      // The range may have been another one when it was given out.
      if (port >= this.#range.from && port <= this.#range.to && !this.#busy.has(port)) return port;
    }
    return undefined;
  }

  #drop(key: string, changes: Map<string, HeldPort | undefined>): void {
    const held = this.#held.get(key);
    if (held && this.#owners.get(held.port) === key) this.#owners.delete(held.port);
    this.#held.delete(key);
    this.#resting.delete(key);
    changes.set(key, undefined);
  }

  #set(key: string, held: HeldPort, changes: Map<string, HeldPort | undefined>): void {
    this.#own(key, held);
    changes.set(key, held);
  }

  #own(key: string, held: HeldPort): void {
    this.#held.set(key, held);
    this.#owners.set(held.port, key);
  }

  #done(changes: PortChanges): PortChanges {
    this.#ports = this.#ports.with([...changes].map(([key, held]) => [key, held?.port] as const));
    return changes;
  }
}

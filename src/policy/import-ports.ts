export interface ImportPortRange {
  /** First and last port, inclusive. */
  readonly from: number;
  readonly to: number;
}

export interface Allocation {
  /** `<namespace>/<name>:<service port>` → port. */
  readonly ports: ReadonlyMap<string, number>;
  /** Wanted keys for which no port was left. */
  readonly exhausted: readonly string[];
}

export interface AllocationInput {
  readonly wanted: readonly string[];
  /** What was allocated before; a key keeps its port for ever, wanted or not, so that a client's address is stable. */
  readonly held: ReadonlyMap<string, number>;
  /** Ports an operator chose; they win over what was held. */
  readonly fixed: ReadonlyMap<string, number>;
  readonly range: ImportPortRange;
  /** Whether this machine lets us use the port; asked only for new allocations. */
  readonly usable: (port: number) => boolean;
}

/** Gives every wanted service port a listener port: fixed, held before, or the lowest free one of the range. */
export function allocateImportPorts({ wanted, held, fixed, range, usable }: AllocationInput): Allocation {
  const ports = new Map(held);
  for (const [key, port] of fixed) {
    for (const [other, used] of ports) if (used === port && other !== key) ports.delete(other);
    ports.set(key, port);
  }
  const taken = new Set(ports.values());
  const exhausted: string[] = [];
  let next = range.from;
  for (const key of wanted) {
    if (ports.has(key)) continue;
    while (next <= range.to && (taken.has(next) || !usable(next))) next += 1;
    if (next > range.to) {
      exhausted.push(key);
      continue;
    }
    ports.set(key, next);
    taken.add(next);
  }
  return { ports, exhausted };
}

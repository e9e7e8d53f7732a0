/** One figure beside the same figure of others, all taken in one run. */
export interface BenchRow {
  readonly bench: string;
  readonly what: string;
  readonly unit: string;
  /** Ours: the median of its rounds. */
  readonly isthmus: number;
  /** Each peer's median. */
  readonly peers: Readonly<Record<string, number>>;
  /** Median over the rounds of ours divided by the peer's in the same round. */
  readonly ratios: Readonly<Record<string, number>>;
  /** Rounds. */
  readonly runs: number;
  /** The most that ours should be, where there is such a figure. */
  readonly target?: number;
  /** What its ratio to one peer should be, where that is what counts. */
  readonly ratioTarget?: RatioTarget;
  /** Whether the target is kept. */
  readonly reached?: boolean;
}

/** What a ratio should be: one of the two bounds. */
export interface RatioTarget {
  readonly peer: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** The row with what its figure should be at most. */
export function withTarget(row: BenchRow, target: number | undefined): BenchRow {
  return target === undefined ? row : { ...row, target, reached: row.isthmus <= target };
}

/** The row with what its ratio to a peer should be. */
export function withRatioTarget(row: BenchRow, target: RatioTarget | undefined): BenchRow {
  if (!target) return row;
  const { peer, atLeast = 0, atMost = Number.POSITIVE_INFINITY } = target;
  const ratio = row.ratios[peer] ?? Number.NaN;
  return { ...row, ratioTarget: target, reached: ratio >= atLeast && ratio <= atMost };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** `rounds[name]` are the figures of one contestant, one per round and in the same order for all. */
export function rowOf(
  about: { readonly bench: string; readonly what: string; readonly unit: string },
  rounds: Readonly<Record<string, readonly number[]>>,
): BenchRow {
  const own = rounds['isthmus'] ?? [];
  const peers = Object.entries(rounds).filter(([name]) => name !== 'isthmus');
  const ratio = (theirs: readonly number[]): number => median(own.map((value, round) => value / (theirs[round] ?? 0)));
  return {
    ...about,
    isthmus: rounded(median(own)),
    peers: Object.fromEntries(peers.map(([name, values]) => [name, rounded(median(values))])),
    ratios: Object.fromEntries(peers.map(([name, values]) => [name, rounded(ratio(values))])),
    runs: own.length,
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

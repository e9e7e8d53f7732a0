/** One metric as it is shown: its samples at this moment. */
export interface MetricSamples {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets, ascending, without +Inf. */
  readonly bounds?: readonly number[];
  samples(): Iterable<MetricSample>;
}

export interface MetricSample {
  /** In the order of `labels`. */
  readonly values: readonly string[];
  /** The value; of a histogram the sum of all observations. */
  readonly value: number;
  /** Of a histogram: observations per bucket, not cumulated, the last one beyond all bounds. */
  readonly buckets?: Float64Array;
}

export interface SeriesOptions {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Makes it a histogram. */
  readonly bounds?: readonly number[];
  /** Label combinations beyond this are counted together, under the label value `other`. */
  readonly maxSeries: number;
}

const firstRoom = 16;
/** Separates label values in a key; no name and no closed set contains it. */
const separator = '\u0000';
/** Index of the series that takes what is over the bound. */
const overflow = 0;

/**
 * Counters or histograms of one name in a typed array: adding is an index and an addition. Series are found by their
 * labels once and then used by number.
 */
export class Series implements MetricSamples {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'histogram';
  readonly labels: readonly string[];
  readonly bounds: readonly number[];
  readonly #maxSeries: number;
  readonly #index = new Map<string, number>();
  readonly #values: (readonly string[])[] = [];
  /** Per series: one cell, or for histograms the buckets, the overflow bucket and the sum. */
  readonly #width: number;
  #cells: Float64Array;

  constructor(options: SeriesOptions) {
    this.name = options.name;
    this.help = options.help;
    this.labels = options.labels;
    this.kind = options.bounds ? 'histogram' : 'counter';
    this.bounds = options.bounds ?? [];
    this.#maxSeries = options.maxSeries;
    this.#width = options.bounds ? options.bounds.length + 2 : 1;
    this.#cells = new Float64Array(firstRoom * this.#width);
    this.#values.push(options.labels.map(() => 'other'));
  }

  /** Series in use, the one for what is over the bound included. */
  get size(): number {
    return this.#values.length;
  }

  /** The number of the series with these label values. Bounded: what is over shares one. */
  of(...values: readonly string[]): number {
    const key = values.join(separator);
    const known = this.#index.get(key);
    if (known !== undefined) return known;
    const next = this.#values.length;
    if (next > this.#maxSeries) return overflow;
    this.#index.set(key, next);
    this.#values.push(values);
    if ((next + 1) * this.#width > this.#cells.length) this.#grow();
    return next;
  }

  /** Counts. */
  add(series: number, amount: number = 1): void {
    const cell = series * this.#width;
    this.#cells[cell] = (this.#cells[cell] ?? 0) + amount;
  }

  /** Puts one observation into its bucket (`value` ≤ bound, as Prometheus has it). */
  observe(series: number, value: number): void {
    const start = series * this.#width;
    let bucket = 0;
    while (bucket < this.bounds.length && value > (this.bounds[bucket] ?? 0)) bucket += 1;
    const sum = start + this.#width - 1;
    this.#cells[start + bucket] = (this.#cells[start + bucket] ?? 0) + 1;
    this.#cells[sum] = (this.#cells[sum] ?? 0) + value;
  }

  *samples(): Generator<MetricSample> {
    for (const [index, values] of this.#values.entries()) {
      const cells = this.#cells.subarray(index * this.#width, (index + 1) * this.#width);
      // The shared one shows only when something is in it; a metric without labels has no other.
      if (index === overflow && this.labels.length > 0 && cells.every((cell) => cell === 0)) continue;
      if (this.kind === 'counter') yield { values, value: cells[0] ?? 0 };
      else yield { values, value: cells.at(-1) ?? 0, buckets: cells.slice(0, -1) };
    }
  }

  #grow(): void {
    const cells = new Float64Array(this.#cells.length * 2);
    cells.set(this.#cells);
    this.#cells = cells;
  }
}

import { join } from 'node:path';
import { z } from 'zod';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import { readFileIfPresent } from '../../runtime/io/files.ts';
import { brokenRule } from '../../wire/json-decoding.ts';
import { type AgeCorrection, type ReviewedAges, reviewAges, unseenAges } from '../merge/ages.ts';
import type { PartitionView } from '../partition-view.ts';
import { LazyFile } from './lazy-file.ts';

export interface AgeBookOptions {
  /** Private directory; `ages.json` in it remembers what was corrected. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

type Corrections = ReadonlyMap<string, AgeCorrection>;

interface Page {
  readonly ages: ReviewedAges;
  readonly from: PartitionView;
  readonly to: PartitionView;
}

/** Corrections reach the disk together within so many ms. */
const saveDelayMs = 1000;

const time = z.number().int().min(0);
const fileSchema = z.object({
  v: z.literal(1),
  clusters: z.record(z.string(), z.record(z.string(), z.object({ declared: time, used: time }))),
});

/** Holds other clusters to the ages of their exports (merge/ages.ts), over restarts too. */
export class AgeBook {
  readonly #options: AgeBookOptions;
  readonly #file: LazyFile;
  readonly #pages = new Map<ClusterName, Page>();
  /** Of clusters not seen since the start. */
  readonly #remembered: Map<string, Corrections>;

  private constructor(options: AgeBookOptions, path: string, remembered: Map<string, Corrections>) {
    const { clock, log } = options;
    this.#options = options;
    this.#remembered = remembered;
    this.#file = new LazyFile({ path, content: () => this.#encode(), delayMs: saveDelayMs, clock, log });
  }

  /** A damaged file is logged and left to be replaced. */
  static async open(options: AgeBookOptions): Promise<AgeBook> {
    const path = join(options.stateDir, 'ages.json');
    return new AgeBook(options, path, decode(await readFileIfPresent(path), path, options.log));
  }

  /** The partitions with the ages in use; the very same ones where all are believed. */
  review(partitions: ReadonlyMap<ClusterName, PartitionView>): Map<ClusterName, PartitionView> {
    for (const cluster of this.#pages.keys()) {
      if (partitions.has(cluster)) continue;
      this.#remembered.set(cluster, this.#pages.get(cluster)?.ages.corrections ?? new Map());
      this.#pages.delete(cluster);
    }
    return new Map([...partitions].map(([cluster, partition]) => [cluster, this.#review(cluster, partition)]));
  }

  close(): Promise<void> {
    return this.#file.flush();
  }

  #review(cluster: ClusterName, from: PartitionView): PartitionView {
    const page = this.#pages.get(cluster);
    if (page?.from === from) return page.to;
    const known = page?.ages ?? unseenAges(this.#remembered.get(cluster));
    const ages = reviewAges(known, from.records, { cluster, now: this.#options.clock.now() });
    const believed = ages.records === ages.declared && ages.notices.length === 0;
    const to = believed ? from : { ...from, records: ages.records, notices: ages.notices };
    this.#pages.set(cluster, { ages, from, to });
    this.#remembered.delete(cluster);
    if (ages.corrections !== known.corrections) this.#file.touch();
    return to;
  }

  #encode(): string {
    const all = new Map<string, Corrections>(this.#remembered);
    for (const [cluster, { ages }] of this.#pages) all.set(cluster, ages.corrections);
    const clusters = [...all].filter(([, { size }]) => size > 0).map(([name, map]) => [name, Object.fromEntries(map)]);
    return JSON.stringify({ v: 1, clusters: Object.fromEntries(clusters) });
  }
}

function decode(bytes: Buffer | undefined, path: string, log: Log): Map<string, Corrections> {
  if (!bytes) return new Map();
  try {
    const { clusters } = fileSchema.parse(JSON.parse(bytes.toString('utf8')));
    return new Map(Object.entries(clusters).map(([name, found]) => [name, new Map(Object.entries(found))]));
  } catch (thrown) {
    log.warn({ path, reason: brokenRule(thrown) }, 'remembered ages are not used');
    return new Map();
  }
}

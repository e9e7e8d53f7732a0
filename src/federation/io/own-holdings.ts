import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { ClusterRecord, RecordKey } from '../../model/record.ts';
import type { Version } from '../log/partition-state.ts';
import { type HeldBack, type Holdings, holdingsOf, nextExpiry, planWrite, type Wish } from '../log/writer-plan.ts';
import { LazyFile } from './lazy-file.ts';
import type { StateFiles } from './state-files.ts';
import { encodeOwnState, type OwnState, ownStatePath } from './writer-files.ts';

export interface OwnHoldingsOptions {
  readonly stateDir: string;
  readonly files: StateFiles;
  readonly kept: OwnState | undefined;
  /** What was last written to the hub. */
  readonly version: () => Version;
  readonly clock: Clock;
  readonly log: Log;
}

/** How deletions are meant. */
export interface WishOptions {
  /** False: the sources were not all read yet, and nothing is deleted. */
  readonly synced: boolean;
  /** All deletions are meant, however many. Default false. */
  readonly bulk?: boolean;
}

/** Changes reach the disk together within so many ms. */
const saveDelayMs = 500;

/** What the own partition should hold: the latest wish applied to what was held, kept on disk. */
export class OwnHoldings {
  readonly #options: OwnHoldingsOptions;
  readonly #file: LazyFile;
  #wish: Omit<Wish, 'now'> | undefined;
  #holdings: Holdings;
  #heldBack: HeldBack;
  #refused: ReadonlyMap<RecordKey, string> = new Map();
  #wasSynced = false;
  #withoutTombstones: { readonly of: Holdings; readonly holdings: Holdings } | undefined;

  constructor(options: OwnHoldingsOptions) {
    this.#options = options;
    this.#holdings = options.kept?.holdings ?? new Map();
    this.#heldBack = options.kept?.heldBack ?? new Map();
    const { stateDir, files, clock, log, version } = options;
    this.#file = new LazyFile({
      path: ownStatePath(stateDir),
      files,
      content: () => encodeOwnState({ ...version(), holdings: this.#holdings, heldBack: this.#heldBack }),
      delayMs: saveDelayMs,
      clock,
      log,
    });
  }

  /** The very same map while nothing changes. */
  get holdings(): Holdings {
    return this.#holdings;
  }

  /** Exports whose deletion waits for somebody's word. The very same map while nothing changes. */
  get heldBack(): HeldBack {
    return this.#heldBack;
  }

  /** Records that cannot be written, and why. */
  get refused(): ReadonlyMap<RecordKey, string> {
    return this.#refused;
  }

  /**
   * What may be written: before the sources were read completely once, no tombstone, not even an old one. The service may
   * have come back since, and what is on disk may be older than what readers know.
   */
  get publishable(): Holdings {
    if (this.#wasSynced) return this.#holdings;
    if (this.#withoutTombstones?.of !== this.#holdings) {
      const rest = [...this.#holdings].filter(([, { record }]) => record?.kind !== 'tombstone');
      this.#withoutTombstones = { of: this.#holdings, holdings: new Map(rest) };
    }
    return this.#withoutTombstones.holdings;
  }

  get hasWish(): boolean {
    return this.#wish !== undefined;
  }

  wish(desired: ReadonlyMap<RecordKey, ClusterRecord>, { synced, bulk = false }: WishOptions): void {
    this.#wish = { desired, synced, bulk };
    this.#wasSynced ||= synced;
    this.plan();
  }

  /** Takes over what was found in the hub. */
  adopt(values: Iterable<readonly [RecordKey, Uint8Array]>): void {
    this.#holdings = holdingsOf(values);
    this.touch();
    this.plan();
  }

  /** Somebody says that what is held back is meant. Answers how many exports go. */
  accept(): number {
    const accepted = new Set(this.#heldBack.keys());
    const before = this.#heldBack.size;
    this.plan(accepted);
    return before - this.#heldBack.size;
  }

  /** Applies the latest wish once more: time has passed, or what is held has changed. */
  plan(accepted: ReadonlySet<RecordKey> = new Set()): void {
    if (!this.#wish) return;
    const { clock, log } = this.#options;
    const wish = { ...this.#wish, accepted, heldBack: this.#heldBack, now: clock.now() };
    const { holdings, refused, heldBack } = planWrite(this.#holdings, wish);
    for (const [key, reason] of refused) {
      if (this.#refused.get(key) !== reason) log.warn({ key, reason }, 'record cannot be published');
    }
    if (refused.size > 0 || this.#refused.size > 0) this.#refused = refused;
    if (holdings === this.#holdings && heldBack === this.#heldBack) return;
    this.#holdings = holdings;
    this.#heldBack = heldBack;
    this.touch();
  }

  /** Plans again if a tombstone has served its time. */
  expire(): void {
    const expiry = nextExpiry(this.#holdings);
    if (expiry !== undefined && expiry <= this.#options.clock.now()) this.plan();
  }

  /** What is on disk is not the newest. */
  touch(): void {
    this.#file.touch();
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }
}

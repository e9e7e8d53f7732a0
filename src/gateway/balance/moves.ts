import type { ClusterName } from '../../model/names.ts';
import type { ServiceRoute } from '../../model/route.ts';
import type { ServiceStanding, SharesResult } from '../../model/shares.ts';
import type { MoveReport } from '../../wire/gateway-report.ts';

/** A share that moves by less is noise, or a step of a return in progress. */
const noticeable = 0.1;
/** More than this many are forgotten, the oldest first. */
const maxMoves = 10_000;

/** Where the traffic of a service stood when it was last told of. */
export interface Told {
  readonly standing: ServiceStanding;
  readonly shares: ReadonlyMap<ClusterName, number>;
}

/** A service after a step of its shares. */
export interface Moving {
  readonly route: Pick<ServiceRoute, 'key'>;
  readonly result: SharesResult;
  readonly standing: ServiceStanding;
  told: Told | undefined;
}

interface Move extends Omit<MoveReport, 'agoMs'> {
  /** Monotonic ms. */
  readonly at: number;
}

/**
 * When traffic of a service went elsewhere, and why: noted with the step that moved it, so that what lasts for less
 * than the time between two reports is told all the same.
 */
export class Moves {
  #kept: Move[] = [];
  #next: number;

  /** `first`: sequence number of the first move; greater than any before the process started. */
  constructor(first: number) {
    this.#next = first;
  }

  /** Call after each step. `now`: monotonic ms. */
  note(entry: Moving, now: number): void {
    const { standing, told } = entry;
    const { shares, reasons } = entry.result;
    if (told && told.standing === standing && !moved(told.shares, shares)) return;
    entry.told = { standing, shares };
    // Where a service begins is no change.
    if (!told) return;
    const changed = [...reasons].filter(
      ([cluster]) => Math.abs((shares.get(cluster) ?? 0) - (told.shares.get(cluster) ?? 0)) >= noticeable / 10,
    );
    this.#keep({
      sequence: this.#next,
      at: now,
      service: entry.route.key,
      from: told.standing,
      to: standing,
      shares: [...shares].map(([cluster, share]) => ({ cluster, share })),
      why: changed
        .map(([cluster, why]) => `${cluster}: ${why}`)
        .join('; ')
        .slice(0, maxWhy),
    });
    this.#next += 1;
  }

  /** Those at or after `since` (monotonic ms), the oldest first, and of many the newest. */
  after(since: number, { now, limit }: { readonly now: number; readonly limit: number }): readonly MoveReport[] {
    const first = this.#kept.findIndex(({ at }) => at >= since);
    if (first < 0) return [];
    return this.#kept
      .slice(Math.max(first, this.#kept.length - limit))
      .map(({ at, ...move }) => ({ ...move, agoMs: Math.max(0, now - at) }));
  }

  #keep(move: Move): void {
    this.#kept.push(move);
    // Now and then, not each time.
    if (this.#kept.length > 2 * maxMoves) this.#kept = this.#kept.slice(-maxMoves);
  }
}

const maxWhy = 500;

function moved(before: ReadonlyMap<ClusterName, number>, now: ReadonlyMap<ClusterName, number>): boolean {
  if (before === now) return false;
  for (const [cluster, is] of now) if (far(before.get(cluster) ?? 0, is)) return true;
  for (const [cluster, was] of before) if (!now.has(cluster) && far(was, 0)) return true;
  return false;
}

/** The ends count however near: that is where a return is over. */
function far(was: number, is: number): boolean {
  return Math.abs(was - is) >= noticeable || (was !== is && (is === 0 || is === 1));
}

import type { IsthmusError } from '../../../model/error.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import { type Candidate, race } from '../../balance/race.ts';
import type { ServiceEntry } from '../../balance/service-entry.ts';
import type { GatewayLimits } from '../../limits.ts';
import { type CandidateContext, candidateFor, firstPlace, type Onward, placesFor } from '../candidates.ts';
import type { Dialled, Place } from '../dial.ts';

/** What one request looks for. */
export interface Want {
  readonly port: number;
  /** What `consistentHash` goes by; undefined: nothing, so by lot. */
  readonly source: string | undefined;
  /** What is asked of other clusters' gateways; undefined: only endpoints of this cluster will do. */
  readonly onward: Onward;
  /** Places that have failed this request already: they come last. */
  readonly tried: readonly Place[];
}

export interface Landing {
  /** Undefined: nothing could be reached. */
  readonly dialled: Dialled | undefined;
  /** Places that were tried. */
  readonly attempts: number;
  /** No place serves at all. */
  readonly nowhere: boolean;
  readonly error: IsthmusError | undefined;
}

/** Chooses a place for each request, and dials places. What is done with connections is their users' business. */
export class Upstreams {
  readonly #context: CandidateContext;
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;

  constructor(context: CandidateContext, { clock, limits }: { readonly clock: Clock; readonly limits: GatewayLimits }) {
    this.#context = context;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Where this request should go first: the place to look for an open connection to. */
  first(entry: ServiceEntry, want: Want): Place | undefined {
    const { port, source, tried } = want;
    const abroad = want.onward !== undefined;
    if (tried.length === 0) return firstPlace(this.#context, entry, { port, source, abroad });
    return this.#places(entry, want, undefined)[0];
  }

  /**
   * Opens a connection to `first`, or where else the request may go; candidates race as for any connection.
   * @returns ends it without a result
   */
  dial(
    entry: ServiceEntry,
    want: Want,
    options: { readonly first: Place | undefined; readonly done: (landing: Landing) => void },
  ): () => void {
    const { port, onward } = want;
    const places = this.#places(entry, want, options.first);
    const candidates = places.map(
      (place): Candidate<Dialled> => candidateFor(this.#context, entry, { place, port, onward }),
    );
    return race(candidates, {
      clock: this.#clock,
      rules: this.#limits,
      done: ({ won, attempts, error }) =>
        options.done({ dialled: won, attempts, error, nowhere: candidates.length === 0 }),
    });
  }

  /** In the order to be tried. `first` leads if it may be dialled at all; what this request has tried comes last. */
  #places(entry: ServiceEntry, { port, source, onward, tried }: Want, first: Place | undefined): readonly Place[] {
    const all = placesFor(this.#context, entry, { port, source, abroad: onward !== undefined });
    if (tried.length === 0 && (first === undefined || all[0] === first)) return all;
    const rank = (place: Place): number => (tried.includes(place) ? 2 : place === first ? 0 : 1);
    return all.toSorted((a, b) => rank(a) - rank(b));
  }
}

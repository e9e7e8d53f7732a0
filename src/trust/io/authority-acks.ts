import { IsthmusError } from '../../model/error.ts';
import { roleOf, type SpiffeId } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import { recordKeyOf } from '../../model/record.ts';
import { TokenBuckets } from '../../runtime/token-bucket.ts';
import {
  AckBook,
  decodeAcks,
  describeAck,
  encodeAcks,
  type HeardAck,
  type WireAck,
} from '../authority/acknowledgements.ts';
import { takesAway } from '../authority/roster-diff.ts';
import type { AuthorityLedger } from './authority-ledger.ts';
import type { Refusals } from './authority-refusals.ts';

/** Reports of one agent. */
const reportRule = { perSecond: 1, burst: 30 };
/** Journal entries about one cluster: all of its replicas at once, then one each 10 s. */
const entryRule = { perSecond: 0.1, burst: 512 };
const maxKeys = 10_000;

export interface AuthorityAcksOptions {
  readonly ledger: AuthorityLedger;
  readonly refusals: Refusals;
  readonly clock: Clock;
}

/** Hears from the agents what every replica presents and trusts, and tells replicas of one agent of each other. */
export class AuthorityAcks {
  readonly #options: AuthorityAcksOptions;
  readonly #book: AckBook;
  readonly #reports = new TokenBuckets(reportRule, maxKeys);
  readonly #entries = new TokenBuckets(entryRule, maxKeys);
  readonly #end: () => void;

  constructor(options: AuthorityAcksOptions) {
    this.#options = options;
    const { roster } = options.ledger;
    // What happened before this start is acknowledged to this process once more.
    this.#book = new AckBook(roster.current.sequence);
    let before = roster.current;
    this.#end = roster.subscribe((after) => {
      if (takesAway(before, after)) this.#book.note(after.sequence);
      before = after;
    });
  }

  /**
   * An agent speaks for replicas of its cluster; the answer is what others of the cluster's agents said of theirs.
   * @throws IsthmusError `invalid`, `denied`, `exhausted`
   */
  report(id: SpiffeId, cluster: ClusterName | undefined, given: readonly WireAck[]): Promise<readonly WireAck[]> {
    const { clock, ledger, refusals } = this.#options;
    return refusals.answer({ kind: 'member', who: id, subject: cluster ?? id }, async () => {
      const caller = roleOf(id);
      if (caller?.role !== 'agent' || cluster === undefined) {
        throw new IsthmusError('denied', `Only an agent acknowledges for its cluster: the caller is ${id}`);
      }
      const now = clock.monotonic();
      this.#count(id, now);
      const acks = decodeAcks(given);
      const { sequence } = ledger.roster.current;
      const ahead = acks.find(({ rosterSequence }) => rosterSequence > sequence);
      if (ahead) {
        const what = `${recordKeyOf(ahead)} of roster ${ahead.rosterSequence}`;
        throw new IsthmusError('invalid', `Acknowledgement ${what} is refused: the newest is ${sequence}`);
      }
      const by = caller.replica;
      const due = this.#book.report({ cluster, by, acks, now }).filter(() => this.#mayTell(cluster, now));
      if (due.length > 0) {
        const entries = due.map((ack) => {
          const subject = `${cluster}/${recordKeyOf(ack).slice('ack/'.length)}`;
          return { who: id, what: 'acknowledge', subject, detail: describeAck(ack) } as const;
        });
        await ledger.decide({ entries });
        this.#book.told(cluster, due);
      }
      return encodeAcks(this.#book.siblings(cluster, by, now));
    });
  }

  /** What is known now, by cluster. */
  all(): ReadonlyMap<ClusterName, readonly HeardAck[]> {
    return this.#book.all(this.#options.clock.monotonic());
  }

  close(): void {
    this.#end();
  }

  #count(id: SpiffeId, now: number): void {
    const bucket = this.#reports.of(id, now);
    const retryAfterMs = bucket.waitMs(now);
    if (retryAfterMs > 0) {
      throw new IsthmusError('exhausted', `Too many acknowledgements of ${id}: try again in ${retryAfterMs} ms`, {
        retryAfterMs,
      });
    }
    bucket.take(now);
  }

  #mayTell(cluster: ClusterName, now: number): boolean {
    const bucket = this.#entries.of(cluster, now);
    if (bucket.waitMs(now) > 0) return false;
    bucket.take(now);
    return true;
  }
}

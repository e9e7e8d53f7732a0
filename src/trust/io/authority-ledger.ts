import { IsthmusError, messageOf } from '../../model/error.ts';
import { authorityId, type TrustDomain } from '../../model/identity.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Roster, TrustState } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { decodeRoster, encodeRoster } from '../../wire/roster.ts';
import { type AuditEntry, type AuditRecord, auditBeginning, auditProblem, type AuditStart } from '../audit.ts';
import { AuthorityBook } from '../authority/book.ts';
import type { Change, IntermediateEntry, StoredState } from '../authority/change.ts';
import { ClockGuard, clockRefusal, type Moment } from '../authority/clock-guard.ts';
import { trustStateOf } from '../verify/trust-state.ts';
import { AuthorityWriter } from './authority-writer.ts';

/**
 * Rosters follow each other no faster, in ms: with thousands of members one costs tens of milliseconds. Whoever waits
 * for one gets it sooner than renewals, whose keys are not used before everybody knows them.
 */
const publishSpacingMs = { published: 100, later: 1000 } as const;
/** How often it is looked whether time alone has changed the roster, and whether a lost disk is back. */
const upkeepMs = 2000;
const clockHint = `Set the clock right, or run 'isthmus authority accept-clock' if it is.`;
/** Records of the journal that are read at once. */
const journalPage = 1000;

export interface AuthorityLedgerOptions {
  /** The database. */
  readonly path: string;
  readonly federationDomain: TrustDomain;
  /** DER. */
  readonly anchor: Uint8Array;
  readonly clock: Clock;
  /** Ms since an arbitrary start, the sleep of the machine included. Default: the monotonic clock. */
  readonly elapsedMs?: (() => number) | undefined;
  readonly log: Log;
}

/** A journal as a whole. */
export interface JournalState {
  readonly records: number;
  readonly head: string;
  /** Wall clock in ms; 0: there is no record. */
  readonly lastAt: number;
  /** The first bad record; undefined: it is whole. */
  readonly problem: string | undefined;
}

/** Whether a decision changes the roster, and waits for that. */
export type Publishing = 'published' | 'later' | 'no';

/** A roster that is to be published. */
interface Publication {
  /** Monotonic ms. */
  readonly at: number;
  readonly timer: Timer;
  readonly promise: Promise<void>;
  readonly resolve: (done: Promise<void>) => void;
}

/** What is decided, without the time. */
export interface Ruling {
  readonly changes?: readonly Change[];
  readonly entries: readonly Omit<AuditEntry, 'at'>[];
}

/**
 * The authority's state: decisions see what was decided before them at once, and are told of success when it is on
 * disk. The roster that follows is published with the decision, or soon after when many come together.
 */
export class AuthorityLedger {
  readonly #options: AuthorityLedgerOptions;
  readonly #writer: AuthorityWriter;
  readonly #roster: Watchable<Roster>;
  readonly #trust: Watchable<TrustState | undefined>;
  readonly #guard: ClockGuard;
  readonly #upkeep: Timer[] = [];
  #book: AuthorityBook | undefined;
  #lost: string | undefined;
  #publication: Publication | undefined;
  #publishedAt = Number.NEGATIVE_INFINITY;
  /** Wall clock in ms at which time alone changes the roster. */
  #staleAt = 0;
  #closed = false;
  #clockTold = false;

  private constructor(options: AuthorityLedgerOptions, writer: AuthorityWriter, stored: StoredState) {
    this.#options = options;
    this.#writer = writer;
    this.#book = new AuthorityBook(stored);
    this.#guard = new ClockGuard(stored.journal.lastAt, this.#moment());
    const roster = stored.roster
      ? decodeRoster(stored.roster.payload)
      : this.#book.compose(options.federationDomain, 0, 0);
    this.#roster = new Watchable(roster);
    this.#trust = new Watchable<TrustState | undefined>(trustStateOf(roster, [options.anchor]));
  }

  /** @throws IsthmusError `conflict` if another process uses the state, `corrupt`, `unavailable` */
  static async open(options: AuthorityLedgerOptions): Promise<AuthorityLedger> {
    let ledger: AuthorityLedger | undefined;
    const { path, clock, federationDomain } = options;
    const onLost = (): void => {
      if (ledger) ledger.#lose();
    };
    const writer = await AuthorityWriter.open({ path, onLost });
    try {
      const stored = await writer.load(clock.now());
      ledger = new AuthorityLedger(options, writer, stored);
      const who = authorityId(federationDomain);
      const first = { who, what: 'init', subject: federationDomain, detail: 'a new journal' } as const;
      // A clock that is wrong at the start keeps it from deciding, not from serving what was decided.
      if (ledger.clockProblem === undefined) {
        if (stored.journal.records === 0) await ledger.decide({ entries: [first] });
        if (!stored.roster || ledger.#isStale()) await ledger.#publishNow();
      }
      ledger.#scheduleUpkeep();
      return ledger;
    } catch (thrown) {
      await writer.close();
      throw thrown;
    }
  }

  /** The state to decide by. @throws IsthmusError `unavailable` while the disk does not take decisions */
  get book(): AuthorityBook {
    if (this.#book) return this.#book;
    throw new IsthmusError('unavailable', `Nothing can be decided: ${this.#lost ?? 'the state is closed'}`);
  }

  /** The state to look at; undefined while it is being read again. */
  get held(): AuthorityBook | undefined {
    return this.#book;
  }

  get roster(): Watch<Roster> {
    return this.#roster;
  }

  get trust(): TrustSource {
    return this.#trust;
  }

  /** Why nothing can be written; undefined: it can. */
  get problem(): string | undefined {
    return this.#lost ?? this.clockProblem;
  }

  get clockProblem(): string | undefined {
    return this.#guard.problem(this.#moment());
  }

  /**
   * Applies a decision and resolves when it is durable; with `published` when the roster that follows is so too.
   * @throws IsthmusError `unavailable`: it has not happened
   */
  async decide(ruling: Ruling, publish: Publishing = 'no'): Promise<void> {
    const { book } = this;
    const problem = this.clockProblem;
    if (problem !== undefined) {
      await this.#tellClock(problem);
      throw clockRefusal(problem, clockHint);
    }
    await this.#commit(book, ruling, publish);
  }

  /** Goes on with a wall clock that jumped. */
  async acceptClock(who: string, why: string): Promise<void> {
    const { clock } = this.#options;
    const before = new Date(this.#guard.latest).toISOString();
    this.#guard.accept(this.#moment());
    this.#clockTold = false;
    const detail = `${new Date(clock.now()).toISOString()} after ${before}: ${why}`;
    await this.decide({ entries: [{ who, what: 'accept-clock', subject: 'clock', detail }] }, 'published');
  }

  /** Part of the journal, oldest first. */
  journal(after: number, limit: number): Promise<readonly AuditRecord[]> {
    return this.#writer.journal({ after, limit: Math.min(limit, journalPage) });
  }

  /** Reads and checks all of the journal. */
  async journalState(): Promise<JournalState> {
    let last: AuditStart = auditBeginning;
    let lastAt = 0;
    for (;;) {
      const page = await this.journal(last.sequence, journalPage);
      const problem = auditProblem(page, last);
      const end = page.at(-1);
      if (!end || problem !== undefined) return { records: last.sequence, head: last.hash, lastAt, problem };
      last = end;
      lastAt = end.at;
    }
  }

  inventory(limit: number): Promise<readonly IntermediateEntry[]> {
    return this.#writer.inventory(limit);
  }

  /** A consistent copy of the database. @throws IsthmusError `unavailable` */
  copyTo(path: string): Promise<void> {
    return this.#writer.copyTo(path);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#publication?.timer.cancel();
    for (const timer of this.#upkeep.splice(0)) timer.cancel();
    await this.#writer.close();
  }

  #moment(): Moment {
    const { clock, elapsedMs } = this.#options;
    return { now: clock.now(), elapsed: elapsedMs?.() ?? clock.monotonic() };
  }

  /** Writes down, once, that the clock is not believed: every refusal of then has this reason. */
  async #tellClock(problem: string): Promise<void> {
    if (this.#clockTold || !this.#book) return;
    this.#clockTold = true;
    const { federationDomain, log } = this.#options;
    const at = this.#guard.believed(this.#moment());
    this.#guard.note(at);
    log.error({ problem }, 'nothing is decided until the clock is right');
    const entry = { at, who: authorityId(federationDomain), what: 'deny', subject: 'clock', detail: problem } as const;
    await this.#writer.commit({ changes: [], entries: [entry] }).catch((thrown: unknown) => {
      log.error({ why: messageOf(thrown) }, 'cannot write down that the clock jumped');
    });
  }

  async #commit(book: AuthorityBook, { changes = [], entries }: Ruling, publish: Publishing): Promise<void> {
    const at = this.#options.clock.now();
    this.#guard.note(at);
    this.#clockTold = false;
    for (const change of changes) book.apply(change);
    const done = this.#writer.commit({ changes, entries: entries.map((entry) => ({ at, ...entry })) });
    if (publish === 'published') return void (await Promise.all([done, this.#publish('published')]));
    if (publish === 'later') this.#publish('later').catch(() => undefined);
    return done;
  }

  /** At once, or together with others as soon as rosters may follow each other. */
  #publish(publish: 'published' | 'later'): Promise<void> {
    const now = this.#options.clock.monotonic();
    const at = this.#publishedAt + publishSpacingMs[publish];
    const before = this.#publication;
    if (before && before.at <= at) return before.promise;
    before?.timer.cancel();
    if (!before && at <= now) return this.#publishNow();
    const { promise, resolve } = before ?? Promise.withResolvers<void>();
    const timer = this.#options.clock.schedule(Math.max(0, at - now), () => {
      this.#publication = undefined;
      resolve(this.#publishNow());
    });
    this.#publication = { at, timer, promise, resolve };
    if (!before) {
      // Whoever asked for it is told; somebody who did not wait is not to end the process.
      promise.catch((thrown: unknown) => {
        if (!this.#closed) this.#options.log.error({ why: messageOf(thrown) }, 'cannot publish the roster');
      });
    }
    return promise;
  }

  async #publishNow(): Promise<void> {
    const { book } = this;
    const { federationDomain, anchor, clock } = this.#options;
    const sequence = book.nextSequence;
    const roster = book.compose(federationDomain, sequence, clock.now());
    const payload = new Uint8Array(encodeRoster(roster));
    this.#publishedAt = clock.monotonic();
    this.#staleAt = book.changesAt(roster.issuedAt);
    const who = authorityId(federationDomain);
    const detail = `${roster.clusters.size} members, ${roster.deniedKeyIds.length} denied keys`;
    const entry = { who, what: 'publish-roster', subject: `sequence ${sequence}`, detail } as const;
    await this.#commit(book, { changes: [{ type: 'roster', sequence, payload }], entries: [entry] }, 'no');
    this.#trust.set(trustStateOf(roster, [anchor]));
    this.#roster.set(roster);
  }

  /** Whether the roster that was published differs from what would be now, beyond sequence and time. */
  #isStale(): boolean {
    const { federationDomain, clock } = this.#options;
    const content = (roster: Roster): Buffer => Buffer.from(encodeRoster({ ...roster, sequence: 0, issuedAt: 0 }));
    const present = this.book.compose(federationDomain, 0, clock.now());
    return !content(this.#roster.current).equals(content(present));
  }

  #lose(): void {
    this.#book = undefined;
    this.#lost ??= 'the disk does not take decisions';
  }

  #scheduleUpkeep(): void {
    if (this.#closed) return;
    this.#upkeep.pop();
    this.#upkeep.push(this.#options.clock.schedule(upkeepMs, () => void this.#maintain()));
  }

  /** Loads what is on disk after a loss, and publishes what time has changed: keys that expired, members that left. */
  async #maintain(): Promise<void> {
    try {
      if (!this.#book) {
        this.#book = new AuthorityBook(await this.#writer.load(this.#options.clock.now()));
        this.#lost = undefined;
        this.#staleAt = 0;
      }
      const problem = this.clockProblem;
      if (problem !== undefined) await this.#tellClock(problem);
      const due = !this.#publication && this.#options.clock.now() >= this.#staleAt;
      if (due && problem === undefined) {
        if (this.#isStale()) await this.#publish('published');
        else this.#staleAt = this.book.changesAt(this.#options.clock.now());
      }
    } catch (thrown) {
      if (!this.#closed) this.#options.log.error({ why: messageOf(thrown) }, 'cannot keep the state in order');
    }
    this.#scheduleUpkeep();
  }
}

import { IsthmusError, messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer, SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { ClusterRecord, RecordKey } from '../../model/record.ts';
import { Backoff, type BackoffOptions } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { digestOf } from '../../wire/digest.ts';
import { decodeHead, type PartitionHead } from '../../wire/partition.ts';
import { anythingHint, parseHint } from '../hint.ts';
import { compareVersions } from '../log/partition-state.ts';
import type { EventKind } from '../event-list.ts';
import { type Holdings, recordsOf } from '../log/writer-plan.ts';
import type { PartitionView } from '../partition-view.ts';
import { placeIn, type ReadRefusal } from '../refusal.ts';
import { changeStatus, firstStatus, firstWish, type PublisherStatus } from '../publisher-status.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { OwnHoldings, type WishOptions } from './own-holdings.ts';
import { beginning, type Committed, type Pending, repair, type Sealing, sealStep } from './publisher-commit.ts';
import { diskFiles, type StateFiles } from './state-files.ts';
import { unseal } from './unseal.ts';
import { type OwnState, readEpoch, readOwnState, type WriterFiles, writeEpoch } from './writer-files.ts';

export interface PublisherOptions {
  readonly hub: Hub;
  readonly cluster: ClusterName;
  /** Own trust domain: which signers of the own partition are believed. */
  readonly trustDomain: TrustDomain;
  /** Undefined: no identity yet; nothing is written until there is one. */
  readonly sealer: Watch<Sealer | undefined>;
  readonly verifier: SealVerifier;
  /** Private directory for the epoch and the own records. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Time between two renewals of the lease in ms; the hub drops it after nine. Default 5000. */
  readonly leaseMs?: number;
  /** Between attempts on a hub that fails. Default 50 ms to 2 s. */
  readonly backoff?: BackoffOptions;
  /** Default: the disk. */
  readonly files?: StateFiles;
  /** Told of what somebody may want to know later. */
  readonly onEvent?: (kind: EventKind, detail: string) => void;
}

/** The only writer of one cluster's partition (architecture.md, decisions 1, 4 and 8). */
export interface Publisher {
  /**
   * What the partition should hold from now on; calls in quick succession become one write. A burst of deletions that is
   * not declared as `bulk` is held back.
   */
  publish(desired: ReadonlyMap<RecordKey, ClusterRecord>, options: WishOptions): void;
  /** Somebody says that the deletions held back are meant. Answers how many exports go. */
  acceptHeld(): number;
  /** Says good-bye to the other members; the lease is not renewed after that. Resolves when the hub has it. */
  release(): Promise<void>;
  /** Takes back a good-bye that the hub did not take in time. */
  stay(): void;
  /** The own partition as asked for, whether or not the hub has it: for the own view, and for `planExports`. */
  readonly own: Watch<PartitionView>;
  readonly status: Watch<PublisherStatus>;
  /** Stops, after what is under way. Does not write what is not written yet. */
  close(): Promise<void>;
}

/** Reads what was kept on disk and starts. Rejects only when the state directory cannot be read. */
export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const { stateDir, files = diskFiles, log } = options;
  const where = { stateDir, files, log };
  const [storedEpoch, own] = await Promise.all([readEpoch(where), readOwnState(where)]);
  const publisher = new PartitionWriter(options, { where, storedEpoch, own });
  publisher.start();
  return publisher;
}

interface Kept {
  readonly where: WriterFiles;
  readonly storedEpoch: number;
  readonly own: OwnState | undefined;
}

/** So often in a row somebody else's head is overwritten at once; then with a pause. */
const maxQuickRepairs = 3;

class PartitionWriter implements Publisher {
  readonly own: Watchable<PartitionView>;
  readonly status: Watchable<PublisherStatus>;
  readonly #options: PublisherOptions;
  readonly #backoff: Backoff;
  /** Grows while somebody keeps writing over this partition. */
  readonly #repairs: Backoff;
  readonly #wanted: OwnHoldings;
  readonly #lease: LeaseKeeper;
  readonly #ends: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #kept: Kept;
  #running: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  #awake = false;
  #hurry = new AbortController();

  /** The holdings that `own` shows. */
  #shown: Holdings;
  #committed: Committed | undefined;
  #pending: Pending | undefined;
  #checkDue = false;
  /** Chain that this process has written to the hub. */
  #chainWritten: string | undefined;

  constructor(options: PublisherOptions, kept: Kept) {
    this.#options = options;
    this.#kept = kept;
    const { hub, cluster, clock, log } = options;
    const { where, own } = kept;
    this.#wanted = new OwnHoldings({ ...where, kept: own, version: () => this.#version(), clock, log });
    this.#lease = new LeaseKeeper({
      hub,
      cluster,
      intervalMs: options.leaseMs ?? 5000,
      clock,
      onDue: () => {
        this.#checkDue = true;
        this.#wanted.expire();
        this.#noteWanted();
        this.#nudge();
      },
    });
    const delays = options.backoff ?? { initialMs: 50, maxMs: 2000 };
    this.#backoff = new Backoff(delays, () => clock.random());
    this.#repairs = new Backoff(delays, () => clock.random());
    const { epoch = 0, revision = 0 } = own ?? {};
    this.own = new Watchable<PartitionView>({
      epoch,
      revision,
      records: recordsOf(this.#wanted.holdings),
      freshness: 'live',
      heardAt: clock.now(),
    });
    this.status = new Watchable<PublisherStatus>(firstStatus(clock.now()));
    this.#shown = this.#wanted.holdings;
  }

  start(): void {
    const { hub, sealer, cluster } = this.#options;
    this.#ends.push(sealer.subscribe(() => this.#nudge()));
    this.#ends.push(
      hub.subscribe((text) => {
        const other = parseHint(text);
        if (text !== anythingHint && other?.partition !== cluster) return;
        if (other && other.epoch === this.#committed?.epoch && other.revision <= this.#latestRevision()) return;
        this.#checkDue = true;
        this.#hurry.abort();
        this.#nudge();
      }),
    );
    this.#running = this.#run();
  }

  publish(desired: ReadonlyMap<RecordKey, ClusterRecord>, options: WishOptions): void {
    if (this.#stop.signal.aborted) return;
    this.#wanted.wish(desired, options);
    this.#noteWanted();
    this.#nudge();
  }

  acceptHeld(): number {
    const accepted = this.#wanted.accept();
    if (accepted > 0) this.#options.onEvent?.('accepted', `${accepted} exports go, as somebody confirmed`);
    this.#noteWanted();
    this.#nudge();
    return accepted;
  }

  release(): Promise<void> {
    return this.#lease.release();
  }

  stay(): void {
    this.#lease.stay();
  }

  async close(): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#stop.abort();
      for (const end of this.#ends) end();
      this.#lease.close();
      this.#hurry.abort();
      this.#nudge();
    }
    await this.#running;
    await this.#wanted.flush();
    this.#report({ state: 'closed' });
  }

  /** Shows what the plan came to. */
  #noteWanted(): void {
    const { refused, heldBack, holdings } = this.#wanted;
    const { heldBack: heldBefore } = this.status.current;
    if (heldBack.size > heldBefore.size) {
      const detail = `${heldBack.size} exports would go at once; they stay until somebody confirms it`;
      this.#options.log.warn({ cluster: this.#options.cluster, exports: heldBack.size }, detail);
      this.#options.onEvent?.('held-back', detail);
    }
    this.#report({ refused, heldBack });
    if (holdings === this.#shown) return;
    this.#report({ settled: false });
    this.#showOwn();
  }

  #showOwn(): void {
    const before = this.own.current;
    const { holdings } = this.#wanted;
    const records = holdings === this.#shown ? before.records : recordsOf(holdings, before.records);
    this.#shown = holdings;
    this.own.set({ ...before, ...this.#version(), records, heardAt: this.#options.clock.now() });
  }

  async #run(): Promise<void> {
    const { log, hub } = this.#options;
    while (!this.#stop.signal.aborted && this.status.current.state !== 'superseded') {
      try {
        const busy = await this.#step();
        this.#backoff.reset();
        if (!busy) await this.#nextNudge();
      } catch (thrown) {
        const error = IsthmusError.from(thrown);
        if (this.status.current.state !== 'unreachable') {
          log.warn({ hub: hub.name, code: error.code, reason: error.message }, 'cannot write to the hub; trying again');
        }
        this.#report({ state: 'unreachable', lastError: error.message });
        await this.#pause(this.#backoff.next());
      }
    }
    this.#lease.close();
  }

  /** One thing that is due; false when nothing is. */
  async #step(): Promise<boolean> {
    const sealer = this.#options.sealer.current;
    if (!this.#wanted.hasWish) return this.#waitFor(firstWish);
    if (!sealer) return this.#waitFor('an identity to seal with');
    if (!this.#committed) {
      this.#committed = await this.#beginEpoch();
      return true;
    }
    if (this.#checkDue) {
      this.#checkDue = false;
      await this.#check(this.#committed, sealer).catch((thrown: unknown) => {
        this.#checkDue = true;
        throw thrown;
      });
      return true;
    }
    if (this.#lease.isDue && this.#committed.revision > 0) {
      await this.#writeChain(sealer.chainId, sealer.chain);
      await this.#lease.renew(this.#committed.epoch, sealer);
      return true;
    }
    this.#pending ??= sealStep(this.#committed, this.#wanted.publishable, this.#sealing(sealer));
    if (!this.#pending) {
      this.#report({ state: 'publishing', settled: true });
      return false;
    }
    await this.#send(this.#pending, sealer);
    return true;
  }

  #sealing(sealer: Sealer): Sealing {
    const { cluster, clock } = this.#options;
    return { cluster, sealer, now: clock.now() };
  }

  #waitFor(what: string): false {
    this.#report({ state: 'waiting', waitingFor: what });
    return false;
  }

  /**
   * A new epoch is above everything this cluster ever signed, here or in the hub, and above the wall clock, so that it
   * also is where both were lost. It is on disk before anything is sealed with it.
   */
  async #beginEpoch(): Promise<Committed> {
    const { hub, cluster, clock, log } = this.#options;
    const found = await hub.readSnapshot(cluster);
    const head = found.head && (await this.#verifiedHead(found.head));
    const epoch = Math.max(this.#kept.storedEpoch + 1, (head?.epoch ?? 0) + 1, Math.floor(clock.now()));
    await writeEpoch(this.#kept.where, epoch);
    if (head && found.records.size === head.count && digestOf(found.records) === head.digest) {
      const own = this.#kept.own;
      if (!own || compareVersions(head, own) > 0) {
        this.#wanted.adopt(found.records);
        this.#noteWanted();
      }
    } else if (head) {
      log.warn(
        { hub: hub.name, cluster, key: 'records', reason: 'digest-mismatch' },
        'own records in the hub are not those that were signed; not used',
      );
    }
    log.info({ hub: hub.name, cluster, epoch }, 'writing under a new epoch');
    return beginning(epoch, found.head);
  }

  /** The own head in the hub, if it is one that this cluster signed. */
  async #verifiedHead(sealed: Uint8Array): Promise<PartitionHead | undefined> {
    const { hub, verifier, cluster, trustDomain, log } = this.#options;
    const refuse = (reason: ReadRefusal, rule: string): void => {
      log.warn({ hub: hub.name, cluster, key: 'head', reason, detail: rule }, 'foreign head in own partition');
      this.#options.onEvent?.(reason, `${placeIn(hub.name, cluster, 'head')}: ${rule}`);
    };
    const verdict = await unseal('head', sealed, { hub, verifier, partition: cluster, domain: trustDomain });
    if (!verdict.ok) {
      refuse(verdict.reason, verdict.detail);
      return undefined;
    }
    try {
      const head = decodeHead(verdict.payload);
      if (head.cluster === cluster) return head;
      refuse('foreign', `the head speaks for '${head.cluster}'`);
    } catch (thrown) {
      refuse('malformed', messageOf(thrown));
    }
    return undefined;
  }

  async #send(pending: Pending, sealer: Sealer): Promise<void> {
    const { hub, cluster } = this.#options;
    const { chain } = pending.next;
    // A hub that must be written anew may have lost it.
    if (pending.commit.snapshot) this.#chainWritten = undefined;
    if (chain) await this.#writeChain(chain.id, chain.bytes);
    const result = await hub.commit(cluster, pending.commit);
    if (result.ok) return this.#done(pending.next);
    await this.#settle(result.head, sealer);
  }

  #done(next: Committed): void {
    this.#committed = next;
    this.#pending = undefined;
    this.#repairs.reset();
    this.#wanted.touch();
    const { epoch, revision } = next;
    this.#report({ state: 'publishing', epoch, revision });
    this.#showOwn();
  }

  async #writeChain(id: string, bytes: Uint8Array): Promise<void> {
    if (this.#chainWritten === id) return;
    await this.#options.hub.writeChain(this.#options.cluster, id, bytes);
    this.#chainWritten = id;
  }

  /** Whether the hub still holds what was last written there: it may have been flushed, or restored. */
  async #check(committed: Committed, sealer: Sealer): Promise<void> {
    const { hub, cluster } = this.#options;
    const [found] = await hub.readHeads([cluster]);
    const expected = sameBytes(found, committed.head) || (this.#pending && sameBytes(found, this.#pending.commit.head));
    if (!expected) return this.#settle(found, sealer);
    // A head alone, because it was written just after a flush, says nothing to those who never saw its chain.
    const written = this.#chainWritten;
    if (written !== undefined && !(await hub.readChain(cluster, written))) this.#chainWritten = undefined;
    if (committed.chain) await this.#writeChain(committed.chain.id, committed.chain.bytes);
  }

  /** The hub holds another head than expected: stop before a newer writer, put everything else right. */
  async #settle(found: Uint8Array | undefined, sealer: Sealer): Promise<void> {
    const { hub, cluster, log } = this.#options;
    const latest = this.#pending?.next ?? this.#committed;
    const head = found && (await this.#verifiedHead(found));
    if (!latest) return;
    const newer = head && compareVersions(head, latest);
    if (head && newer === 0 && head.digest === latest.digest.whole) {
      return this.#done({ ...latest, head: found });
    }
    if (head && newer !== undefined && newer >= 0) {
      const lastError = `epoch ${head.epoch} of this cluster was written by another replica`;
      this.#report({ state: 'superseded', lastError });
      this.#options.onEvent?.('superseded', lastError);
      log.error(
        { hub: hub.name, cluster, epoch: head.epoch, own: latest.epoch },
        'a newer writer was seen; this one stops',
      );
      return;
    }
    const what = head ? `${head.epoch}.${head.revision}` : 'nothing of ours';
    log.warn({ hub: hub.name, cluster, found: what }, 'repairing own partition');
    this.#options.onEvent?.('repaired', `hub ${hub.name} held ${what}`);
    this.#report({ repairs: this.status.current.repairs + 1 });
    const { head: sealed } = latest;
    const wanted = { holdings: this.#wanted.publishable, sealing: this.#sealing(sealer) };
    if (latest.revision > 0 && sealed) this.#pending = repair({ ...latest, head: sealed }, found, wanted);
    else this.#committed = { ...latest, head: found };
    const pauseMs = this.#repairs.next();
    if (this.#repairs.attempt > maxQuickRepairs) await this.#pause(pauseMs);
  }

  #version(): { readonly epoch: number; readonly revision: number } {
    const { epoch = this.#kept.own?.epoch ?? 0, revision = this.#kept.own?.revision ?? 0 } = this.#committed ?? {};
    return { epoch, revision };
  }

  #latestRevision(): number {
    return this.#pending?.next.revision ?? this.#committed?.revision ?? 0;
  }

  #report(change: Partial<PublisherStatus>): void {
    this.status.set(changeStatus(this.status.current, change, this.#options.clock.now()));
  }

  #nudge(): void {
    this.#awake = true;
    this.#wake?.();
  }

  async #nextNudge(): Promise<void> {
    if (!this.#awake) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#awake = false;
    this.#wake = undefined;
  }

  /** Waits before the next attempt; a sign that the hub is back cuts it short. */
  async #pause(ms: number): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#hurry = new AbortController();
    await sleep(this.#options.clock, ms, this.#hurry.signal);
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

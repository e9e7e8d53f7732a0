import { IsthmusError, messageOf } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Sealer, SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { ClusterRecord, RecordKey } from '../../model/record.ts';
import { Backoff, type BackoffOptions } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { digestOf } from '../../wire/digest.ts';
import { decodeHead, encodeLease, type PartitionHead } from '../../wire/partition.ts';
import { anythingHint, parseHint } from '../hint.ts';
import { compareVersions } from '../log/partition-state.ts';
import { type Holdings, holdingsOf, nextExpiry, planWrite, recordsOf, type Wish } from '../log/writer-plan.ts';
import type { PartitionView } from '../partition-view.ts';
import { changeStatus, firstStatus, firstWish, type PublisherStatus } from '../publisher-status.ts';
import { LazyFile } from './lazy-file.ts';
import { beginning, type Committed, type Pending, repair, sealStep } from './publisher-commit.ts';
import { unseal } from './unseal.ts';
import { encodeOwnState, ownStatePath, readEpoch, readOwnState, writeEpoch } from './writer-files.ts';

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
}

/** The only writer of one cluster's partition (architecture.md, decisions 1, 4 and 8). */
export interface Publisher {
  /**
   * What the partition should hold from now on; calls in quick succession become one write. `synced` false: the
   * sources were not all read yet, and nothing is deleted.
   */
  publish(desired: ReadonlyMap<RecordKey, ClusterRecord>, options: { readonly synced: boolean }): void;
  /** The own partition as asked for, whether or not the hub has it: for the own view, and for `planExports`. */
  readonly own: Watch<PartitionView>;
  readonly status: Watch<PublisherStatus>;
  /** Stops, after what is under way. Does not write what is not written yet. */
  close(): Promise<void>;
}

/** Reads what was kept on disk and starts. Rejects only when the state directory cannot be read. */
export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const { stateDir, log } = options;
  const [epoch, own] = await Promise.all([readEpoch(stateDir, log), readOwnState(stateDir, log)]);
  const publisher = new PartitionWriter(options, { storedEpoch: epoch, own });
  publisher.start();
  return publisher;
}

interface Kept {
  readonly storedEpoch: number;
  readonly own: { readonly epoch: number; readonly revision: number; readonly holdings: Holdings } | undefined;
}

/** The hub drops a lease that was not renewed so many times. */
const leaseRenewalsKept = 9;
/** So often in a row somebody else's head is overwritten at once; then with a pause. */
const maxQuickRepairs = 3;

class PartitionWriter implements Publisher {
  readonly own: Watchable<PartitionView>;
  readonly status: Watchable<PublisherStatus>;
  readonly #options: PublisherOptions;
  readonly #backoff: Backoff;
  /** Grows while somebody keeps writing over this partition. */
  readonly #repairs: Backoff;
  readonly #file: LazyFile;
  readonly #ends: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #kept: Kept;
  #running: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  #awake = false;
  #hurry = new AbortController();
  #leaseTimer: Timer | undefined;

  #wish: Wish | undefined;
  #holdings: Holdings;
  /** The holdings that `own` shows. */
  #shown: Holdings | undefined;
  #committed: Committed | undefined;
  #pending: Pending | undefined;
  #leaseDue = true;
  #leaseSequence = 0;
  #checkDue = false;
  /** Chain that this process has written to the hub. */
  #chainWritten: string | undefined;

  constructor(options: PublisherOptions, kept: Kept) {
    this.#options = options;
    this.#kept = kept;
    this.#holdings = kept.own?.holdings ?? new Map();
    const { clock } = options;
    const delays = options.backoff ?? { initialMs: 50, maxMs: 2000 };
    this.#backoff = new Backoff(delays, () => clock.random());
    this.#repairs = new Backoff(delays, () => clock.random());
    const { epoch = 0, revision = 0 } = kept.own ?? {};
    this.own = new Watchable<PartitionView>({
      epoch,
      revision,
      records: recordsOf(this.#holdings),
      freshness: 'live',
      heardAt: clock.now(),
    });
    this.status = new Watchable<PublisherStatus>(firstStatus(clock.now()));
    this.#file = new LazyFile({
      path: ownStatePath(options.stateDir),
      content: () => encodeOwnState({ ...this.#version(), holdings: this.#holdings }),
      delayMs: 200,
      clock,
      log: options.log,
    });
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

  publish(desired: ReadonlyMap<RecordKey, ClusterRecord>, options: { readonly synced: boolean }): void {
    if (this.#stop.signal.aborted) return;
    this.#wish = { desired, synced: options.synced, now: this.#options.clock.now() };
    this.#plan();
    this.#nudge();
  }

  async close(): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#stop.abort();
      for (const end of this.#ends) end();
      this.#leaseTimer?.cancel();
      this.#hurry.abort();
      this.#nudge();
    }
    await this.#running;
    await this.#file.flush();
    this.#report({ state: 'closed' });
  }

  /** Applies the latest wish to what is held. */
  #plan(): void {
    if (!this.#wish) return;
    const { holdings, refused } = planWrite(this.#holdings, { ...this.#wish, now: this.#options.clock.now() });
    for (const [key, reason] of refused) {
      if (this.status.current.refused.get(key) !== reason) {
        this.#options.log.warn({ key, reason }, 'record cannot be published');
      }
    }
    if (refused.size > 0 || this.status.current.refused.size > 0) this.#report({ refused });
    if (holdings !== this.#holdings) {
      this.#holdings = holdings;
      this.#file.touch();
      this.#report({ settled: false });
      this.#showOwn();
    }
  }

  #showOwn(): void {
    const before = this.own.current;
    const records = this.#holdings === this.#shown ? before.records : recordsOf(this.#holdings);
    this.#shown = this.#holdings;
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
    this.#leaseTimer?.cancel();
  }

  /** One thing that is due; false when nothing is. */
  async #step(): Promise<boolean> {
    const sealer = this.#options.sealer.current;
    if (!this.#wish) return this.#waitFor(firstWish);
    if (!sealer) return this.#waitFor('an identity to seal with');
    if (!this.#committed) {
      this.#committed = await this.#beginEpoch();
      return true;
    }
    if (this.#checkDue) {
      this.#checkDue = false;
      await this.#check(this.#committed).catch((thrown: unknown) => {
        this.#checkDue = true;
        throw thrown;
      });
      return true;
    }
    if (this.#leaseDue && this.#committed.revision > 0) {
      await this.#renewLease(this.#committed, sealer);
      return true;
    }
    this.#pending ??= sealStep(this.#committed, this.#holdings, {
      cluster: this.#options.cluster,
      sealer,
      now: this.#options.clock.now(),
    });
    if (!this.#pending) {
      this.#report({ state: 'publishing', settled: true });
      return false;
    }
    await this.#send(this.#pending);
    return true;
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
    const { hub, cluster, stateDir, clock, log } = this.#options;
    const found = await hub.readSnapshot(cluster);
    const head = found.head && (await this.#verifiedHead(found.head));
    const epoch = Math.max(this.#kept.storedEpoch + 1, (head?.epoch ?? 0) + 1, Math.floor(clock.now()));
    await writeEpoch(stateDir, epoch);
    if (head && found.records.size === head.count && digestOf(found.records) === head.digest) {
      const own = this.#kept.own;
      if (!own || compareVersions(head, own) > 0) {
        this.#holdings = holdingsOf(found.records);
        this.#file.touch();
        this.#plan();
        this.#showOwn();
      }
    } else if (head) {
      log.warn({ hub: hub.name, cluster }, 'own records in the hub are not those that were signed; not used');
    }
    log.info({ hub: hub.name, cluster, epoch }, 'writing under a new epoch');
    return beginning(epoch, found.head);
  }

  /** The own head in the hub, if it is one that this cluster signed. */
  async #verifiedHead(sealed: Uint8Array): Promise<PartitionHead | undefined> {
    const { hub, verifier, cluster, trustDomain, log } = this.#options;
    const verdict = await unseal('head', sealed, { hub, verifier, partition: cluster, domain: trustDomain });
    if (!verdict.ok) {
      log.warn(
        { hub: hub.name, cluster, reason: verdict.reason, detail: verdict.detail },
        'foreign head in own partition',
      );
      return undefined;
    }
    try {
      const head = decodeHead(verdict.payload);
      return head.cluster === cluster ? head : undefined;
    } catch (thrown) {
      log.warn({ hub: hub.name, cluster, reason: messageOf(thrown) }, 'foreign head in own partition');
      return undefined;
    }
  }

  async #send(pending: Pending): Promise<void> {
    const { hub, cluster } = this.#options;
    const { chain } = pending.next;
    if (chain && (this.#chainWritten !== chain.id || pending.commit.snapshot)) {
      await hub.writeChain(cluster, chain.id, chain.bytes);
      this.#chainWritten = chain.id;
    }
    const result = await hub.commit(cluster, pending.commit);
    if (result.ok || sameBytes(result.head, pending.commit.head)) return this.#done(pending.next);
    await this.#settle(result.head);
  }

  #done(next: Committed): void {
    this.#committed = next;
    this.#pending = undefined;
    this.#repairs.reset();
    this.#file.touch();
    const { epoch, revision } = next;
    this.#report({ state: 'publishing', epoch, revision });
    this.#showOwn();
    this.#scheduleLease();
  }

  /** Whether the hub still holds what was last written there: it may have been flushed, or restored. */
  async #check(committed: Committed): Promise<void> {
    const [found] = await this.#options.hub.readHeads([this.#options.cluster]);
    if (sameBytes(found, committed.head) || (this.#pending && sameBytes(found, this.#pending.commit.head))) return;
    await this.#settle(found);
  }

  /** The hub holds another head than expected: stop before a newer writer, put everything else right. */
  async #settle(found: Uint8Array | undefined): Promise<void> {
    const { hub, cluster, log } = this.#options;
    const latest = this.#pending?.next ?? this.#committed;
    const head = found && (await this.#verifiedHead(found));
    if (!latest) return;
    const newer = head && compareVersions(head, latest);
    if (head && newer === 0 && head.digest === latest.digest.whole) {
      return this.#done({ ...latest, head: found });
    }
    if (head && newer !== undefined && newer >= 0) {
      this.#report({
        state: 'superseded',
        lastError: `epoch ${head.epoch} of this cluster was written by another replica`,
      });
      log.error(
        { hub: hub.name, cluster, epoch: head.epoch, own: latest.epoch },
        'a newer writer was seen; this one stops',
      );
      return;
    }
    log.warn(
      { hub: hub.name, cluster, found: head ? `${head.epoch}.${head.revision}` : 'nothing of ours' },
      'repairing own partition',
    );
    this.#report({ repairs: this.status.current.repairs + 1 });
    const { head: sealed } = latest;
    if (latest.revision > 0 && sealed) this.#pending = repair(cluster, { ...latest, head: sealed }, found);
    else this.#committed = { ...latest, head: found };
    const pauseMs = this.#repairs.next();
    if (this.#repairs.attempt > maxQuickRepairs) await this.#pause(pauseMs);
  }

  async #renewLease(committed: Committed, sealer: Sealer): Promise<void> {
    const { hub, cluster, clock } = this.#options;
    const { epoch } = committed;
    const lease = { cluster, epoch, sequence: this.#leaseSequence + 1, at: clock.now() };
    if (this.#chainWritten !== sealer.chainId) await hub.writeChain(cluster, sealer.chainId, sealer.chain);
    this.#chainWritten = sealer.chainId;
    await hub.writeLease(cluster, sealer.seal('lease', encodeLease(lease)), this.#leaseMs * leaseRenewalsKept);
    this.#leaseSequence += 1;
    this.#leaseDue = false;
    this.#scheduleLease();
  }

  get #leaseMs(): number {
    return this.#options.leaseMs ?? 5000;
  }

  #scheduleLease(): void {
    if (this.#leaseDue || this.#leaseTimer || this.#stop.signal.aborted) return;
    this.#leaseTimer = this.#options.clock.schedule(this.#leaseMs, () => {
      this.#leaseTimer = undefined;
      this.#leaseDue = true;
      this.#checkDue = true;
      const expiry = nextExpiry(this.#holdings);
      if (expiry !== undefined && expiry <= this.#options.clock.now()) this.#plan();
      this.#nudge();
    });
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

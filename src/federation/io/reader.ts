import { join } from 'node:path';
import { IsthmusError } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { SealVerifier } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { RecordKey } from '../../model/record.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { Watchable } from '../../runtime/watchable.ts';
import type { EventKind } from '../event-list.ts';
import { anythingHint, parseHint } from '../hint.ts';
import { defaultLiveness, type LivenessTimings, type Span, silenceOfMost } from '../liveness/freshness.ts';
import { compareVersions, type Version } from '../log/partition-state.ts';
import type { PartitionView } from '../partition-view.ts';
import { placeIn, type ReadRefusal, type Refusal } from '../refusal.ts';
import { LazyFile } from './lazy-file.ts';
import { PartitionFollower } from './partition-follower.ts';
import { encodePartition, PartitionStore } from './partition-store.ts';
import { diskFiles, type StateFiles } from './state-files.ts';
import { SyncQueue } from './sync-queue.ts';

export interface ReaderOptions {
  readonly hub: Hub;
  /** Its own partition is not read: the publisher's `own` is newer, and there while the hub is not. */
  readonly self: ClusterName;
  /** True while another replica of the own cluster writes: then the own partition is read like any other. */
  readonly readsSelf?: Watch<boolean>;
  /** Its roster says whose partitions are read, and who signs them. */
  readonly trust: TrustSource;
  readonly verifier: SealVerifier;
  /** Private directory; `partitions/` in it keeps the last good states. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Mean time between two looks at all heads and leases, in ms. Default 2000, jittered by a quarter. */
  readonly pollMs?: number;
  readonly liveness?: Partial<LivenessTimings>;
  /** Default: the disk. */
  readonly files?: StateFiles;
  /** Told of what somebody may want to know later. */
  readonly onEvent?: (cluster: ClusterName, kind: EventKind, detail: string) => void;
}

export interface HubStatus {
  readonly name: string;
  readonly connected: boolean;
  /** Wall clock in ms since which `connected` is as it is. */
  readonly since: number;
  readonly lastError?: string;
}

/** How often something of one cluster was not believed, and why the last time. */
export interface Refusals {
  readonly cluster: ClusterName;
  readonly reason: ReadRefusal;
  readonly count: number;
  readonly detail: string;
}

/** What the other members published, verified, as far as the hub lets it through. */
export interface Reader {
  /** Active members, the own cluster only as `readsSelf` says, of which anything is known or hoped for. */
  readonly partitions: Watch<ReadonlyMap<ClusterName, PartitionView>>;
  readonly hubStatus: Watch<HubStatus>;
  /** At most one entry for each cluster and reason. */
  refusals(): readonly Refusals[];
  /** Exports that stay because their owner buried so many at once, by cluster; no entry where there are none. */
  heldBack(): ReadonlyMap<ClusterName, readonly RecordKey[]>;
  /** Somebody says that what is held back of this cluster is meant. Answers how many exports go. */
  acceptHeld(cluster: ClusterName): number;
  close(): Promise<void>;
}

/**
 * Loads the last good states from disk, then follows the hub: hints make it look at once, polling heals what hints
 * miss. Rejects only when the state directory cannot be used.
 */
export async function startReader(options: ReaderOptions): Promise<Reader> {
  const store = new PartitionStore(join(options.stateDir, 'partitions'), options.files ?? diskFiles, options.log);
  await store.open();
  const reader = new PartitionsReader(options, store);
  await reader.start();
  return reader;
}

/** Partitions synchronised at once. */
const parallelSyncs = 8;
/** Changes of one partition reach the disk together within so many ms. */
const saveDelayMs = 1000;
/** After a hint that promised too much no other is followed before so many ms; twice as many after the next one. */
const firstPauseMs = 50;
const maxPauseMs = 2000;
/** A partition that could not be read to the end of what its head promises is read again after growing pauses. */
const patience = { initialMs: 500, maxMs: 15_000 };
/** When the hub is back all agents want to know everything: each waits for up to so long. */
const returnJitterMs = 500;
/** What is not believed is logged so often for each cluster and reason. */
const tellEveryMs = 1000;

interface Member {
  readonly follower: PartitionFollower;
  readonly file: LazyFile;
  /** Newest version that a hint or head spoke of; nothing proves a hint. */
  promised: Version | undefined;
  /** In a row. */
  brokenPromises: number;
  /** Monotonic ms before which hints are not followed at once. */
  quietUntil: number;
  later: Timer | undefined;
  /** Grows while reading does not lead to what a verified head promised. */
  readonly retries: Backoff;
  /** Monotonic ms before which heads are not followed. */
  retryAt: number;
  left: boolean;
}

class PartitionsReader implements Reader {
  readonly partitions: Watchable<ReadonlyMap<ClusterName, PartitionView>>;
  readonly hubStatus: Watchable<HubStatus>;
  readonly #options: ReaderOptions;
  readonly #liveness: LivenessTimings;
  readonly #store: PartitionStore;
  readonly #members = new Map<ClusterName, Member>();
  readonly #queue: SyncQueue<ClusterName>;
  readonly #refusals = new Map<string, Refusals>();
  /** Monotonic ms at which each kind of refusal was last logged. */
  readonly #told = new Map<string, number>();
  readonly #ends: (() => void)[] = [];
  #membership: Promise<void> = Promise.resolve();
  #polling: Promise<void> | undefined;
  #pollAgain = false;
  #timer: Timer | undefined;
  #silence: Span | undefined;
  /** Monotonic ms. */
  #hubUpSince: number | undefined;
  #closed = false;

  constructor(options: ReaderOptions, store: PartitionStore) {
    this.#options = options;
    this.#store = store;
    this.#liveness = { ...defaultLiveness, ...options.liveness };
    this.#queue = new SyncQueue((cluster) => this.#sync(cluster), parallelSyncs);
    this.partitions = new Watchable<ReadonlyMap<ClusterName, PartitionView>>(new Map());
    const { hub, clock } = options;
    this.hubStatus = new Watchable<HubStatus>({ name: hub.name, connected: false, since: clock.now() });
  }

  async start(): Promise<void> {
    const { trust, hub, readsSelf } = this.#options;
    this.#ends.push(
      trust.subscribe(() => {
        for (const { follower } of this.#members.values()) follower.recheck();
        void this.#follow();
      }),
    );
    if (readsSelf) this.#ends.push(readsSelf.subscribe(() => void this.#follow()));
    await this.#follow();
    this.#ends.push(hub.subscribe((hint) => this.#heard(hint)));
    this.#poll();
  }

  refusals(): readonly Refusals[] {
    return [...this.#refusals.values()];
  }

  heldBack(): ReadonlyMap<ClusterName, readonly RecordKey[]> {
    const held = [...this.#members].map(([cluster, { follower }]) => [cluster, follower.heldBack] as const);
    return new Map(held.filter(([, keys]) => keys.length > 0));
  }

  acceptHeld(cluster: ClusterName): number {
    const member = this.#members.get(cluster);
    const accepted = member?.follower.acceptHeld() ?? 0;
    if (!member || accepted === 0) return 0;
    member.file.touch();
    this.#options.onEvent?.(cluster, 'accepted', `${accepted} exports go, as somebody confirmed`);
    this.#show();
    return accepted;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const end of this.#ends) end();
    this.#timer?.cancel();
    for (const member of this.#members.values()) member.later?.cancel();
    await this.#membership;
    await Promise.all([this.#queue.close(), this.#polling]);
    await Promise.all([...this.#members.values()].map((member) => member.file.flush()));
  }

  /** Brings the members in line with the roster. Whoever is not active goes at once. */
  #follow(): Promise<void> {
    const active = this.#active();
    for (const [cluster, { follower, later }] of this.#members) {
      if (active?.get(cluster) === follower.trustDomain) continue;
      later?.cancel();
      this.#members.delete(cluster);
    }
    this.#show();
    this.#membership = this.#membership.then(async () => {
      await this.#forgetOthers();
      for (const [cluster, trustDomain] of this.#active() ?? []) await this.#join(cluster, trustDomain);
      this.#show();
    });
    return this.#membership;
  }

  /** Undefined while there is no roster. */
  #active(): ReadonlyMap<ClusterName, TrustDomain> | undefined {
    const entries = this.#options.trust.current?.roster.clusters.values();
    if (!entries) return undefined;
    const { self, readsSelf } = this.#options;
    const others = [...entries].filter(
      (entry) => entry.state === 'active' && (entry.cluster !== self || readsSelf?.current === true),
    );
    return new Map(others.map((entry) => [entry.cluster, entry.trustDomain]));
  }

  async #forgetOthers(): Promise<void> {
    const revoked = [...(this.#options.trust.current?.roster.clusters.values() ?? [])].filter(
      (entry) => entry.state === 'revoked',
    );
    for (const { cluster } of revoked) await this.#store.forget(cluster);
  }

  async #join(cluster: ClusterName, trustDomain: TrustDomain): Promise<void> {
    if (this.#members.has(cluster) || this.#closed) return;
    const { hub, verifier, clock, log } = this.#options;
    const stored = await this.#store.load(cluster);
    // The roster may have changed while the disk was read.
    if (this.#active()?.get(cluster) !== trustDomain) return;
    const follower = new PartitionFollower({
      hub,
      verifier,
      cluster,
      trustDomain,
      stored,
      liveness: this.#liveness,
      clock,
      onRefusal: (refusal) => this.#refused(cluster, refusal),
    });
    const file = new LazyFile({
      path: this.#store.path(cluster),
      files: this.#options.files ?? diskFiles,
      content: () => (this.#members.get(cluster)?.follower === follower ? encoded(follower) : undefined),
      delayMs: saveDelayMs,
      clock,
      log,
    });
    this.#members.set(cluster, {
      follower,
      file,
      promised: undefined,
      brokenPromises: 0,
      quietUntil: 0,
      later: undefined,
      retries: new Backoff(patience, () => clock.random()),
      retryAt: 0,
      left: false,
    });
    if (this.#hubUpSince !== undefined) this.#queue.add(cluster);
  }

  #heard(text: string): void {
    if (text === anythingHint) return this.#pollOnReturn();
    const hint = parseHint(text);
    const member = hint && this.#members.get(hint.partition as ClusterName);
    if (!hint || !member) return;
    const held = member.follower.version;
    if (held && compareVersions(hint, held) <= 0) return;
    member.promised = hint;
    const waitMs = member.quietUntil - this.#options.clock.monotonic();
    if (waitMs <= 0) {
      // Its timer is late; what it waited for is done now.
      member.later?.cancel();
      member.later = undefined;
      return this.#queue.add(member.follower.cluster);
    }
    member.later ??= this.#options.clock.schedule(waitMs, () => {
      member.later = undefined;
      this.#queue.add(member.follower.cluster);
    });
  }

  /** At once when nothing was known, else a little later, not all agents together. */
  #pollOnReturn(): void {
    const { clock } = this.#options;
    if (this.#hubUpSince !== undefined || this.hubStatus.current.lastError === undefined) return this.#poll();
    this.#timer?.cancel();
    this.#timer = clock.schedule(returnJitterMs * clock.random(), () => this.#poll());
  }

  async #sync(cluster: ClusterName): Promise<void> {
    const member = this.#members.get(cluster);
    if (!member || this.#closed) return;
    const { promised } = member;
    member.promised = undefined;
    try {
      const { follower } = member;
      const heldBefore = follower.heldBack.length;
      const news = await follower.sync(promised);
      this.#hubAnswered();
      const { version } = follower;
      if (promised) this.#rest(member, !version || compareVersions(version, promised) < 0);
      if (news) member.file.touch();
      const held = follower.heldBack.length;
      if (held > heldBefore) this.#event(cluster, 'held-back', `${held} exports were deleted at once; they stay`);
    } catch (thrown) {
      this.#hubFailed(thrown);
    }
    this.#show();
  }

  /** Hints are not sealed: who promises what the hub does not have is heard less often. */
  #rest(member: Member, broken: boolean): void {
    member.brokenPromises = broken ? Math.min(member.brokenPromises + 1, 16) : 0;
    if (!broken) member.retries.reset();
    if (!broken) return;
    member.retryAt = this.#options.clock.monotonic() + member.retries.next();
    const pauseMs = Math.min(maxPauseMs, firstPauseMs * 2 ** (member.brokenPromises - 1));
    member.quietUntil = this.#options.clock.monotonic() + pauseMs;
  }

  /** Looks at all heads and leases now; once more if asked meanwhile. */
  #poll(): void {
    if (this.#closed) return;
    this.#pollAgain = true;
    this.#polling ??= this.#pollWhileAsked();
  }

  async #pollWhileAsked(): Promise<void> {
    while (this.#pollAgain && !this.#closed) {
      this.#pollAgain = false;
      this.#timer?.cancel();
      try {
        await this.#lookAtAll([...this.#members.values()]);
      } catch (thrown) {
        this.#hubFailed(thrown);
      }
      this.#show();
    }
    this.#polling = undefined;
    if (this.#closed) return;
    const { clock, pollMs = 2000 } = this.#options;
    this.#timer = clock.schedule(pollMs * (0.75 + 0.5 * clock.random()), () => this.#poll());
  }

  async #lookAtAll(members: readonly Member[]): Promise<void> {
    const { hub, self, clock } = this.#options;
    const names = members.map((member) => member.follower.cluster);
    const asked = members.map((member) => member.follower.version);
    // The own head is not looked at: a hub that is asked for nothing would answer without being there.
    const [heads, leases] = await Promise.all([hub.readHeads([...names, self]), hub.readLeases(names)]);
    this.#hubAnswered();
    for (const [index, member] of members.entries()) {
      const { follower } = member;
      await follower.considerLease(leases[index]);
      if (follower.hasLeft !== member.left) this.#noteLeft(member);
      const promised = await follower.considerHead(heads[index], asked[index]);
      if (!promised || clock.monotonic() < member.retryAt) continue;
      member.promised = promised;
      this.#queue.add(follower.cluster);
    }
  }

  #noteLeft(member: Member): void {
    member.left = member.follower.hasLeft;
    if (member.left) this.#event(member.follower.cluster, 'left', 'it said good-bye');
  }

  #hubAnswered(): void {
    if (this.#hubUpSince !== undefined) return;
    const { hub, clock, log } = this.#options;
    this.#hubUpSince = clock.monotonic();
    this.hubStatus.set({ name: hub.name, connected: true, since: clock.now() });
    log.info({ hub: hub.name }, 'hub answers');
  }

  #hubFailed(thrown: unknown): void {
    const { hub, clock, log } = this.#options;
    const { message, code } = IsthmusError.from(thrown);
    const { connected, since, lastError } = this.hubStatus.current;
    if (connected || lastError === undefined)
      log.warn({ hub: hub.name, code, reason: message }, 'hub does not answer; keeping what is known');
    this.#hubUpSince = undefined;
    if (connected || lastError !== message) {
      this.hubStatus.set({
        name: hub.name,
        connected: false,
        since: connected ? clock.now() : since,
        lastError: message,
      });
    }
  }

  #refused(cluster: ClusterName, { reason, key, rule }: Refusal): void {
    const { hub, clock, log } = this.#options;
    const kind = `${cluster} ${reason}`;
    const detail = `${placeIn(hub.name, cluster, key)}: ${rule}`;
    const before = this.#refusals.get(kind);
    const now = clock.monotonic();
    // Of a thousand bad records one is in the log; all of them are counted.
    if (before?.detail !== detail && now - (this.#told.get(kind) ?? Number.NEGATIVE_INFINITY) >= tellEveryMs) {
      this.#told.set(kind, now);
      log.warn({ hub: hub.name, cluster, key, reason, detail: rule }, 'not believed; keeping the last good state');
    }
    this.#refusals.set(kind, { cluster, reason, detail, count: (before?.count ?? 0) + 1 });
    this.#options.onEvent?.(cluster, reason, detail);
  }

  #event(cluster: ClusterName, kind: EventKind, detail: string): void {
    this.#options.onEvent?.(cluster, kind, `hub ${this.#options.hub.name}: ${detail}`);
  }

  /** Leases that stopped together say more of the hub than of their clusters. */
  #noteSilence(): void {
    const { clock, self, log, hub } = this.#options;
    const signs = [...this.#members.values()].flatMap(({ follower }) => follower.advancedAt ?? []);
    const silence =
      this.#hubUpSince === undefined ? undefined : silenceOfMost(signs, clock.monotonic(), this.#liveness);
    if (silence && !this.#silence) {
      log.warn({ hub: hub.name, clusters: signs.length }, 'most leases stopped together; blaming the hub');
      this.#event(self, 'silence', `the leases of most of ${signs.length} clusters stopped together`);
    }
    this.#silence = silence;
  }

  #show(): void {
    this.#noteSilence();
    const around = { hubUpSince: this.#hubUpSince, silence: this.#silence };
    const before = this.partitions.current;
    const now = new Map<ClusterName, PartitionView>();
    let same = before.size === this.#members.size;
    for (const [cluster, { follower }] of this.#members) {
      const view = follower.view(around);
      now.set(cluster, view);
      same &&= before.get(cluster) === view;
    }
    if (!same) this.partitions.set(now);
  }
}

function encoded(follower: PartitionFollower): string | undefined {
  const { stored } = follower;
  return stored && encodePartition(stored);
}

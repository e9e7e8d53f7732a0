import type { TrustDomain } from '../../model/identity.ts';
import { IsthmusError, messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub } from '../../model/ports/hub.ts';
import type { SealKind, SealVerifier } from '../../model/ports/seal.ts';
import { bucketCount, bucketOf, wholeOf } from '../../wire/digest.ts';
import { decodeDelta, decodeHead, decodeLease, type PartitionHead } from '../../wire/partition.ts';
import { freshnessOf, type LivenessTimings, type Span } from '../liveness/freshness.ts';
import { acceptHeld, expireAbsent, heldKeys, nothing } from '../log/belief.ts';
import {
  type Applied,
  applyDelta,
  applyDifference,
  applySnapshot,
  compareVersions,
  type PartitionState,
  type Version,
  versionOf,
} from '../log/partition-state.ts';
import type { RecordKey } from '../../model/record.ts';
import type { Freshness } from '../../model/view.ts';
import type { PartitionView } from '../partition-view.ts';
import { placeIn, type Refusal } from '../refusal.ts';
import type { StoredPartition } from './partition-store.ts';
import { unseal } from './unseal.ts';

export interface FollowerOptions {
  readonly hub: Hub;
  readonly verifier: SealVerifier;
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly stored: StoredPartition | undefined;
  readonly liveness: LivenessTimings;
  readonly clock: Clock;
  /** Called for each thing that is not believed. */
  readonly onRefusal: (refusal: Refusal) => void;
}

/** What a follower cannot see by itself. */
export interface Surroundings {
  /** Monotonic ms since which the hub answers without interruption; undefined = it does not answer. */
  readonly hubUpSince: number | undefined;
  /** Leases that stopped in this time stopped together with most others. */
  readonly silence: Span | undefined;
}

/** Deltas read at once. */
const deltasPerRead = 256;
/** A log that goes on for longer than this many reads is left for a snapshot. */
const maxDeltaReads = 64;
/** A smaller partition is read whole rather than compared. */
const worthComparing = 64;

/** Follows one cluster's partition in one hub. Two calls of `sync` must not overlap; looking may overlap with anything. */
export class PartitionFollower {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly #options: FollowerOptions;
  #state: PartitionState | undefined;
  #lastId: string | undefined;
  #lease: { readonly epoch: number; readonly sequence: number } | undefined;
  #leaseBytes: Uint8Array | undefined;
  #headBytes: Uint8Array | undefined;
  #advancedAt: number | undefined;
  #left = false;
  /** It was there when this process already listened. */
  #sawLeave = false;
  #wasDead = false;
  #backSince: number | undefined;
  #heardAt: number | undefined;
  #problem: string | undefined;
  #view: PartitionView | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.cluster = options.cluster;
    this.trustDomain = options.trustDomain;
    this.#state = options.stored?.state;
    this.#lastId = options.stored?.lastId;
    this.#lease = options.stored?.lease;
  }

  /** What is held; undefined = nothing was ever read. */
  get version(): Version | undefined {
    return this.#state;
  }

  /** What should survive a restart. */
  get stored(): StoredPartition | undefined {
    return this.#state && { state: this.#state, lastId: this.#lastId, lease: this.#lease };
  }

  /** Monotonic ms at which lease or data last advanced; undefined = not since this process started, or it left. */
  get advancedAt(): number | undefined {
    return this.#left ? undefined : this.#advancedAt;
  }

  /** It said good-bye. */
  get hasLeft(): boolean {
    return this.#left;
  }

  /** Exports that stay because their owner buried so many at once. */
  get heldBack(): readonly RecordKey[] {
    return heldKeys(this.#state);
  }

  /** Somebody says that it is meant. Answers how many exports go. */
  acceptHeld(): number {
    const accepted = this.heldBack.length;
    if (this.#state) this.#state = acceptHeld(this.#state);
    return accepted;
  }

  /** The very same object while nothing changed. */
  view(around: Surroundings): PartitionView {
    const state = this.#state;
    const problem = this.#problem ?? this.#describeRefused() ?? describeHeld(state);
    const view: PartitionView = {
      epoch: state?.epoch ?? 0,
      revision: state?.revision ?? 0,
      records: state?.records ?? noRecords,
      freshness: this.#freshness(around),
      heardAt: this.#heardAt,
      ...(problem !== undefined && { problem }),
      ...(this.#sawLeave && { left: true }),
    };
    if (!this.#view || !sameView(this.#view, view)) this.#view = view;
    return this.#view;
  }

  #freshness({ hubUpSince, silence }: Surroundings): Freshness {
    const { clock, liveness } = this.#options;
    const now = clock.monotonic();
    const advancedAt = this.#advancedAt;
    const blameless = silence && advancedAt !== undefined && advancedAt >= silence.from && advancedAt <= silence.to;
    const signs = { advancedAt, left: this.#left, hubUpSince: blameless ? undefined : hubUpSince };
    const plain = freshnessOf(signs, now, liveness);
    if (plain === 'dead') this.#wasDead = true;
    if (plain !== 'live') this.#backSince = undefined;
    else if (this.#wasDead) this.#backSince ??= now;
    const settled = freshnessOf({ ...signs, backSince: this.#backSince }, now, liveness);
    if (settled === 'live') {
      this.#wasDead = false;
      this.#backSince = undefined;
    }
    return settled;
  }

  /**
   * Looks at a head as polled. A version: it promises something newer, so `sync` is due. `asked`: what was held when it
   * was asked for; more may have come since, and then an older head is only late.
   */
  async considerHead(bytes: Uint8Array | undefined, asked: Version | undefined): Promise<Version | undefined> {
    if (this.#state) this.#state = expireAbsent(this.#state, this.#options.clock.now());
    if (!bytes) {
      this.#headBytes = undefined;
      if (this.#state)
        this.#problem = `hub ${this.#options.hub.name} holds nothing of ${this.cluster}; keeping the last good state`;
      return undefined;
    }
    if (this.#headBytes && Buffer.compare(bytes, this.#headBytes) === 0) return undefined;
    const head = await this.#open('head', bytes, decodeHead);
    if (!head) return undefined;
    const order = this.#state ? compareVersions(head.content, this.#state) : 1;
    if (order > 0) return head.content;
    if (order < 0 && (!asked || compareVersions(head.content, asked) >= 0)) return undefined;
    this.#headBytes = kept(bytes);
    if (order < 0) {
      this.#refuse('rollback', 'head', `the hub is behind: ${versionOf(head.content)}`);
    } else if (this.#state?.digest.whole !== head.content.digest) {
      this.#refuse('equivocation', 'head', `${versionOf(head.content)} was signed with other content`);
    } else {
      this.#problem = head.expired ? this.#expiry() : undefined;
    }
    return undefined;
  }

  /** Who is trusted has changed: the head is to be looked at again, though it is the same. */
  recheck(): void {
    this.#headBytes = undefined;
  }

  /** Looks at a lease as polled: one that has moved on is a sign of life. */
  async considerLease(bytes: Uint8Array | undefined): Promise<void> {
    if (!bytes || (this.#leaseBytes && Buffer.compare(bytes, this.#leaseBytes) === 0)) return;
    this.#leaseBytes = kept(bytes);
    const lease = await this.#open('lease', bytes, decodeLease);
    if (!lease || lease.expired) return;
    const { cluster, epoch, sequence } = lease.content;
    if (cluster !== this.cluster) return this.#refuse('foreign', 'lease', `it speaks for '${cluster}'`);
    const held = this.#lease;
    if (held && (epoch < held.epoch || (epoch === held.epoch && sequence <= held.sequence))) return;
    this.#lease = { epoch, sequence };
    const released = lease.content.released === true;
    this.#sawLeave = released && (this.#sawLeave || this.#advancedAt !== undefined);
    this.#left = released;
    this.#advanced();
  }

  /**
   * Reads what is new, at least up to `promised` if the hub has it. True when something was applied.
   * @throws IsthmusError when the hub does not answer
   */
  async sync(promised: Version | undefined): Promise<boolean> {
    const before = this.#state;
    try {
      const deltasHelp = before && (!promised || promised.epoch === before.epoch);
      const followed = deltasHelp && (await this.#readDeltas(promised)) && !this.#isBehind(promised);
      if (!followed && !(await this.#readDifference())) await this.#readSnapshot();
    } catch (thrown) {
      if (!(thrown instanceof IsthmusError) || thrown.code !== 'corrupt') throw thrown;
      this.#refuse('too-large', 'records', thrown.message);
    }
    return this.#state !== before;
  }

  #isBehind(promised: Version | undefined): boolean {
    return promised !== undefined && (!this.#state || compareVersions(this.#state, promised) < 0);
  }

  /** Follows the log from where it was left, at most to what was promised. False: only more than the log helps. */
  async #readDeltas(promised: Version | undefined): Promise<boolean> {
    const { hub, clock } = this.#options;
    for (let reads = 0; reads < maxDeltaReads; reads += 1) {
      const { entries, gap } = await hub.readDeltas(this.cluster, this.#lastId, deltasPerRead);
      if (gap) return false;
      for (const { id, delta } of entries) {
        const opened = await this.#open('delta', delta, decodeDelta);
        if (!opened || !this.#state) return false;
        if (opened.expired && opened.content.revision > this.#state.revision) return false;
        if (!this.#applied('log', applyDelta(this.#state, opened.content, clock.now()))) return false;
        this.#lastId = id;
      }
      if (entries.length === 0 || (promised && !this.#isBehind(promised))) return true;
    }
    return false;
  }

  /** Fetches only the buckets in which the own copy differs. False: there is no such way, or it did not lead there. */
  async #readDifference(): Promise<boolean> {
    const { hub, clock } = this.#options;
    const held = this.#state;
    if (!held || held.digest.size < worthComparing) return false;
    const index = await hub.readIndex(this.cluster);
    const head = index.head && (await this.#openHead(index.head));
    if (!head || !index.head) return index.head !== undefined;
    if (wholeOf(index.buckets) !== head.content.digest) return false;
    const differs = differingBuckets(held, index.buckets);
    const there = new Set(index.keys);
    const wanted = index.keys.filter((key) => differs.has(bucketOf(key)));
    const changes = new Map<RecordKey, Uint8Array | undefined>();
    for (const key of held.digest.keys()) if (!there.has(key)) changes.set(key, undefined);
    for (const [key, value] of await hub.readRecords(this.cluster, wanted)) changes.set(key, value);
    const applied = applyDifference(held, { head: head.content, changes, now: clock.now() });
    // The hub may have moved on between the two reads; the snapshot is one read.
    if (!applied.ok && applied.reason === 'digest-mismatch') return false;
    this.#tookOver(applied, { bytes: index.head, expired: head.expired, lastId: index.lastId });
    return true;
  }

  async #readSnapshot(): Promise<void> {
    const { hub, clock } = this.#options;
    const found = await hub.readSnapshot(this.cluster);
    const head = found.head && (await this.#openHead(found.head));
    if (!head || !found.head) return;
    const content = { head: head.content, values: found.records, now: clock.now() };
    const applied = applySnapshot(this.#state, this.cluster, content);
    this.#tookOver(applied, { bytes: found.head, expired: head.expired, lastId: found.lastId });
  }

  /** A head to be followed; undefined, and said, when it is not. */
  async #openHead(sealed: Uint8Array): Promise<Opened<PartitionHead> | undefined> {
    const head = await this.#open('head', sealed, decodeHead);
    const newer = head && (!this.#state || compareVersions(head.content, this.#state) > 0);
    if (!head?.expired || !newer || !this.#state) return head;
    this.#refuse('expired-signer', 'head', 'the certificate of the signer has run out; keeping what is held');
    return undefined;
  }

  #tookOver(applied: Applied, head: { bytes: Uint8Array; expired: boolean; lastId: string | undefined }): void {
    const { expired } = head;
    if (!this.#applied('head', applied, !expired)) return;
    this.#lastId = head.lastId;
    this.#headBytes = kept(head.bytes);
    if (expired) this.#problem = this.#expiry();
  }

  /** `isAlive`: being signed now, it also is a sign of life. */
  #applied(from: 'head' | 'log', applied: Applied, isAlive = true): boolean {
    if (!applied.ok) {
      // A gap is the ordinary way to learn that a snapshot is needed.
      if (applied.reason !== 'gap') this.#refuse(applied.reason, from, applied.detail);
      return false;
    }
    const before = this.#state;
    this.#problem = undefined;
    this.#state = applied.state;
    if (isAlive && applied.state !== before) this.#advanced();
    for (const { key, after: rule } of applied.state.refused.differences(before?.refused ?? nothing.refused)) {
      if (rule !== undefined) this.#options.onRefusal({ reason: 'malformed', key, rule });
    }
    return true;
  }

  #advanced(): void {
    this.#advancedAt = this.#options.clock.monotonic();
    this.#heardAt = this.#options.clock.now();
  }

  /** Verifies and decodes; undefined, and said, when either fails. */
  async #open<T>(
    kind: SealKind,
    sealed: Uint8Array,
    decode: (payload: Uint8Array) => T,
  ): Promise<Opened<T> | undefined> {
    const { hub, verifier } = this.#options;
    const verdict = await unseal(kind, sealed, { hub, verifier, partition: this.cluster, domain: this.trustDomain });
    if (!verdict.ok) {
      this.#refuse(verdict.reason, keyOf(kind), verdict.detail);
      return undefined;
    }
    try {
      return { content: decode(verdict.payload), expired: verdict.expired };
    } catch (thrown) {
      this.#refuse('malformed', keyOf(kind), messageOf(thrown));
      return undefined;
    }
  }

  #refuse(reason: Refusal['reason'], key: string, rule: string): void {
    this.#problem = `${reason}: ${this.#place(key)}: ${rule}`;
    this.#options.onRefusal({ reason, key, rule });
  }

  #expiry(): string {
    return `${this.#place('head')}: the certificate of the signer has run out`;
  }

  #place(key: string): string {
    return placeIn(this.#options.hub.name, this.cluster, key);
  }

  /** What is wrong with records under a head that is good. */
  #describeRefused(): string | undefined {
    const state = this.#state;
    const [first] = state?.refused ?? [];
    if (!state || !first) return undefined;
    const [key, rule] = first;
    return `${state.refused.size} of ${state.digest.size} records do not decode; ${this.#place(key)}: ${rule}`;
  }
}

/** A copy: what a hub hands out is a view on all that it sent at once, which would stay for as long. */
function kept(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function keyOf(kind: SealKind): string {
  return kind === 'delta' ? 'log' : kind;
}

interface Opened<T> {
  readonly content: T;
  readonly expired: boolean;
}

const noRecords: PartitionView['records'] = new Map();

function differingBuckets(held: PartitionState, there: ReadonlyMap<number, Uint8Array>): ReadonlySet<number> {
  const differs = new Set<number>();
  for (let index = 0; index < bucketCount; index += 1) {
    const [own, other] = [held.digest.bucket(index), there.get(index)];
    if (own && other ? Buffer.compare(own, other) !== 0 : own !== other) differs.add(index);
  }
  return differs;
}

function describeHeld(state: PartitionState | undefined): string | undefined {
  const held = heldKeys(state).length;
  if (!state || held === 0) return undefined;
  return `${held} of its exports were deleted at once; they stay until 'isthmus hub accept ${state.cluster}' confirms it`;
}

function sameView(a: PartitionView, b: PartitionView): boolean {
  return (
    a.records === b.records &&
    a.epoch === b.epoch &&
    a.revision === b.revision &&
    a.freshness === b.freshness &&
    a.heardAt === b.heardAt &&
    a.problem === b.problem &&
    a.left === b.left
  );
}

import type { TrustDomain } from '../../model/identity.ts';
import { messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Hub, Snapshot } from '../../model/ports/hub.ts';
import type { SealKind, SealVerifier } from '../../model/ports/seal.ts';
import { decodeDelta, decodeHead, decodeLease, type PartitionDelta } from '../../wire/partition.ts';
import { freshnessOf, type LivenessTimings } from '../liveness/freshness.ts';
import { expireAbsent } from '../log/belief.ts';
import {
  type Applied,
  applyDelta,
  applySnapshot,
  compareVersions,
  type LogRefusal,
  type PartitionState,
  type Version,
} from '../log/partition-state.ts';
import type { PartitionView } from '../partition-view.ts';
import type { StoredPartition } from './partition-store.ts';
import { unseal } from './unseal.ts';

/** Why something in the hub was not believed. */
export type ReadRefusal =
  | LogRefusal
  | 'malformed'
  | 'bad-signature'
  | 'foreign-signer'
  | 'distrusted'
  | 'unknown-chain'
  /** Signed by a certificate that has run out, and newer than what is held. */
  | 'expired-signer';

export interface FollowerOptions {
  readonly hub: Hub;
  readonly verifier: SealVerifier;
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly stored: StoredPartition | undefined;
  readonly liveness: LivenessTimings;
  readonly clock: Clock;
  /** Called for each thing that is not believed. */
  readonly onRefusal: (reason: ReadRefusal, detail: string) => void;
}

/** Deltas read at once. */
const deltasPerRead = 256;
/** A log that goes on for longer than this many reads is left for a snapshot. */
const maxDeltaReads = 64;

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

  /** The very same object while nothing changed. `hubUpSince`: as in `freshnessOf`. */
  view(hubUpSince: number | undefined): PartitionView {
    const { clock, liveness } = this.#options;
    const state = this.#state;
    const signs = { advancedAt: this.#advancedAt, hubUpSince };
    const problem = this.#problem ?? describeRefused(state);
    const view: PartitionView = {
      epoch: state?.epoch ?? 0,
      revision: state?.revision ?? 0,
      records: state?.records ?? noRecords,
      freshness: freshnessOf(signs, clock.monotonic(), liveness),
      heardAt: this.#heardAt,
      ...(problem !== undefined && { problem }),
    };
    if (!this.#view || !sameView(this.#view, view)) this.#view = view;
    return this.#view;
  }

  /** Looks at a head as polled. A version: it promises something newer, so `sync` is due. */
  async considerHead(bytes: Uint8Array | undefined): Promise<Version | undefined> {
    if (this.#state) this.#state = expireAbsent(this.#state, this.#options.clock.now());
    if (!bytes) {
      this.#headBytes = undefined;
      if (this.#state) this.#problem = 'the hub holds nothing of this cluster; keeping the last good state';
      return undefined;
    }
    if (this.#headBytes && Buffer.compare(bytes, this.#headBytes) === 0) return undefined;
    const head = await this.#open('head', bytes, decodeHead);
    if (!head) return undefined;
    const order = this.#state ? compareVersions(head.content, this.#state) : 1;
    if (order > 0) return head.content;
    this.#headBytes = bytes;
    if (order < 0) {
      this.#refuse('rollback', `the hub is behind: ${head.content.epoch}.${head.content.revision}`);
    } else if (this.#state?.digest.whole !== head.content.digest) {
      this.#refuse('equivocation', `${head.content.epoch}.${head.content.revision} was signed with other content`);
    } else {
      this.#problem = undefined;
    }
    return undefined;
  }

  /** Looks at a lease as polled: one that has moved on is a sign of life. */
  async considerLease(bytes: Uint8Array | undefined): Promise<void> {
    if (!bytes || (this.#leaseBytes && Buffer.compare(bytes, this.#leaseBytes) === 0)) return;
    this.#leaseBytes = bytes;
    const lease = await this.#open('lease', bytes, decodeLease);
    if (!lease || lease.expired) return;
    const { cluster, epoch, sequence } = lease.content;
    if (cluster !== this.cluster) return this.#refuse('foreign', `the lease speaks for '${cluster}'`);
    const held = this.#lease;
    if (held && (epoch < held.epoch || (epoch === held.epoch && sequence <= held.sequence))) return;
    this.#lease = { epoch, sequence };
    this.#advanced();
  }

  /**
   * Reads what is new, at least up to `promised` if the hub has it. True when something was applied.
   * @throws IsthmusError when the hub does not answer
   */
  async sync(promised: Version | undefined): Promise<boolean> {
    const before = this.#state;
    const deltasHelp = before && (!promised || promised.epoch === before.epoch);
    if (!deltasHelp || !(await this.#readDeltas()) || this.#isBehind(promised)) await this.#readSnapshot();
    return this.#state !== before;
  }

  #isBehind(promised: Version | undefined): boolean {
    return promised !== undefined && (!this.#state || compareVersions(this.#state, promised) < 0);
  }

  /** Follows the log from where it was left. False: only a snapshot helps. */
  async #readDeltas(): Promise<boolean> {
    const { hub, clock } = this.#options;
    for (let reads = 0; reads < maxDeltaReads; reads += 1) {
      const { entries, gap } = await hub.readDeltas(this.cluster, this.#lastId, deltasPerRead);
      if (gap) return false;
      for (const { id, delta } of entries) {
        const opened = await this.#open('delta', delta, decodeDelta);
        if (!opened || !this.#state) return false;
        if (opened.expired && opened.content.revision > this.#state.revision) return false;
        if (!this.#applied(applyDelta(this.#state, opened.content satisfies PartitionDelta, clock.now()))) return false;
        this.#lastId = id;
      }
      if (entries.length < deltasPerRead) return true;
    }
    return false;
  }

  async #readSnapshot(): Promise<void> {
    const { hub, clock } = this.#options;
    const found: Snapshot = await hub.readSnapshot(this.cluster);
    if (!found.head) return;
    const head = await this.#open('head', found.head, decodeHead);
    if (!head) return;
    if (head.expired && this.#state && compareVersions(head.content, this.#state) > 0) {
      return this.#refuse('expired-signer', 'the certificate of the signer has run out; keeping what is held');
    }
    const content = { head: head.content, values: found.records, now: clock.now() };
    if (!this.#applied(applySnapshot(this.#state, this.cluster, content))) return;
    this.#lastId = found.lastId;
    this.#headBytes = found.head;
    if (head.expired) this.#problem = 'the certificate of the signer has run out';
  }

  #applied(applied: Applied): boolean {
    if (!applied.ok) {
      // A gap is the ordinary way to learn that a snapshot is needed.
      if (applied.reason !== 'gap') this.#refuse(applied.reason, applied.detail);
      return false;
    }
    this.#problem = undefined;
    if (applied.state !== this.#state) this.#advanced();
    this.#state = applied.state;
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
  ): Promise<{ readonly content: T; readonly expired: boolean } | undefined> {
    const { hub, verifier } = this.#options;
    const verdict = await unseal(kind, sealed, { hub, verifier, partition: this.cluster, domain: this.trustDomain });
    if (!verdict.ok) {
      this.#refuse(verdict.reason, `${kind}: ${verdict.detail}`);
      return undefined;
    }
    try {
      return { content: decode(verdict.payload), expired: verdict.expired };
    } catch (thrown) {
      this.#refuse('malformed', messageOf(thrown));
      return undefined;
    }
  }

  #refuse(reason: ReadRefusal, detail: string): void {
    this.#problem = `${reason}: ${detail}`;
    this.#options.onRefusal(reason, detail);
  }
}

const noRecords: PartitionView['records'] = new Map();

function describeRefused(state: PartitionState | undefined): string | undefined {
  const first = state?.refused.entries().next().value;
  if (!state || !first) return undefined;
  return `${state.refused.size} of ${state.values.size} records do not decode; '${first[0].slice(0, 100)}': ${first[1]}`;
}

function sameView(a: PartitionView, b: PartitionView): boolean {
  return (
    a.records === b.records &&
    a.epoch === b.epoch &&
    a.revision === b.revision &&
    a.freshness === b.freshness &&
    a.heardAt === b.heardAt &&
    a.problem === b.problem
  );
}

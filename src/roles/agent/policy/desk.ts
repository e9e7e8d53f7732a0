import type { PolicyEventKind } from '../../../federation/event-list.ts';
import type { PartitionView } from '../../../federation/partition-view.ts';
import { IsthmusError, messageOf } from '../../../model/error.ts';
import type { ClusterName } from '../../../model/names.ts';
import type { Clock } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import {
  type AppliedRecord,
  type ClusterRecord,
  type DrainRecord,
  type RecordKey,
  recordKeyOf,
} from '../../../model/record.ts';
import type { Roster } from '../../../model/trust.ts';
import { type Drains, gatewayKey, noDrains, type PublishedDrain, resolveDrains } from '../../../policy/drain.ts';
import { type PublishedPolicy, type Policy, policyId } from '../../../policy/policy.ts';
import { PolicySet } from '../../../policy/policy-set.ts';
import { inForceOf, type PolicyReview, type PolicySource, reviewPolicies } from '../../../policy/review.ts';
import { Watchable } from '../../../runtime/watchable.ts';
import {
  type Changed,
  type OwnRecord,
  type OwnRecords,
  type PolicyFile,
  withApplied,
  withFiles,
  withRemoved,
} from './own-records.ts';
import { pickFrom, type PolicyRecords, PolicySources } from './sources.ts';
import type { PolicyStore } from './store.ts';

export interface PolicyDeskOptions {
  readonly self: ClusterName;
  readonly store: PolicyStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Something that a cluster publishes does not count; once for each version of it. */
  readonly onEvent: (publisher: ClusterName, kind: PolicyEventKind, detail: string) => void;
}

/** What counts in this cluster; the same objects while nothing of it changed. */
export interface InForce {
  readonly policies: PolicySet;
  readonly drains: Drains;
}

/**
 * Where policies and drains come together: those that this cluster publishes, and those of all others, judged by what
 * the roster lets each of them say. Only the leading replica may change the own ones.
 */
export class PolicyDesk {
  /** Grows with each change of what this cluster publishes. */
  readonly changes: Watchable<number> = new Watchable(0);
  readonly #options: PolicyDeskOptions;
  readonly #sources = new PolicySources();
  #own: OwnRecords | undefined;
  #files: readonly PolicyFile[] = [];
  #applied: AppliedRecord | undefined;
  #known: ReadonlyMap<ClusterName, PolicyRecords> = new Map();
  #looked: readonly unknown[] = [];
  #reviews: readonly PolicyReview[] = [];
  #inForce: ReadonlyMap<string, PublishedPolicy> = new Map();
  #current: InForce = { policies: PolicySet.empty, drains: noDrains };
  #roster: Roster | undefined;

  constructor(options: PolicyDeskOptions) {
    this.#options = options;
  }

  /** This replica publishes from now on. `partition`: what this cluster has said so far, as far as known. */
  async lead(partition: PartitionView | undefined): Promise<void> {
    const said = partition && partition.epoch > 0 ? ownOf(partition.records.values()) : undefined;
    this.#own = (await this.#options.store.load()) ?? said ?? new Map();
    await this.#readFiles();
    this.#bump();
  }

  /** Another replica publishes. */
  follow(): void {
    this.#own = undefined;
    this.#bump();
  }

  /** All that policies and drains come to, by these partitions and this roster. */
  review(partitions: ReadonlyMap<ClusterName, PartitionView>, roster: Roster): InForce {
    const { self, clock } = this.#options;
    this.#roster = roster;
    const picked = this.#sources.pick(partitions);
    const looked = [picked, roster, this.#own];
    if (looked.every((each, index) => each === this.#looked[index])) return this.#current;
    this.#looked = looked;
    const known = new Map(picked);
    if (this.#own) known.set(self, { ...pickFrom(this.#own.values()), applied: this.#applied });
    this.#known = known;
    const active = [...known].filter(([cluster]) => roster.clusters.get(cluster)?.state === 'active');
    const sources = active.flatMap(([publisher, said]) =>
      said.policies.map((record): PolicySource => ({ publisher, record })),
    );
    const before = this.#reviews;
    this.#reviews = reviewPolicies(sources, {
      self,
      mayPublish: (cluster) => roster.clusters.get(cluster)?.mayPublishPolicy === true,
      before: this.#inForce,
    });
    this.#tellBad(before);
    this.#setInForce(inForceOf(this.#reviews));
    this.#setDrains(
      active.flatMap(([publisher, said]) => said.drains.map((record): PublishedDrain => ({ publisher, record }))),
      (published, old) =>
        resolveDrains(published, {
          mayOperate: (cluster) => roster.clusters.get(cluster)?.mayOperate === true,
          now: clock.now(),
          before: old,
        }),
    );
    return this.#current;
  }

  /** As last reviewed. */
  get current(): InForce {
    return this.#current;
  }

  get reviews(): readonly PolicyReview[] {
    return this.#reviews;
  }

  /** Whether something of what the files say stays unpublished, and why; for `status`. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  #problems: readonly string[] = [];

  /** What each cluster says that it has in force. */
  applied(cluster: ClusterName): AppliedRecord | undefined {
    return cluster === this.#options.self ? this.#applied : this.#known.get(cluster)?.applied;
  }

  /** Policies that count in another cluster, as far as it can be told from here. */
  policiesAt(cluster: ClusterName): PolicySet {
    const reviews = reviewPolicies(this.#reviews, {
      self: cluster,
      mayPublish: (other) => this.#roster?.clusters.get(other)?.mayPublishPolicy === true,
      before: this.#inForce,
    });
    return new PolicySet([...inForceOf(reviews).values()]);
  }

  /** What this cluster would count instead if it published these too. For trying things out. */
  supposing(policies: readonly Policy[]): PolicySet {
    const { self, clock } = this.#options;
    const changed = withApplied(this.#requireOwn(), policies, clock.now());
    const own = pickFrom(changed.records.values()).policies.map(
      (record): PolicySource => ({ publisher: self, record }),
    );
    const others = this.#reviews.filter(({ publisher }) => publisher !== self);
    const reviews = reviewPolicies([...others, ...own], {
      self,
      mayPublish: (cluster) => cluster === self || this.#roster?.clusters.get(cluster)?.mayPublishPolicy === true,
      before: this.#inForce,
    });
    return new PolicySet([...inForceOf(reviews).values()]);
  }

  /** Records for the own partition. */
  records(): Iterable<ClusterRecord> {
    const publishable = [...(this.#own?.values() ?? [])].filter((record) => this.#refusal(record) === undefined);
    return this.#applied ? [...publishable, this.#applied] : publishable;
  }

  /**
   * Publishes policies, all or none. `preview`: only says what would happen.
   * @throws IsthmusError `denied` when this cluster may not publish one, and as `withApplied`
   */
  apply(policies: readonly Policy[], preview: boolean): Promise<Changed> {
    return this.#change((own) => withApplied(own, policies, this.#options.clock.now()), preview);
  }

  /** @throws IsthmusError as `withRemoved` */
  remove(key: RecordKey, preview: boolean): Promise<Changed> {
    return this.#change((own) => withRemoved(own, key), preview);
  }

  /** Publishes an operator's word. @throws IsthmusError `denied` when this cluster may not give it */
  async drain(record: DrainRecord): Promise<void> {
    const own = new Map<RecordKey, OwnRecord>(this.#requireOwn()).set(recordKeyOf(record), record);
    const refusal = this.#refusal(record);
    if (refusal !== undefined) throw denied(refusal, 'mayOperate');
    await this.#save(own);
  }

  /** What the policy files say now. */
  async setFiles(files: readonly PolicyFile[]): Promise<void> {
    this.#files = files;
    if (this.#own) await this.#readFiles();
  }

  async #readFiles(): Promise<void> {
    const { records, changes } = withFiles(this.#requireOwn(), this.#files, this.#options.clock.now());
    if (changes.length === 0) return;
    for (const { policy, action } of changes) this.#options.log.info({ policy, action }, 'policy file read');
    await this.#save(records);
  }

  async #change(make: (own: OwnRecords) => Changed, preview: boolean): Promise<Changed> {
    const changed = make(this.#requireOwn());
    for (const { after } of changed.changes) {
      const refusal = after && this.#refusal(after);
      if (refusal !== undefined) throw denied(refusal, 'mayPublishPolicy');
    }
    if (!preview) await this.#save(changed.records);
    return changed;
  }

  async #save(records: OwnRecords): Promise<void> {
    try {
      await this.#options.store.save(records);
    } catch (thrown) {
      throw new IsthmusError('unavailable', `Nothing was changed: ${messageOf(thrown)}`, { cause: thrown });
    }
    this.#own = records;
    this.#bump();
  }

  #bump(): void {
    this.#problems = [...(this.#own?.values() ?? [])].flatMap((record) => {
      const refusal = this.#refusal(record);
      return refusal === undefined ? [] : [`${recordKeyOf(record)}: ${refusal}`];
    });
    this.changes.set(this.changes.current + 1);
  }

  #requireOwn(): OwnRecords {
    if (this.#own) return this.#own;
    throw new IsthmusError(
      'unavailable',
      'This replica of the agent does not lead: only the leader may change anything',
      {
        hint: 'Ask the leading replica: --server <its admin socket>',
      },
    );
  }

  /** Why this cluster may not say so; undefined: it may, or the roster is not known yet. */
  #refusal(record: OwnRecord): string | undefined {
    const { self } = this.#options;
    const entry = this.#roster?.clusters.get(self);
    if (!entry) return undefined;
    if (record.kind === 'policy') {
      if (entry.mayPublishPolicy === true || record.type === 'AccessPolicy') return undefined;
      return `${self} may publish only AccessPolicies, for what it exports itself`;
    }
    if (entry.mayOperate === true || record.target.cluster === self) return undefined;
    return `${self} may not operate on other clusters`;
  }

  /** Of each version once: what does not count, and is meant to. */
  #tellBad(before: readonly PolicyReview[]): void {
    const { log, onEvent } = this.#options;
    const told = new Map(before.map(({ record, message }) => [record, message]));
    for (const { outcome, record, message, publisher } of this.#reviews) {
      if (outcome === 'InForce' || outcome === 'Elsewhere' || told.get(record) === message) continue;
      const policy = `${record.type}/${record.namespace ?? '-'}/${record.name}`;
      log.warn({ publisher, policy, outcome }, message);
      onEvent(publisher, outcome === 'Ignored' ? 'policy-ignored' : 'policy-rejected', `${policy}: ${message}`);
    }
  }

  #setInForce(inForce: ReadonlyMap<string, PublishedPolicy>): void {
    const before = this.#inForce;
    const same = before.size === inForce.size && [...inForce].every(([id, policy]) => before.get(id) === policy);
    if (same) return;
    this.#inForce = inForce;
    this.#current = { ...this.#current, policies: new PolicySet([...inForce.values()]) };
    this.#applied = {
      kind: 'applied',
      policies: Object.fromEntries([...inForce.values()].map((each) => [policyId(each), each.revision])),
    };
    this.changes.set(this.changes.current + 1);
  }

  #setDrains(
    published: readonly PublishedDrain[],
    resolve: (published: readonly PublishedDrain[], old: Drains) => Drains,
  ): void {
    const { drains: old } = this.#current;
    const drains = resolve(published, old);
    for (const { publisher, record, why } of drains.refused) {
      if (old.refused.some((each) => each.record === record)) continue;
      const { cluster, gateway } = record.target;
      this.#options.log.warn({ publisher, target: record.target }, `drain refused: ${why}`);
      this.#options.onEvent(publisher, 'drain-refused', `${gateway ? gatewayKey(cluster, gateway) : cluster}: ${why}`);
    }
    if (!sameDrains(old, drains)) this.#current = { ...this.#current, drains };
  }
}

function ownOf(records: Iterable<ClusterRecord>): OwnRecords {
  const { policies, drains } = pickFrom(records);
  return new Map([...policies, ...drains].map((record) => [recordKeyOf(record), record]));
}

function sameDrains(a: Drains, b: Drains): boolean {
  return (
    sameWords(a.clusters, b.clusters) && sameWords(a.gateways, b.gateways) && a.refused.length === b.refused.length
  );
}

function sameWords<K>(a: ReadonlyMap<K, PublishedDrain>, b: ReadonlyMap<K, PublishedDrain>): boolean {
  return a.size === b.size && [...b].every(([key, { record }]) => a.get(key)?.record === record);
}

function denied(reason: string, permission: string): IsthmusError {
  return new IsthmusError('denied', `Refused: ${reason}`, {
    hint: `The authority grants it: admission of the cluster with ${permission}`,
  });
}

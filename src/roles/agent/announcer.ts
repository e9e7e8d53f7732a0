import { planExports } from '../../federation/export/plan-exports.ts';
import type { ConnectedGateway } from '../../federation/io/config-server.ts';
import type { Publisher } from '../../federation/io/publisher.ts';
import { compareVersions } from '../../federation/log/partition-state.ts';
import type { PartitionView } from '../../federation/partition-view.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { ServiceSource } from '../../model/ports/service-source.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { type ClusterRecord, type RecordKey, recordKeyOf } from '../../model/record.ts';
import { GatewayAdverts, gatewayGraceMs } from './adverts.ts';
import { gatewayRecord, linksOf, type SaidLink } from './own-records.ts';

export interface AnnouncerOptions {
  readonly publisher: Publisher;
  readonly source: ServiceSource;
  readonly gateways: Watch<ReadonlyMap<ReplicaName, ConnectedGateway>>;
  /** What another replica was last seen to say; empty where none did, or where the hub has lost it. */
  readonly before: PartitionView | undefined;
  /** What else this cluster says. */
  readonly more: () => Iterable<ClusterRecord>;
  readonly clock: Clock;
}

/** `draining`: nothing is exported any more, and gateways finish what they have begun. `gone`: nothing is left. */
export type Leaving = 'draining' | 'gone';

/** All that goes is meant to go. */
const declared = { synced: true, bulk: true } as const;

/** Under a storm of changes the partition is planned this often. */
const planEveryMs = 10;

/** Says what this cluster has to say: its exports, its gateways' adverts, its links. Runs while this replica leads. */
export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #adverts = new GatewayAdverts();
  readonly #ends: (() => void)[] = [];
  #links: ReadonlyMap<ClusterName, SaidLink> = new Map();
  #grace: Timer | undefined;
  #next: Timer | undefined;
  /** Monotonic ms. */
  #plannedAt = Number.NEGATIVE_INFINITY;
  #leaving: Leaving | undefined;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  start(): void {
    const { source, gateways } = this.#options;
    this.#resume();
    this.#ends.push(
      source.subscribe(() => this.announce()),
      gateways.subscribe(() => this.announce()),
    );
    this.#publish();
  }

  /** Something of what is said changed: says it at once, or soon if something was just said. */
  announce(): void {
    if (this.#next) return;
    const waitMs = this.#plannedAt + planEveryMs - this.#options.clock.monotonic();
    if (waitMs <= 0) this.#publish();
    else this.#next = this.#options.clock.schedule(waitMs, () => this.#publish());
  }

  /** Says what a cluster says on its way out; undefined: it stays after all. */
  withdraw(leaving: Leaving | undefined): void {
    this.#leaving = leaving;
    this.#publish();
  }

  close(): void {
    this.#grace?.cancel();
    this.#next?.cancel();
    for (const end of this.#ends.splice(0)) end();
  }

  /** Adverts and links hold until gateways say otherwise: they need a moment to come back to a new leader. */
  #resume(): void {
    const { publisher, before, clock } = this.#options;
    const kept = publisher.own.current;
    const newest = before && compareVersions(before, kept) > 0 ? before : kept;
    const records = [...newest.records.values()];
    this.#adverts.note(
      records.filter((record) => record.kind === 'gateway'),
      clock.monotonic(),
    );
    const links = records.filter((record) => record.kind === 'link');
    this.#links = new Map(links.map((record) => [record.to, { record, at: 0 }]));
  }

  #publish(): void {
    const { publisher, source, gateways, more, clock } = this.#options;
    this.#next?.cancel();
    this.#next = undefined;
    this.#plannedAt = clock.monotonic();
    if (this.#leaving !== undefined) return publisher.publish(this.#lastWords(this.#leaving), declared);
    const local = source.current;
    const desired = new Map<RecordKey, ClusterRecord>(planExports(local, publisher.own.current.records, clock.now()));
    this.#noteAdverts();
    for (const record of this.#adverts.records) desired.set(recordKeyOf(record), record);
    const reports = [...gateways.current.values()].flatMap(({ report }) => (report ? [report] : []));
    if (reports.length > 0) this.#links = linksOf(reports, this.#links, clock.now());
    for (const { record } of this.#links.values()) desired.set(recordKeyOf(record), record);
    for (const record of more()) desired.set(recordKeyOf(record), record);
    publisher.publish(desired, { synced: local.synced });
  }

  #lastWords(leaving: Leaving): ReadonlyMap<RecordKey, ClusterRecord> {
    if (leaving === 'gone') return new Map();
    this.#noteAdverts();
    const adverts = this.#adverts.records.map((record) => ({ ...record, draining: true }));
    const links = [...this.#links.values()].map(({ record }) => record);
    return new Map([...adverts, ...links].map((record) => [recordKeyOf(record), record]));
  }

  #noteAdverts(): void {
    const { gateways, clock } = this.#options;
    this.#adverts.note([...gateways.current.values()].map(gatewayRecord), clock.monotonic());
    this.#grace?.cancel();
    const missing = this.#adverts.hasMissing(new Set(gateways.current.keys()));
    this.#grace = missing ? clock.schedule(gatewayGraceMs / 4, () => this.announce()) : undefined;
  }
}

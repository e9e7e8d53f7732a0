import type { ConnectedGateway } from '../../federation/io/config-server.ts';
import type { PartitionView } from '../../federation/partition-view.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Watch } from '../../model/ports/watch.ts';
import { type AckRecord, type RecordKey, recordKeyOf } from '../../model/record.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { type AckExchange, startAckExchange } from '../../trust/io/ack-exchange.ts';
import type { ClusterCa } from '../../trust/io/cluster-ca.ts';
import type { IssuedReport } from '../../trust/io/cluster-records.ts';
import type { SelfCheck, SelfCheckResult } from '../../trust/io/self-check.ts';
import { gatewayAck, missingAcks, type ReportingGateway, settledAck } from './ack-records.ts';

/** How often the hub is told what this replica has signed, in ms: it changes with every leaf. */
const issuedEveryMs = 60_000;

export interface AcknowledgementsOptions {
  readonly ca: ClusterCa;
  readonly selfCheck: SelfCheck;
  readonly gateways: Watch<ReadonlyMap<ReplicaName, ConnectedGateway>>;
  readonly partitions: Watch<ReadonlyMap<ClusterName, PartitionView>>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Who presents and trusts what: in this cluster by proof, elsewhere by the others' word. */
export class Acknowledgements {
  /** What this cluster says, its other agents included; the very same list while nothing changed. */
  readonly records: Watchable<readonly AckRecord[]> = new Watchable<readonly AckRecord[]>([]);
  /** The part of it that this replica knows by itself. */
  readonly #own = new Watchable<readonly AckRecord[]>([]);
  readonly #exchange: AckExchange;
  readonly #options: AcknowledgementsOptions;
  readonly #heardAt = new Map<ReplicaName, { readonly report: unknown; readonly at: number }>();
  readonly #ends: readonly (() => void)[];
  #issued: IssuedReport;
  #timer: Timer;

  constructor(options: AcknowledgementsOptions) {
    this.#options = options;
    const { gateways, selfCheck, ca, clock, log } = options;
    this.#issued = ca.issued();
    const look = (): void => this.#look();
    this.#timer = clock.schedule(issuedEveryMs, () => this.#count());
    this.#exchange = startAckExchange({ own: this.#own, acknowledge: (own) => ca.acknowledge(own), clock, log });
    this.#ends = [
      gateways.subscribe(look),
      selfCheck.result.subscribe(look),
      this.#exchange.siblings.subscribe(() => this.#join()),
    ];
    this.#look();
  }

  /** The own proof. */
  get own(): SelfCheckResult {
    return this.#options.selfCheck.result.current;
  }

  /** The gateways that are connected, with what they last said. */
  gateways(): readonly ReportingGateway[] {
    const { gateways, clock } = this.#options;
    return [...gateways.current.values()].map(({ instance, report }) => ({
      replica: instance,
      trust: report?.trust,
      heardAt: this.#heardAt.get(instance)?.at ?? clock.now(),
    }));
  }

  /** Who has not acknowledged roster `sequence`, of all that are there now. */
  missing(sequence: number): readonly string[] {
    const { ca, partitions } = this.#options;
    return missingAcks(sequence, {
      gateways: this.gateways(),
      siblings: this.#siblings(),
      partitions: partitions.current,
      self: ca.cluster,
      roster: ca.trust.current?.roster,
    });
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    for (const end of this.#ends) end();
    await this.#exchange.close();
    await this.#options.selfCheck.close();
  }

  #count(): void {
    const { ca, clock } = this.#options;
    this.#issued = ca.issued();
    this.#timer = clock.schedule(issuedEveryMs, () => this.#count());
    this.#look();
  }

  #look(): void {
    this.#noteReports();
    const { ca } = this.#options;
    const skewMs = ca.status().clockSkew?.skewMs;
    const own = this.#ownAck(skewMs);
    const gateways = this.gateways().flatMap((gateway) => gatewayAck(gateway, skewMs) ?? []);
    const known = byKey(this.#own.current);
    const next = [...(own ? [own] : []), ...gateways].map((ack) => settledAck(ack, known.get(recordKeyOf(ack))));
    if (isSame(next, known)) return;
    this.#own.set(next);
    this.#join();
  }

  /** What one knows by itself counts more than what others said of it. */
  #join(): void {
    const next = [...this.#own.current, ...this.#siblings()];
    if (!isSame(next, byKey(this.records.current))) this.records.set(next);
  }

  /** Other agents of this cluster, and gateways that only they know. */
  #siblings(): readonly AckRecord[] {
    const own = byKey(this.#own.current);
    return this.#exchange.siblings.current.filter((ack) => !own.has(recordKeyOf(ack)));
  }

  #ownAck(skewMs: number | undefined): AckRecord | undefined {
    const { ca } = this.#options;
    const { acknowledged } = this.own;
    if (!acknowledged) return undefined;
    const { issued, journal } = this.#issued;
    return {
      kind: 'ack',
      role: 'agent',
      replica: ca.replica,
      ...acknowledged,
      ...(skewMs !== undefined && { clockSkewMs: skewMs }),
      issued: issued.slice(0, 64),
      journalHead: journal.head,
    };
  }

  /** A report is as old as the moment in which it was first seen. */
  #noteReports(): void {
    const { gateways, clock } = this.#options;
    for (const replica of this.#heardAt.keys()) if (!gateways.current.has(replica)) this.#heardAt.delete(replica);
    for (const [replica, { report }] of gateways.current) {
      if (this.#heardAt.get(replica)?.report !== report) this.#heardAt.set(replica, { report, at: clock.now() });
    }
  }
}

function byKey(acks: readonly AckRecord[]): ReadonlyMap<RecordKey, AckRecord> {
  return new Map(acks.map((ack) => [recordKeyOf(ack), ack]));
}

function isSame(acks: readonly AckRecord[], known: ReadonlyMap<RecordKey, AckRecord>): boolean {
  return acks.length === known.size && acks.every((ack) => known.get(recordKeyOf(ack)) === ack);
}

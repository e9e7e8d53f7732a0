import type { Reader } from '../../federation/io/reader.ts';
import type { Publisher } from '../../federation/io/publisher.ts';
import { merge } from '../../federation/merge/merge.ts';
import { planExports } from '../../federation/export/plan-exports.ts';
import type { ConfigServer, ConnectedGateway } from '../../federation/io/config-server.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { Clock, Timer } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { ServiceSource } from '../../model/ports/service-source.ts';
import { type LinkRecord, recordKeyOf } from '../../model/record.ts';
import type { FailoverPlan, RouteTable } from '../../model/route.ts';
import type { TrafficPlan } from '../../model/traffic.ts';
import type { MeshView } from '../../model/view.ts';
import { compile, wantedImports } from '../../policy/compile.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { GatewayAdverts, gatewayGraceMs } from './adverts.ts';
import type { ImportPorts } from './import-ports.ts';
import { gatewayRecord, linkRecords } from './own-records.ts';

export interface MeshOptions {
  readonly self: ClusterName;
  readonly trust: TrustSource;
  readonly reader: Reader;
  readonly publisher: Publisher;
  readonly source: ServiceSource;
  readonly importPorts: ImportPorts;
  readonly failover: FailoverPlan;
  readonly traffic?: TrafficPlan;
  readonly clock: Clock;
  readonly onError: (thrown: unknown) => void;
}

/**
 * The agent's circuit: other members' partitions and the own services become a view, the view becomes the table for the
 * gateways, and what this cluster has to say becomes its own partition.
 */
export class Mesh {
  /** Undefined until trust is known. */
  readonly view: Watchable<MeshView | undefined> = new Watchable<MeshView | undefined>(undefined);
  readonly table: Watchable<RouteTable | undefined> = new Watchable<RouteTable | undefined>(undefined);
  readonly #options: MeshOptions;
  readonly #adverts = new GatewayAdverts();
  readonly #ends: (() => void)[] = [];
  #gateways: ReadonlyMap<ReplicaName, ConnectedGateway> = new Map();
  #links: ReadonlyMap<ClusterName, LinkRecord> = new Map();
  #compiling: Promise<void> | undefined;
  #again = false;
  #grace: Timer | undefined;

  constructor(options: MeshOptions) {
    this.#options = options;
  }

  start(): void {
    const { trust, reader, publisher, source } = this.#options;
    this.#resume();
    this.#ends.push(
      trust.subscribe(() => this.#changed()),
      reader.partitions.subscribe(() => this.#changed()),
      publisher.own.subscribe(() => this.#changed()),
      source.subscribe(() => {
        this.#publish();
        this.#changed();
      }),
    );
    this.#publish();
    this.#changed();
  }

  /** The gateways' side is there only after the table is. */
  follow(gateways: ConfigServer['gateways']): void {
    const update = (): void => {
      this.#gateways = gateways.current;
      this.#publish();
    };
    this.#ends.push(gateways.subscribe(update));
    update();
  }

  async close(): Promise<void> {
    this.#grace?.cancel();
    for (const end of this.#ends.splice(0)) end();
    await this.#compiling;
  }

  /** Adverts and links as published before a restart, until gateways say otherwise. */
  #resume(): void {
    const { publisher, clock } = this.#options;
    const records = [...publisher.own.current.records.values()];
    this.#adverts.note(
      records.filter((record) => record.kind === 'gateway'),
      clock.monotonic(),
    );
    const links = records.filter((record) => record.kind === 'link');
    this.#links = new Map(links.map((link) => [link.to, link]));
  }

  #changed(): void {
    this.#again = true;
    this.#compiling ??= this.#compileWhileAsked();
  }

  async #compileWhileAsked(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      try {
        await this.#compile();
      } catch (thrown) {
        this.#options.onError(thrown);
      }
    }
    this.#compiling = undefined;
  }

  async #compile(): Promise<void> {
    const { self, trust, reader, publisher, source, importPorts, failover, traffic } = this.#options;
    const roster = trust.current?.roster;
    if (!roster) return;
    const partitions = new Map(reader.partitions.current).set(self, publisher.own.current);
    const previous = this.view.current;
    const view = merge({ self, partitions, roster, ...(previous && { previous }) });
    const local = source.current;
    const ports = await importPorts.ensure(wantedImports(view, local));
    this.view.set(view);
    // Before the source was read, a table would say that nothing runs here.
    if (!local.synced) return;
    this.table.set(
      compile({ view, local, importPorts: ports, failover, ...(traffic && { traffic }) }, this.table.current),
    );
  }

  #publish(): void {
    const { publisher, source, clock } = this.#options;
    const local = source.current;
    const desired = new Map(planExports(local, publisher.own.current.records, clock.now()));
    this.#noteAdverts();
    for (const record of this.#adverts.records) desired.set(recordKeyOf(record), record);
    const reports = [...this.#gateways.values()].flatMap(({ report }) => (report ? [report] : []));
    if (reports.length > 0) {
      const links = linkRecords(reports, this.#links, clock.now());
      this.#links = new Map(links.map((link) => [link.to, link]));
    }
    for (const link of this.#links.values()) desired.set(recordKeyOf(link), link);
    publisher.publish(desired, { synced: local.synced });
  }

  #noteAdverts(): void {
    const { clock } = this.#options;
    this.#adverts.note([...this.#gateways.values()].map(gatewayRecord), clock.monotonic());
    this.#grace?.cancel();
    const missing = this.#adverts.hasMissing(new Set(this.#gateways.keys()));
    this.#grace = missing ? clock.schedule(gatewayGraceMs / 4, () => this.#publish()) : undefined;
  }
}

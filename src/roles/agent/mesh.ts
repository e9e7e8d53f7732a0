import type { AgeBook } from '../../federation/io/age-book.ts';
import { merge } from '../../federation/merge/merge.ts';
import { changeOf } from '../../federation/merge/view-change.ts';
import type { PartitionView } from '../../federation/partition-view.ts';
import type { ClusterName } from '../../model/names.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { ServiceSource } from '../../model/ports/service-source.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { FailoverPlan, RouteTable } from '../../model/route.ts';
import type { TrafficPlan } from '../../model/traffic.ts';
import type { ExportNotice, MeshView } from '../../model/view.ts';
import { compile } from '../../policy/compile.ts';
import type { CompileInput } from '../../policy/compile-input.ts';
import { Watchable } from '../../runtime/watchable.ts';
import type { ImportPorts } from './import-ports.ts';
import type { PolicyDesk } from './policy/desk.ts';
import { type ImportFacts, importWishes, publishedPorts } from './imports.ts';

export interface MeshOptions {
  readonly self: ClusterName;
  readonly trust: TrustSource;
  /** The other members' partitions; the own one too while another replica leads. */
  readonly partitions: Watch<ReadonlyMap<ClusterName, PartitionView>>;
  readonly ages: AgeBook;
  readonly source: ServiceSource;
  readonly importPorts: ImportPorts;
  readonly desk: PolicyDesk;
  readonly failover: FailoverPlan;
  readonly traffic?: TrafficPlan;
  readonly log: Log;
  /** An export of a cluster is not taken as it stands, from now on. */
  readonly onNotice: (cluster: ClusterName, notice: ExportNotice) => void;
}

/**
 * The agent's circuit: partitions and the own services become a view, the view becomes the table for the gateways. A
 * changed record costs the work on its own service, all the way.
 */
export class Mesh {
  /** Undefined until trust is known. */
  readonly view: Watchable<MeshView | undefined> = new Watchable<MeshView | undefined>(undefined);
  readonly table: Watchable<RouteTable | undefined> = new Watchable<RouteTable | undefined>(undefined);
  readonly #options: MeshOptions;
  readonly #ends: (() => void)[] = [];
  #own: Watch<PartitionView> | undefined;
  #endOwn: (() => void) | undefined;
  /** The own partition as last read from the hub: it holds until the own writer knows better. */
  #read: PartitionView | undefined;
  #imported: ImportFacts | undefined;
  #adopted: PartitionView['records'] | undefined;
  #compiling: Promise<void> | undefined;
  #again = false;
  #input: CompileInput | undefined;

  constructor(options: MeshOptions) {
    this.#options = options;
  }

  start(): void {
    const { trust, partitions, source, desk } = this.#options;
    const changed = (): void => this.#changed();
    this.#ends.push(
      trust.subscribe(changed),
      partitions.subscribe(changed),
      source.subscribe(changed),
      desk.changes.subscribe(changed),
    );
    this.#changed();
  }

  /** This replica writes the own partition from now on; undefined: another one does. */
  lead(own: Watch<PartitionView> | undefined): void {
    this.#endOwn?.();
    this.#own = own;
    this.#endOwn = own?.subscribe(() => this.#changed());
    this.#imported = undefined;
    this.#adopted = undefined;
    this.#changed();
  }

  /** What the present table was compiled from; undefined: nothing yet. */
  get input(): CompileInput | undefined {
    return this.#input;
  }

  /** The own partition as it is known here. */
  get own(): PartitionView | undefined {
    const written = this.#own?.current;
    // A writer that has just begun has not looked into the hub yet.
    return written && (written.epoch > 0 || !this.#read) ? written : this.#read;
  }

  async close(): Promise<void> {
    this.#endOwn?.();
    for (const end of this.#ends.splice(0)) end();
    await this.#compiling;
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
        this.#options.log.error({ err: thrown }, 'cannot compile the routes');
      }
    }
    this.#compiling = undefined;
  }

  async #compile(): Promise<void> {
    const { self, trust, partitions, ages, source, importPorts, desk, failover, traffic } = this.#options;
    const roster = trust.current?.roster;
    if (!roster) return;
    const others = new Map(partitions.current);
    this.#read = others.get(self) ?? this.#read;
    others.delete(self);
    const all = ages.review(others);
    const { own } = this;
    if (own) all.set(self, own);
    const { policies, drains } = desk.review(all, roster);
    const previous = this.view.current;
    const view = merge({ self, partitions: all, roster, ...(previous && { previous }) });
    const local = source.current;
    const isSettled = await this.#settleImports({ view, local });
    this.#tell(previous, view);
    this.view.set(view);
    // Before the source was read, a table would say that nothing runs here; before ports are known, that none is open.
    if (!local.synced || !isSettled) return;
    const ports = importPorts.current;
    const input = { view, local, importPorts: ports, failover, policies, drains, ...(traffic && { traffic }) };
    this.#input = input;
    this.table.set(compile(input, this.table.current));
  }

  /** False: a standby that does not know yet which ports the leader gave out. */
  async #settleImports(facts: ImportFacts): Promise<boolean> {
    const { importPorts } = this.#options;
    if (this.#own) {
      // What was held is given up only once everything that may want it was read.
      const before = this.#imported;
      const held = facts.local.synced ? importPorts.current.keys() : [];
      await importPorts.want(importWishes(before, facts, held));
      if (facts.local.synced) this.#imported = facts;
      return true;
    }
    const own = this.#read;
    if (!own || own.epoch === 0) return false;
    if (own.records !== this.#adopted) await importPorts.adopt(publishedPorts(own));
    this.#adopted = own.records;
    return true;
  }

  /** One line for each thing that is not taken as it stands, when it begins. */
  #tell(before: MeshView | undefined, view: MeshView): void {
    for (const { key: cluster, before: old, after } of changeOf(before, view).clusters) {
      if (!after || old?.notices === after.notices) continue;
      const known = new Set(old?.notices.map(({ message }) => message));
      for (const notice of after.notices) {
        if (known.has(notice.message)) continue;
        const { service, reason, message } = notice;
        this.#options.log.warn({ cluster, service, reason }, message);
        this.#options.onNotice(cluster, notice);
      }
    }
  }
}

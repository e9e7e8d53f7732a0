import assert from 'node:assert/strict';
import { type Publisher, startPublisher } from '../../../src/federation/io/publisher.ts';
import { type Reader, startReader } from '../../../src/federation/io/reader.ts';
import type { PartitionView } from '../../../src/federation/partition-view.ts';
import type { ClusterName } from '../../../src/model/names.ts';
import { type ClusterRecord, type ExportRecord, exportKey, type RecordKey } from '../../../src/model/record.ts';
import type { TrustState } from '../../../src/model/trust.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { exportOf, quietLog } from '../../federation/support/federation.ts';
import { domainOf } from '../../federation/support/seals.ts';
import type { FaultyHub } from './faulty-hub.ts';
import type { Random } from './random.ts';
import { SimDisk } from './sim-disk.ts';
import { simSealer, simVerifier } from './sim-seals.ts';
import type { Timeline } from './timeline.ts';

/** What all members share. */
export interface SimWorld {
  readonly time: Timeline;
  readonly random: Random;
  readonly hub: FaultyHub;
  readonly trust: TrustState;
  readonly members: ReadonlyMap<ClusterName, SimMember>;
  readonly note: (line: string) => void;
}

/** One run of one agent, until it crashes. */
interface Machine {
  readonly disk: SimDisk;
  alive: boolean;
  publisher: Publisher | undefined;
  reader: Reader | undefined;
  /** Its source was read. */
  synced: boolean;
}

/** One cluster: what its owner wants, and the agents that say so, usually one. */
export class SimMember {
  readonly name: ClusterName;
  /** Service → the export as it is now. */
  readonly desired: Map<string, ExportRecord> = new Map<string, ExportRecord>();
  /** Instances of exports that the owner took back. */
  readonly withdrawn: Set<string> = new Set<string>();
  /** The source claims to be empty although nobody took anything back. */
  glitch = false;
  readonly #world: SimWorld;
  readonly #skewMs: number;
  #machines: Machine[] = [];
  #instances = 0;

  constructor(name: ClusterName, world: SimWorld) {
    this.name = name;
    this.#world = world;
    this.#skewMs = world.random.between(-2000, 2000);
  }

  get isUp(): boolean {
    return this.#machines.length > 0;
  }

  get machines(): readonly Machine[] {
    return this.#machines;
  }

  /** Each export that was ever added is an instance of its own: its label tells it from its namesakes. */
  add(service: string): void {
    this.#instances += 1;
    this.desired.set(service, exportOf(service, { labels: { instance: `${this.name}-${this.#instances}` } }));
  }

  change(service: string): void {
    const record = this.desired.get(service);
    const ready = this.#world.random.between(0, 9);
    if (record) this.desired.set(service, { ...record, endpoints: { total: 9, ready } });
  }

  withdraw(service: string): void {
    const record = this.desired.get(service);
    if (record) this.withdrawn.add(instanceOf(record));
    this.desired.delete(service);
  }

  publish(bulk: boolean = false): void {
    for (const machine of this.#machines) this.#publish(machine, bulk);
  }

  /** Starts an agent, beside another one that may still believe to lead. */
  start(disk: SimDisk = new SimDisk(this.#world.time, this.#world.random)): void {
    const machine: Machine = { disk, alive: true, publisher: undefined, reader: undefined, synced: false };
    this.#machines.push(machine);
    void this.#boot(machine);
  }

  /** The power goes, in the middle of whatever was under way. Answers the disks. */
  crash(): readonly SimDisk[] {
    const disks = this.#machines.map(({ disk }) => disk);
    for (const machine of this.#machines) machine.alive = false;
    this.#machines = [];
    return disks;
  }

  /** Agents that have seen that they lead no longer, but for the last one, go. */
  retireSuperseded(): void {
    for (const machine of this.#machines) {
      if (this.#machines.length === 1 || machine.publisher?.status.current.state !== 'superseded') continue;
      machine.alive = false;
      this.#machines = this.#machines.filter((other) => other !== machine);
    }
  }

  async #boot(machine: Machine): Promise<void> {
    const { time, random, hub, trust } = this.#world;
    const isAlive = (): boolean => machine.alive;
    const clock = time.clock(this.#skewMs, isAlive);
    const common = {
      hub: hub.at(this.name, isAlive),
      verifier: simVerifier(),
      stateDir: '/state',
      files: machine.disk.files(isAlive),
      clock,
      log: quietLog(),
    };
    const [publisher, reader] = await Promise.all([
      startPublisher({
        ...common,
        cluster: this.name,
        trustDomain: domainOf(this.name),
        sealer: new Watchable(simSealer(this.name)),
      }),
      startReader({ ...common, self: this.name, trust: new Watchable<TrustState | undefined>(trust) }),
    ]);
    if (!machine.alive) return;
    machine.publisher = publisher;
    machine.reader = reader;
    this.#watch(reader);
    publisher.publish(new Map(), { synced: false });
    time.after(random.next() * 1000, () => {
      if (!machine.alive) return;
      machine.synced = true;
      this.#publish(machine, false);
    });
  }

  #publish(machine: Machine, bulk: boolean): void {
    if (!machine.publisher || !machine.synced) return;
    const records = new Map<RecordKey, ClusterRecord>();
    if (!this.glitch) for (const record of this.desired.values()) records.set(exportKey(record.service), record);
    machine.publisher.publish(records, { synced: true, bulk });
  }

  /** No view ever loses a service that its owner did not delete, or goes back in time. */
  #watch(reader: Reader): void {
    let before = reader.partitions.current;
    reader.partitions.subscribe((now) => {
      for (const [cluster, view] of now) {
        const old = before.get(cluster);
        if (old) this.#compare(cluster, old, view);
      }
      before = now;
    });
  }

  #compare(cluster: ClusterName, old: PartitionView, view: PartitionView): void {
    const backwards = view.epoch < old.epoch || (view.epoch === old.epoch && view.revision < old.revision);
    const versions = `${old.epoch}.${old.revision} to ${view.epoch}.${view.revision}`;
    assert.ok(!backwards, `${this.name}'s view of ${cluster} went from ${versions}`);
    const owner = this.#world.members.get(cluster);
    for (const [key, record] of old.records) {
      if (record.kind !== 'export' || view.records.get(key)?.kind === 'export') continue;
      const instance = instanceOf(record);
      assert.ok(
        owner?.withdrawn.has(instance),
        `${this.name} lost ${key} (${instance}) of ${cluster}, from ${versions}, though its owner did not delete it`,
      );
    }
  }
}

export function instanceOf(record: ExportRecord): string {
  return record.labels?.['instance'] ?? '';
}

import assert from 'node:assert/strict';
import { type ClusterName, parseClusterName } from '../../../src/model/names.ts';
import { entryOf, trustOf } from '../../federation/support/federation.ts';
import { FaultyHub, noFaults } from './faulty-hub.ts';
import { Random } from './random.ts';
import { instanceOf, SimMember, type SimWorld } from './sim-member.ts';
import { Timeline } from './timeline.ts';

/** How one simulated federation fared. */
export interface SimResult {
  readonly events: readonly string[];
  readonly simulatedMs: number;
}

const names = ['east', 'west', 'south', 'north', 'far'].map(parseClusterName);
const services = Array.from({ length: 12 }, (_, index) => `shop/s${index}`);
const day = 86_400_000;

/** Runs one federation through a storm that the seed decides, then lets it heal and looks. Rejects with what broke. */
export async function simulate(seed: number): Promise<SimResult> {
  const storm = new Storm(seed);
  try {
    await storm.run();
  } catch (thrown) {
    const last = storm.events.slice(-25).join('\n  ');
    throw new Error(`seed ${seed}: ${(thrown as Error).message}\nlast events:\n  ${last}`, { cause: thrown });
  }
  return { events: storm.events, simulatedMs: storm.time.now };
}

class Storm {
  readonly random: Random;
  readonly time: Timeline;
  readonly hub: FaultyHub;
  readonly events: string[] = [];
  readonly members = new Map<ClusterName, SimMember>();
  /** Disks that are lost and hubs that lose what they had are not both survivable at once, so a storm has one of them. */
  readonly #losesDisks: boolean;
  #failure: unknown;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.time = new Timeline(this.random);
    this.hub = new FaultyHub(this.time, this.random);
    this.#losesDisks = this.random.chance(0.5);
    const clusters = names.slice(0, this.random.between(3, 5));
    const world: SimWorld = {
      time: this.time,
      random: this.random,
      hub: this.hub,
      trust: trustOf(...clusters.map((name) => entryOf(name))),
      members: this.members,
      note: (line) => this.#note(line),
    };
    for (const name of clusters) this.members.set(name, new SimMember(name, world));
  }

  async run(): Promise<void> {
    // What a listener throws would otherwise end in whatever called it.
    const onFailure = (thrown: unknown): void => {
      this.#failure ??= thrown;
    };
    process.on('uncaughtException', onFailure).on('unhandledRejection', onFailure);
    try {
      for (const member of this.members.values()) this.#begin(member);
      this.hub.faults = this.#someFaults();
      const actions = this.random.between(30, 80);
      for (let action = 0; action < actions; action += 1) {
        await this.#pass(this.random.next() * 3000);
        this.#act();
      }
      await this.#heal();
      this.#check(false);
      // A day later, tombstones and what was kept for want of them are gone.
      this.time.leap(day + 3_600_000);
      await this.#pass(120_000);
      this.#check(true);
    } finally {
      for (const member of this.members.values()) member.crash();
      process.off('uncaughtException', onFailure).off('unhandledRejection', onFailure);
    }
  }

  async #pass(ms: number): Promise<void> {
    await this.time.run(ms);
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  #note(line: string): void {
    this.events.push(`${(this.time.now / 1000).toFixed(1)} s: ${line}`);
  }

  #someFaults(): typeof noFaults {
    const { random } = this;
    const rarely = (most: number): number => (random.chance(0.5) ? 0 : random.next() * most);
    return {
      loseRequest: rarely(0.3),
      loseAnswer: rarely(0.3),
      duplicate: rarely(0.2),
      loseHint: rarely(1),
      duplicateHint: rarely(0.5),
      slowest: random.between(10, 1000),
    };
  }

  #begin(member: SimMember): void {
    for (const service of services) if (this.random.chance(0.6)) member.add(service);
    member.start();
  }

  #act(): void {
    const member = this.random.pick([...this.members.values()]);
    const acts: readonly (() => void)[] = [
      () => this.#change(member),
      () => this.#change(member),
      () => this.#change(member),
      () => this.#withdraw(member),
      () => this.#withdrawMost(member),
      () => this.#emptySource(member),
      () => this.#crash(member),
      () => this.#twin(member),
      () => this.#cutOff(member),
      () => this.#hubFault(),
    ];
    this.random.pick(acts)();
  }

  #change(member: SimMember): void {
    // What is changed while nobody looks would be another test: an owner whose agent is down deletes nothing.
    if (!member.isUp) return;
    const service = this.random.pick(services);
    if (member.desired.has(service)) member.change(service);
    else member.add(service);
    this.#note(`${member.name} changes ${service}`);
    member.publish();
  }

  #withdraw(member: SimMember): void {
    if (!member.isUp) return;
    const service = this.random.pick(services);
    member.withdraw(service);
    this.#note(`${member.name} withdraws ${service}`);
    member.publish();
  }

  #withdrawMost(member: SimMember): void {
    // Declaring it while the source lies would delete all, as declared.
    if (!member.isUp || member.glitch) return;
    for (const service of services.slice(1)) member.withdraw(service);
    this.#note(`${member.name} withdraws nearly all, declared`);
    member.publish(true);
  }

  #emptySource(member: SimMember): void {
    // Fewer than five may go at once, as the rule is.
    const known = [...(member.machines[0]?.publisher?.own.current.records.values() ?? [])];
    if (known.filter(({ kind }) => kind === 'export').length < 5 || member.desired.size < 5 || member.glitch) return;
    this.#note(`${member.name}'s source turns empty`);
    member.glitch = true;
    member.publish();
    this.time.after(this.random.next() * 20_000, () => {
      member.glitch = false;
      this.#note(`${member.name}'s source is back`);
      member.publish();
    });
  }

  #crash(member: SimMember): void {
    if (!member.isUp || member.glitch) return;
    const [disk] = member.crash();
    this.#note(`${member.name} crashes`);
    const wipes = this.#losesDisks && this.random.chance(0.3);
    this.time.after(this.random.next() * 20_000, () => {
      if (wipes) disk?.wipe();
      this.#note(`${member.name} starts again${wipes ? ' with an empty disk' : ''}`);
      member.start(disk);
    });
  }

  #twin(member: SimMember): void {
    if (member.machines.length !== 1) return;
    this.#note(`${member.name} starts a second agent, both believe to lead`);
    member.start();
  }

  #cutOff(member: SimMember): void {
    if (this.hub.cutOff.has(member.name)) return;
    this.hub.cutOff.add(member.name);
    this.#note(`${member.name} is cut off`);
    this.time.after(this.random.next() * 90_000, () => void this.hub.cutOff.delete(member.name));
  }

  #hubFault(): void {
    const { hub, random } = this;
    hub.faults = this.#someFaults();
    const kind = random.pick(['pause', 'flush', 'restore']);
    if (kind === 'pause') {
      hub.down = true;
      this.time.after(random.next() * 60_000, () => (hub.down = false));
    } else if (this.#losesDisks) return;
    else if (kind === 'flush') hub.restore();
    else {
      const old = hub.backup();
      this.time.after(random.next() * 20_000, () => {
        this.#note('the hub is restored from its backup');
        hub.restore(old);
      });
    }
    this.#note(`hub: ${kind}`);
  }

  async #heal(): Promise<void> {
    // Whatever was set to come back later does.
    await this.#pass(95_000);
    this.#note('everything heals');
    this.hub.down = false;
    this.hub.cutOff.clear();
    this.hub.faults = noFaults;
    for (const member of this.members.values()) {
      member.glitch = false;
      if (!member.isUp) member.start();
      member.publish();
    }
    await this.#pass(120_000);
    for (const member of this.members.values()) member.retireSuperseded();
    for (const { machines } of this.members.values()) {
      for (const { publisher, reader } of machines) {
        publisher?.acceptHeld();
        for (const cluster of this.members.keys()) reader?.acceptHeld(cluster);
      }
    }
    await this.#pass(60_000);
    for (const { machines } of this.members.values()) {
      for (const { reader } of machines) for (const cluster of this.members.keys()) reader?.acceptHeld(cluster);
    }
  }

  /** Converged, all views are equal: what the owner wants, `strictly` nothing else. */
  #check(strictly: boolean): void {
    for (const viewer of this.members.values()) {
      assert.equal(viewer.machines.length, 1, `${viewer.name} has ${viewer.machines.length} agents`);
      for (const owner of this.members.values()) {
        if (owner !== viewer) this.#compare(viewer, owner, strictly);
      }
    }
  }

  #compare(viewer: SimMember, owner: SimMember, strictly: boolean): void {
    const view = viewer.machines[0]?.reader?.partitions.current.get(owner.name);
    const who = `${viewer.name}'s view of ${owner.name}`;
    assert.ok(view, `${who} is missing`);
    assert.equal(view.freshness, 'live', `${who}: ${view.problem ?? 'no problem'}`);
    const seen = [...view.records.values()].flatMap((record) => (record.kind === 'export' ? [record] : []));
    const describe = (records: Iterable<Parameters<typeof instanceOf>[0]>): string[] =>
      [...records].map((each) => `${each.service} ${instanceOf(each)} ${each.endpoints.ready}`).toSorted();
    const wanted = describe(owner.desired.values());
    const found = strictly ? seen : seen.filter(({ service }) => owner.desired.has(service));
    assert.deepEqual(describe(found), wanted, who);
  }
}

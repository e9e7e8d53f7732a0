import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { LinkReport } from '../../wire/gateway-report.ts';
import { ProbeWindow, RttRing } from './rtt.ts';

export type Reach = 'up' | 'down' | 'unknown';

/** Which gateway of which cluster. */
export interface LinkName {
  readonly cluster: ClusterName;
  readonly instance: ReplicaName;
  /** `address:port` */
  readonly address: string;
}

/** What is known of the way to one gateway of another cluster. Pure; times are monotonic ms. */
export class LinkFacts {
  readonly name: LinkName;
  readonly #rtt = new RttRing();
  readonly #probes = new ProbeWindow();
  #reach: Reach = 'unknown';
  #changedAt: number;
  #reason: string | undefined;
  #load: number | undefined;

  constructor(name: LinkName, now: number) {
    this.name = name;
    this.#changedAt = now;
  }

  /** `unknown`: no attempt has ended yet. */
  get reach(): Reach {
    return this.#reach;
  }

  /** Median round trip in ms; 0 while never measured. */
  get rttMs(): number {
    return this.#rtt.quantile(0.5) ?? 0;
  }

  sent(now: number): void {
    this.#probes.sent(now);
  }

  lost(now: number): void {
    this.#probes.lost(now);
  }

  roundTrip(ms: number): void {
    this.#rtt.add(ms);
  }

  /** Connections which that gateway says it carries. */
  said(load: number): void {
    this.#load = load;
  }

  /** @returns whether the reach has changed */
  set(reach: 'up' | 'down', reason: string | undefined, now: number): boolean {
    this.#reason = reason;
    if (this.#reach === reach) return false;
    this.#reach = reach;
    this.#changedAt = now;
    return true;
  }

  report(now: number): LinkReport {
    const p50 = this.#rtt.quantile(0.5);
    const p99 = this.#rtt.quantile(0.99);
    return {
      ...this.name,
      up: this.#reach === 'up',
      ...(p50 !== undefined && { rttP50Ms: p50 }),
      ...(p99 !== undefined && { rttP99Ms: p99 }),
      loss: this.#reach === 'down' ? 1 : this.#probes.loss(now),
      forMs: now - this.#changedAt,
      ...(this.#load !== undefined && { load: this.#load }),
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }
}

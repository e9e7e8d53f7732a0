import type { ReplicaName } from '../../model/names.ts';
import type { GatewayRecord } from '../../model/record.ts';

/** A gateway that vanished may be restarting: its advert stays so long, so that a rolling restart is no news. */
export const gatewayGraceMs = 10_000;

/** The adverts of this cluster's gateways: those connected now, and for a while those that were. */
export class GatewayAdverts {
  readonly #seen = new Map<ReplicaName, { readonly record: GatewayRecord; readonly at: number }>();

  /** `now`: monotonic ms. */
  note(present: Iterable<GatewayRecord>, now: number): void {
    for (const record of present) this.#seen.set(record.instance, { record, at: now });
    for (const [instance, { at }] of this.#seen) if (now - at >= gatewayGraceMs) this.#seen.delete(instance);
  }

  get records(): readonly GatewayRecord[] {
    return [...this.#seen.values()].map(({ record }) => record);
  }

  /** Whether one is kept that is not in `connected`: `note` must be called again after `gatewayGraceMs`. */
  hasMissing(connected: ReadonlySet<ReplicaName>): boolean {
    return [...this.#seen.keys()].some((instance) => !connected.has(instance));
  }
}

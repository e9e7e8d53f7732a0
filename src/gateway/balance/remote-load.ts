import type { ReplicaName } from '../../model/names.ts';

/** What a gateway said so long ago is forgotten: it has answered nothing since. */
const staleMs = 10_000;

/**
 * What the gateways of one cluster say they carry (`x-isthmus-load`, wire.md): it counts also what other clusters send
 * there, which this gateway cannot see otherwise. Bounded by the gateways of the table.
 */
export class RemoteLoad {
  readonly #said = new Map<ReplicaName, { readonly load: number; readonly at: number }>();

  note(instance: ReplicaName, load: number, now: number): void {
    for (const [other, { at }] of this.#said) if (now - at > staleMs) this.#said.delete(other);
    this.#said.set(instance, { load, at: now });
  }

  /** Undefined: it has not said anything lately. */
  of(instance: ReplicaName, now: number): number | undefined {
    const said = this.#said.get(instance);
    return said && now - said.at <= staleMs ? said.load : undefined;
  }

  /** Of all gateways there together; undefined while none has said anything lately. */
  total(now: number): number | undefined {
    let sum: number | undefined;
    for (const { load, at } of this.#said.values()) if (now - at <= staleMs) sum = (sum ?? 0) + load;
    return sum;
  }
}

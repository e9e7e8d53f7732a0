import type { ReplicaName, ServiceKey } from '../model/names.ts';
import type { RouteTable } from '../model/route.ts';
import type { CarriedLoads } from '../wire/carried-loads.ts';
import type { GatewayReport } from '../wire/gateway-report.ts';

const nothing: ReadonlySet<ServiceKey> = new Set();

/**
 * What the gateways of one cluster carry to its endpoints, as they report it, so that each can be told what the others
 * do: load is what an endpoint bears, whoever brings it. Only of services whose traffic moves by load. Bounded by the
 * gateways and services that there are.
 */
export class LoadBook {
  readonly #carried = new Map<ReplicaName, CarriedLoads>();
  #table: RouteTable | undefined;
  #spilling: ReadonlySet<ServiceKey> = nothing;

  note(instance: ReplicaName, report: GatewayReport, table: RouteTable | undefined): void {
    this.#setTable(table);
    const carried = new Map<ServiceKey, number>();
    for (const { service, endpoints } of this.#spilling.size === 0 ? [] : report.services) {
      const active = endpoints.reduce((sum, endpoint) => sum + endpoint.active, 0);
      if (active > 0 && this.#spilling.has(service)) carried.set(service, active);
    }
    this.#carried.set(instance, carried);
  }

  forget(instance: ReplicaName): void {
    this.#carried.delete(instance);
  }

  /** What all gateways but this one carry. */
  ofOthers(instance: ReplicaName): CarriedLoads {
    const sums = new Map<ServiceKey, number>();
    for (const [other, carried] of this.#carried) {
      if (other === instance) continue;
      for (const [service, load] of carried) sums.set(service, (sums.get(service) ?? 0) + load);
    }
    return sums;
  }

  #setTable(table: RouteTable | undefined): void {
    if (table === this.#table) return;
    this.#table = table;
    const spilling = new Set<ServiceKey>();
    for (const [key, { failover, endpoints }] of table?.services ?? []) {
      if (failover.spillAt !== undefined && endpoints.length > 0) spilling.add(key);
    }
    this.#spilling = spilling;
  }
}

import type { ClusterName, ReplicaName, ServiceKey } from '../../../model/names.ts';
import type { GatewayReport } from '../../../wire/gateway-report.ts';

/** Rates are over so long. */
const windowMs = 5000;
/** A gateway reports about once a second. */
const maxSamples = 16;

interface Sample {
  readonly at: number;
  readonly connections: number;
  readonly failures: number;
}

export interface TargetRate {
  /** Connections begun per second. */
  readonly perSecond: number;
  /** 0 to 1; undefined without a connection. */
  readonly success: number | undefined;
}

/** Turns the growing counters of gateway reports into rates. Holds what connected gateways report, nothing older. */
export class TargetRates {
  readonly #samples = new Map<ReplicaName, Map<string, Sample[]>>();

  /** `now`: wall clock in ms. */
  note(report: GatewayReport, now: number): void {
    const before = this.#samples.get(report.instance);
    const after = new Map<string, Sample[]>();
    for (const service of report.services) {
      for (const { cluster, connections, failures } of service.targets) {
        const key = `${service.service} ${cluster}`;
        const kept = (before?.get(key) ?? []).filter((sample) => now - sample.at <= windowMs).slice(1 - maxSamples);
        // Counters that went back belong to a restarted gateway.
        const restarted = kept.some((sample) => sample.connections > connections);
        after.set(key, [...(restarted ? [] : kept), { at: now, connections, failures }]);
      }
    }
    this.#samples.set(report.instance, after);
  }

  /** Forgets gateways that are gone. */
  retain(instances: ReadonlySet<ReplicaName>): void {
    for (const instance of this.#samples.keys()) if (!instances.has(instance)) this.#samples.delete(instance);
  }

  of(service: ServiceKey, cluster: ClusterName, now: number): TargetRate | undefined {
    let perSecond = 0;
    let connections = 0;
    let failures = 0;
    let known = false;
    for (const byTarget of this.#samples.values()) {
      const samples = byTarget.get(`${service} ${cluster}`)?.filter((sample) => now - sample.at <= windowMs * 2) ?? [];
      const first = samples[0];
      const last = samples.at(-1);
      if (!first || !last || last.at === first.at) continue;
      known = true;
      perSecond += ((last.connections - first.connections) * 1000) / (last.at - first.at);
      connections += last.connections - first.connections;
      failures += last.failures - first.failures;
    }
    if (!known) return undefined;
    return { perSecond, success: connections === 0 ? undefined : Math.max(0, 1 - failures / connections) };
  }
}

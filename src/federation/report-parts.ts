import type { ServiceKey } from '../model/names.ts';
import type { GatewayReport, ServiceReport } from '../wire/gateway-report.ts';

/** Several times as long as a gateway with as many services as there may be takes to tell of all of them. */
const keptMs = 60_000;

interface Kept {
  readonly report: ServiceReport;
  readonly at: number;
}

/**
 * Puts together what one gateway reports when its services do not fit into one report: those that were left out are as
 * they were last told of. Bounded by what is told within a minute.
 */
export class ReportParts {
  readonly #kept = new Map<ServiceKey, Kept>();

  /** `now`: monotonic ms. */
  take(report: GatewayReport, now: number): GatewayReport {
    const { omitted = 0, services } = report;
    if (omitted === 0) {
      this.#kept.clear();
      return report;
    }
    for (const each of services) this.#kept.set(each.service, { report: each, at: now });
    for (const [service, { at }] of this.#kept) if (now - at > keptMs) this.#kept.delete(service);
    return { ...report, services: Array.from(this.#kept.values(), (kept) => kept.report) };
  }
}

import type { ReplicaName, ServiceKey } from '../../../model/names.ts';
import type { FailoverEvent } from '../../../model/policy-report.ts';
import type { GatewayReport, MoveReport } from '../../../wire/gateway-report.ts';

/** Changes that are kept of one service, and of how many services. */
const maxPerService = 64;
const maxServices = 10_000;
/** Gateways whose last word is remembered, those that have gone included. */
const maxGateways = 2000;
/** Gateways that see the same do so within about this long. */
const togetherMs = 3000;

interface Change extends Omit<FailoverEvent, 'agoMs' | 'gateways'> {
  /** Wall clock in ms. */
  readonly at: number;
  readonly gateways: ReplicaName[];
}

export interface ReportingGateway {
  readonly instance: ReplicaName;
  readonly report: GatewayReport | undefined;
}

/** Remembers when traffic of a service went elsewhere, and why, as the own gateways tell it. Bounded. */
export class FailoverBook {
  readonly #changes = new Map<ServiceKey, Change[]>();
  /** Sequence of the last move of each gateway: it tells each several times. */
  readonly #last = new Map<ReplicaName, number>();

  /** Takes in new reports. `now`: wall clock in ms. */
  note(gateways: Iterable<ReportingGateway>, now: number): void {
    for (const { instance, report } of gateways) {
      const last = this.#last.get(instance) ?? -1;
      const moves = report?.moves?.filter(({ sequence }) => sequence > last) ?? [];
      for (const move of moves) this.#move(instance, move, now);
      const newest = moves.at(-1);
      if (newest) keep(this.#last, [instance, newest.sequence], maxGateways);
    }
  }

  /** Newest first; of one service or of all. */
  history(service: ServiceKey | undefined, now: number): readonly FailoverEvent[] {
    const changes = service === undefined ? [...this.#changes.values()].flat() : (this.#changes.get(service) ?? []);
    return changes
      .toSorted((a, b) => b.at - a.at)
      .map(({ at, ...change }) => ({ agoMs: Math.max(0, now - at), ...change }));
  }

  #move(gateway: ReplicaName, { service, from, to, shares, why, agoMs }: MoveReport, now: number): void {
    const at = now - agoMs;
    const known = this.#changes.get(service) ?? [];
    const text = describeShares(shares);
    const same = known.find(
      (change) =>
        change.to === to &&
        change.shares === text &&
        Math.abs(change.at - at) <= togetherMs &&
        !change.gateways.includes(gateway),
    );
    if (same) {
      same.gateways.push(gateway);
      return;
    }
    const change = { at, gateways: [gateway], service, from, to, shares: text, why };
    keep(this.#changes, [service, [...known, change].slice(-maxPerService)], maxServices);
  }
}

/** Sets a key as the newest, and forgets the oldest beyond `limit`. */
function keep<K, V>(map: Map<K, V>, [key, value]: readonly [K, V], limit: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size > limit) map.delete(oldest);
}

/** `east 60%, west 40%`, largest first. */
function describeShares(shares: MoveReport['shares']): string {
  const parts = shares.filter(({ share }) => share > 0).toSorted((a, b) => b.share - a.share);
  return parts.length === 0
    ? 'nowhere'
    : parts.map(({ cluster, share }) => `${cluster} ${Math.round(share * 100)}%`).join(', ');
}

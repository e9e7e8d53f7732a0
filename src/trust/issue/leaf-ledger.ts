import type { SpiffeId } from '../../model/identity.ts';
import type { IssuedBy, KeyId } from '../../model/trust.ts';
import type { Issuance } from './issuance.ts';

/** Keys that are remembered with the id they are for; with more live ones the oldest are forgotten. */
const maxKeys = 100_000;
const minuteMs = 60_000;

interface Claim {
  readonly id: SpiffeId;
  /** Wall clock in ms. */
  readonly until: number;
}

/** Leaves of one intermediate by the minute in which they end: a day has 1,440, however many leaves there are. */
interface Counts {
  readonly minutes: Map<number, number>;
  lastNotAfter: number;
}

/** What a replica has issued and what of it still lives. Kept in memory, rebuilt from the journal. */
export class LeafLedger {
  readonly #claims = new Map<KeyId, Claim>();
  readonly #issuers = new Map<KeyId, Counts>();

  note({ id, keyId, issuer, notAfter }: Issuance, now: number): void {
    if (notAfter <= now) return;
    this.#claims.delete(keyId);
    if (this.#claims.size >= maxKeys) this.#forget(now);
    this.#claims.set(keyId, { id, until: notAfter });
    this.#count(issuer, { notAfter, leaves: 1 });
  }

  /** Takes over counts of entries that the journal no longer holds, though it cannot tell when each of them ends. */
  carry({ keyId, live, lastNotAfter }: IssuedBy, now: number): void {
    if (lastNotAfter > now) this.#count(keyId, { notAfter: lastNotAfter, leaves: live });
  }

  /** Whose a key is, as long as a certificate of it lives. */
  ownerOf(keyId: KeyId, now: number): SpiffeId | undefined {
    const claim = this.#claims.get(keyId);
    return claim && claim.until > now ? claim.id : undefined;
  }

  /** Every intermediate of which something still lives. */
  issued(now: number): readonly IssuedBy[] {
    const rows: IssuedBy[] = [];
    for (const [keyId, { minutes, lastNotAfter }] of this.#issuers) {
      if (lastNotAfter <= now) {
        this.#issuers.delete(keyId);
        continue;
      }
      let live = 0;
      for (const [minute, leaves] of minutes) {
        if ((minute + 1) * minuteMs <= now) minutes.delete(minute);
        else live += leaves;
      }
      rows.push({ keyId, live, lastNotAfter });
    }
    return rows;
  }

  #count(issuer: KeyId, { notAfter, leaves }: { readonly notAfter: number; readonly leaves: number }): void {
    const counts = this.#issuers.get(issuer) ?? { minutes: new Map<number, number>(), lastNotAfter: 0 };
    this.#issuers.set(issuer, counts);
    const minute = Math.floor(notAfter / minuteMs);
    counts.minutes.set(minute, (counts.minutes.get(minute) ?? 0) + leaves);
    counts.lastNotAfter = Math.max(counts.lastNotAfter, notAfter);
  }

  #forget(now: number): void {
    for (const [keyId, { until }] of this.#claims) if (until <= now) this.#claims.delete(keyId);
    const [oldest] = this.#claims.keys();
    if (oldest !== undefined && this.#claims.size >= maxKeys) this.#claims.delete(oldest);
  }
}

import type { Partition } from '../model/ports/hub.ts';
import type { LogRefusal } from './log/partition-state.ts';

/** Why something in the hub was not believed. */
export type ReadRefusal =
  | LogRefusal
  | 'malformed'
  | 'bad-signature'
  | 'foreign-signer'
  | 'distrusted'
  | 'unknown-chain'
  /** Signed by a certificate that has run out, and newer than what is held. */
  | 'expired-signer'
  /** The hub will not transfer it. */
  | 'too-large';

/** Something in the hub that was not believed. */
export interface Refusal {
  readonly reason: ReadRefusal;
  /** `head`, `log`, `lease`, `records`, or the key of one record. */
  readonly key: string;
  /** Which rule it breaks, and how. */
  readonly rule: string;
}

/** Keys of records are strangers' words. */
const maxKeyChars = 150;

/** For people: `export/shop/web of east on hub redis://…`. */
export function placeIn(hub: string, cluster: Partition, key: string): string {
  return `${key.slice(0, maxKeyChars)} of ${cluster} on hub ${hub}`;
}

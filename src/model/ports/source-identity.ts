import type { SpiffeId } from '../identity.ts';

/** Tells which workload of this cluster an address belongs to. */
export interface SourceIdentity {
  /** `address`: an IP address without its port. Undefined: unknown, so anonymous of this cluster. Never throws. */
  of(address: string): SpiffeId | undefined;
}

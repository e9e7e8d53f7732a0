import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { Roster } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeRoster } from '../../wire/roster.ts';

/** A roster as it leaves the authority. */
export interface SealedRoster {
  readonly sealed: Uint8Array;
  /** PEM chain of the signer. */
  readonly chain: Uint8Array;
  readonly sequence: number;
}

export interface RosterSealer {
  /** Undefined while there is nothing to seal with. */
  readonly roster: Watch<SealedRoster | undefined>;
  close(): void;
}

/** Seals each new roster, and the present one anew for a new seal leaf. */
export function sealRosters(rosters: Watch<Roster>, sealer: Watch<Sealer | undefined>): RosterSealer {
  const seal = (): SealedRoster | undefined => {
    const { current: roster } = rosters;
    const { current: signer } = sealer;
    // Sequence 0 is what an authority has that never published.
    if (!signer || roster.sequence === 0) return undefined;
    return { sealed: signer.seal('roster', encodeRoster(roster)), chain: signer.chain, sequence: roster.sequence };
  };
  const sealed = new Watchable(seal());
  const ends = [rosters.subscribe(() => sealed.set(seal())), sealer.subscribe(() => sealed.set(seal()))];
  return {
    roster: sealed,
    close(): void {
      for (const end of ends) end();
    },
  };
}

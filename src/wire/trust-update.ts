import { IsthmusError } from '../model/error.ts';

/** What an agent hands to its gateways so that they can decide by themselves whom to trust (agent.proto, `Trust`). */
export interface TrustUpdate {
  /** Envelope of `wire/seal.ts`, kind `roster`, signed by the authority. */
  readonly sealedRoster: Uint8Array;
  /** PEM chain of its signer, leaf first. */
  readonly rosterChain: Uint8Array;
  /** DER anchors of the federation. */
  readonly anchors: readonly Uint8Array[];
}

/** Bounds of one update: thousands of clusters fit, and a hostile sender cannot fill the memory. */
const maxSealedRosterBytes = 8 << 20;
const maxChainBytes = 64 << 10;
const maxAnchors = 16;
const maxAnchorBytes = 16 << 10;

/** Checks sizes only; says nothing of trust. @throws IsthmusError `corrupt` */
export function checkTrustUpdate(update: TrustUpdate): TrustUpdate {
  const { sealedRoster, rosterChain, anchors } = update;
  if (sealedRoster.length > maxSealedRosterBytes) throw tooLarge('sealed roster', sealedRoster.length);
  if (rosterChain.length > maxChainBytes) throw tooLarge('chain of the roster', rosterChain.length);
  if (anchors.length > maxAnchors) throw tooLarge('number of anchors', anchors.length);
  for (const anchor of anchors) if (anchor.length > maxAnchorBytes) throw tooLarge('anchor', anchor.length);
  return update;
}

function tooLarge(what: string, size: number): IsthmusError {
  return new IsthmusError('corrupt', `A trust update has a ${what} that is too large: ${size}`);
}

import type { SpiffeBundle } from './spiffe-bundle.ts';

/** What becomes of a bundle that is offered in place of the one that is held. */
export type BundleStep =
  | { readonly result: 'accepted' | 'known' }
  /** `older`: a lower sequence, or none where there was one; `conflicting`: the same sequence with other keys. */
  | { readonly result: 'older' | 'conflicting'; readonly detail: string };

/**
 * The sequence rules (SPIFFE Trust Domain and Bundle §4.1.1): a sequence only grows and changes with the keys. Bundles
 * without a sequence cannot be ordered: what comes last counts.
 * @param held the newest that was ever accepted
 */
export function bundleStep(held: SpiffeBundle | undefined, offered: SpiffeBundle): BundleStep {
  if (!held) return { result: 'accepted' };
  const same = held.contents === offered.contents;
  if (held.sequence === undefined) {
    return { result: same && offered.sequence === undefined ? 'known' : 'accepted' };
  }
  const numbers = `sequence ${offered.sequence ?? '(none)'} of ${offered.trustDomain} was offered, ${held.sequence} is held`;
  if (offered.sequence === undefined || offered.sequence < held.sequence) return { result: 'older', detail: numbers };
  if (offered.sequence > held.sequence) return { result: 'accepted' };
  return same ? { result: 'known' } : { result: 'conflicting', detail: `${numbers}, with other keys` };
}

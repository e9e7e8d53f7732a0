import { IsthmusError } from '../../model/error.ts';
import type { Attestation, Attestor, Evidence } from '../../model/ports/attestor.ts';

/**
 * Asks every attestor that the evidence concerns. All of them must agree: a caller that proves two identities at once
 * is refused rather than given the one that happens to be looked at first.
 * @throws IsthmusError `unauthenticated`
 */
export async function attestCaller(attestors: readonly Attestor[], evidence: Evidence): Promise<Attestation> {
  const concerned = attestors.filter((attestor) => attestor.accepts(evidence));
  const found: Attestation[] = [];
  for (const attestor of concerned) found.push(await attestor.attest(evidence));
  const [first, ...others] = found;
  if (!first)
    throw new IsthmusError('unauthenticated', 'The caller shows neither a token nor a certificate that counts here');
  const other = others.find(({ id }) => id !== first.id);
  if (other) {
    throw new IsthmusError(
      'unauthenticated',
      `The caller proves two identities, ${first.id} and ${other.id}: one is wanted`,
    );
  }
  return others.find(({ kind }) => kind === 'renewal') ?? first;
}

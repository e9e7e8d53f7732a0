import type { Sealer } from '../../model/ports/seal.ts';
import type { Svid } from '../../model/trust.ts';
import { chainIdOf, encodeSeal, signedBytes } from '../../wire/seal.ts';
import { encodePemChain } from '../x509/pem.ts';
import { signerOf } from './keys.ts';

/** A sealer with the key of a seal leaf. @throws IsthmusError `corrupt` if the key does not decode */
export function createSealer(identity: Svid): Sealer {
  const signer = signerOf(identity.keyPem);
  const chain = encodePemChain(identity.chain);
  const chainId = chainIdOf(chain);
  return {
    signer: identity.id,
    chain,
    chainId,
    seal: (kind, payload) => encodeSeal({ kind, chainId, payload, signature: signer.sign(signedBytes(kind, payload)) }),
  };
}

import { IsthmusError } from '../../model/error.ts';

/** More than a leaf, an intermediate, a cross certificate and a root is nobody's chain. */
const maxCertificates = 8;
const maxPemBytes = 64 << 10;

/** Certificates as PEM, in the order given. */
export function encodePemChain(chain: readonly Uint8Array[]): Uint8Array {
  const blocks = chain.map((der) => {
    const lines =
      Buffer.from(der)
        .toString('base64')
        .match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  });
  return Buffer.from(blocks.join(''), 'latin1');
}

const block = /-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n/y;

/** Reads exactly what `encodePemChain` writes: no text in between, no other label. @throws IsthmusError `corrupt` */
export function decodePemChain(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length > maxPemBytes) {
    throw new IsthmusError('corrupt', `A chain of ${bytes.length} bytes is over the limit of ${maxPemBytes}`);
  }
  const text = Buffer.from(bytes).toString('latin1');
  const chain: Uint8Array[] = [];
  block.lastIndex = 0;
  for (let at = 0; at < text.length; at = block.lastIndex) {
    const match = block.exec(text);
    if (!match?.[1] || chain.length === maxCertificates) {
      throw new IsthmusError('corrupt', `A chain is not 1 to ${maxCertificates} PEM certificates`);
    }
    chain.push(Buffer.from(match[1], 'base64'));
  }
  if (chain.length === 0) throw new IsthmusError('corrupt', 'A chain is empty');
  return chain;
}

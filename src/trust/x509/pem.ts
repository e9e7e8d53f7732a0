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

const looseBlock = /-----BEGIN (?:X509 )?CERTIFICATE-----([^-]*)-----END (?:X509 )?CERTIFICATE-----/g;
/** Files of people may hold many anchors. */
const maxLooseBytes = 4 << 20;
const maxLooseCertificates = 256;

/**
 * Certificates in a file that people keep: text in between, other line ends and other blocks are passed over.
 * @throws IsthmusError `invalid` if there is none, or more than 256
 */
export function decodeLoosePem(what: string, bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length > maxLooseBytes) throw new IsthmusError('invalid', `${what} has more than ${maxLooseBytes} bytes`);
  const text = Buffer.from(bytes).toString('latin1');
  const found = [...text.matchAll(looseBlock)].map(([, body = '']) => Buffer.from(body, 'base64'));
  if (found.length > 0 && found.length <= maxLooseCertificates) return found;
  throw new IsthmusError(
    'invalid',
    `${what} must hold 1 to ${maxLooseCertificates} PEM certificates, not ${found.length}`,
  );
}

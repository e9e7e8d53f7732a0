import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { encodeCsrInfo } from '../x509/csr.ts';
import { encodeSigned } from '../x509/certificate.ts';
import { readPublicKey, type SignatureAlgorithm, type Signer } from '../x509/signature.ts';

/** A new P-256 key as PKCS#8 PEM. */
export function generateKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/**
 * A signer over a key held in memory: P-256, P-384 or RSA of 2048 to 4096 bits.
 * @throws IsthmusError `corrupt` if the key does not decode, `invalid` if it is another
 */
export function signerOf(keyPem: string): Signer {
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(keyPem);
  } catch {
    // The cause could quote the key.
    throw new IsthmusError('corrupt', 'A private key does not decode');
  }
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const { namedCurve } = readPublicKey(spki).asymmetricKeyDetails ?? {};
  const algorithm: SignatureAlgorithm =
    namedCurve === undefined ? 'rsaSha256' : namedCurve === 'secp384r1' ? 'ecdsaSha384' : 'ecdsaSha256';
  const hash = algorithm === 'ecdsaSha384' ? 'sha384' : 'sha256';
  return { spki, keyId: keyIdOf(spki), algorithm, sign: (bytes) => sign(hash, bytes, key) };
}

const serialBytes = 16;
/** Random bytes of the next serials: drawing them one by one costs more than encoding a good part of a certificate. */
const drawn: { bytes: Buffer; used: number } = { bytes: Buffer.alloc(0), used: 0 };

/** 126 random bits, positive, always 16 bytes: a fixed length tells nothing and never needs padding. */
export function newSerial(): Uint8Array {
  if (drawn.used + serialBytes > drawn.bytes.length) {
    drawn.bytes = randomBytes(256 * serialBytes);
    drawn.used = 0;
  }
  const serial = Buffer.from(drawn.bytes.subarray(drawn.used, drawn.used + serialBytes));
  drawn.used += serialBytes;
  serial.writeUInt8(((serial[0] ?? 0) & 0x3f) | 0x40, 0);
  return serial;
}

/** A PKCS#10 request that proves possession of the key and asks for nothing. DER. */
export function createCsr(signer: Signer): Uint8Array {
  const info = encodeCsrInfo(signer.spki);
  return encodeSigned(info, signer.sign(info), signer.algorithm);
}

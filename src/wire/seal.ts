import { createHash } from 'node:crypto';
import { IsthmusError } from '../model/error.ts';
import type { SealKind } from '../model/ports/seal.ts';

/**
 * The envelope around everything that is stored in a hub (wire.md, "Seal"):
 *
 *     'I' 'S' | version 1 | kind | SHA-256 of the signer's chain (32) | length of signature (1) | signature | payload
 *
 * The signature is over `isthmus/<kind>/v1` NUL payload, so that bytes of one kind can never be replayed as another.
 */
export interface SealEnvelope {
  readonly kind: SealKind;
  /** Lower-case hex SHA-256 of the signer's chain as stored in the hub. */
  readonly chainId: string;
  /** ECDSA P-256 with SHA-256, DER. */
  readonly signature: Uint8Array;
  readonly payload: Uint8Array;
}

/** Envelopes beyond this are refused unread. */
export const maxSealedBytes: number = 8 << 20;

/** Code of each kind on the wire; never reused. */
const kinds: readonly (SealKind | undefined)[] = [undefined, 'head', 'delta', 'lease', 'roster', 'bundle'];
const magic = Buffer.from('IS\u0001', 'latin1');
const chainIdBytes = 32;
const headerBytes = magic.length + 1 + chainIdBytes + 1;
/** A DER P-256 signature has at most 72 bytes. */
const maxSignatureBytes = 80;
const chainIdShape = /^[0-9a-f]{64}$/;

/** The bytes that are signed. */
export function signedBytes(kind: SealKind, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`isthmus/${kind}/v1\0`, 'latin1'), payload]);
}

/** Names a chain by its content: lower-case hex SHA-256. */
export function chainIdOf(chain: Uint8Array): string {
  return createHash('sha256').update(chain).digest('hex');
}

/** @throws IsthmusError `exhausted` when the result would be larger than readers accept, `invalid` for bad parts. */
export function encodeSeal(envelope: SealEnvelope): Uint8Array {
  const { kind, chainId, signature, payload } = envelope;
  if (!chainIdShape.test(chainId)) {
    throw new IsthmusError('invalid', `A chain id must be 64 lower-case hex digits: current value is '${chainId}'`);
  }
  if (signature.length === 0 || signature.length > maxSignatureBytes) {
    throw new IsthmusError('invalid', `A signature must have 1 to ${maxSignatureBytes} bytes, not ${signature.length}`);
  }
  const size = headerBytes + signature.length + payload.length;
  if (size > maxSealedBytes) {
    throw new IsthmusError('exhausted', `A sealed ${kind} of ${size} bytes is over the limit of ${maxSealedBytes}`);
  }
  return Buffer.concat([
    magic,
    Buffer.of(kinds.indexOf(kind)),
    Buffer.from(chainId, 'hex'),
    Buffer.of(signature.length),
    signature,
    payload,
  ]);
}

/** Takes an envelope apart without judging its signature. @throws IsthmusError `corrupt` */
export function decodeSeal(sealed: Uint8Array): SealEnvelope {
  if (sealed.length > maxSealedBytes) throw corrupt(`${sealed.length} bytes are over the limit of ${maxSealedBytes}`);
  if (sealed.length < headerBytes) throw corrupt(`${sealed.length} bytes are too few`);
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length);
  if (!bytes.subarray(0, magic.length).equals(magic)) throw corrupt('it is not an envelope of version 1');
  const kind = kinds[bytes.readUInt8(magic.length)];
  if (kind === undefined) throw corrupt(`its kind ${bytes.readUInt8(magic.length)} is unknown`);
  const signatureLength = bytes.readUInt8(headerBytes - 1);
  if (signatureLength === 0 || signatureLength > maxSignatureBytes || sealed.length < headerBytes + signatureLength) {
    throw corrupt(`its signature has a bad length of ${signatureLength}`);
  }
  const chainIdStart = magic.length + 1;
  return {
    kind,
    chainId: bytes.toString('hex', chainIdStart, chainIdStart + chainIdBytes),
    signature: bytes.subarray(headerBytes, headerBytes + signatureLength),
    payload: bytes.subarray(headerBytes + signatureLength),
  };
}

function corrupt(why: string): IsthmusError {
  return new IsthmusError('corrupt', `Sealed bytes do not decode: ${why}`);
}

import { IsthmusError } from '../../model/error.ts';
import { maxDerBytes } from '../x509/der.ts';

/** A request of Istio's certificate signing API, as far as it is used. */
export interface IstioRequest {
  /** PEM, PKCS#10. */
  readonly csr: string;
  /** Seconds, 64-bit as text. */
  readonly validityDuration: string;
  readonly metadata: { readonly fields?: Readonly<Record<string, unknown>> } | null;
}

/** What is taken from it. Its metadata decides nothing: who the caller is follows from what it proved. */
export interface IstioOrder {
  /** DER. */
  readonly csr: Uint8Array;
  /** Undefined: as long as is granted. */
  readonly lifeMs: number | undefined;
}

/** `NEW` is what some tools still write. */
const pem =
  /^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END (NEW )?CERTIFICATE REQUEST-----\s*$/;
/** Base64 with line ends and both marks. */
const maxPemChars = Math.ceil((maxDerBytes * 4) / 3) * 1.1 + 200;

/** @throws IsthmusError `invalid`, `denied` for a caller that wants to be somebody else */
export function readIstioRequest({ csr, validityDuration, metadata }: IstioRequest): IstioOrder {
  const impersonated = metadata?.fields?.['ImpersonatedIdentity'];
  if (impersonated !== undefined) {
    throw new IsthmusError('denied', 'Nobody may ask for the identity of another: ImpersonatedIdentity must be absent');
  }
  if (csr.length > maxPemChars) {
    throw new IsthmusError('invalid', `A certificate request is refused: ${csr.length} characters are too many`);
  }
  const body = pem.exec(csr)?.[2];
  if (body === undefined) {
    throw new IsthmusError('invalid', 'A certificate request is refused: it must be one PEM block CERTIFICATE REQUEST');
  }
  const seconds = Number(validityDuration);
  return { csr: Buffer.from(body, 'base64'), lifeMs: seconds > 0 ? seconds * 1000 : undefined };
}
